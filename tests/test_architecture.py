"""The structure of the code: who imports whom."""
import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Whom each room of the library may import, besides itself.
ROOMS = {
    'tasks': '',
    'painter': 'tasks',
    'faults': '',
    'config_rules': 'tasks faults',
    'config': 'config_rules faults',
    'io': 'tasks',
    'runtime': 'io faults',
    'metrics': 'tasks io',
    'pictures': 'tasks io painter',
    'datasets': 'tasks config io metrics',
    'models': 'tasks faults io painter',
    'accelerate': 'tasks runtime models',
    'checkpoints': 'tasks config faults io models accelerate',
    'zoo': '',
    'inference':
        'tasks config faults io painter runtime pictures models datasets '
        'accelerate checkpoints zoo',
    'pseudo_labels':
        'tasks config faults io runtime datasets checkpoints inference',
    'evaluation':
        'tasks config faults io painter runtime metrics pictures datasets '
        'checkpoints inference',
    'engine':
        'tasks config config_rules faults io painter runtime metrics datasets '
        'models accelerate checkpoints inference evaluation',
}  # yapf: disable
# They open every room, or none.
DOORS = {
    '__init__', '__main__', 'apis', 'cli', 'commands', 'registration',
    'mmcv_ops', 'install_mmcv', 'startup'
}
# Whom each package must not import.
FORBIDDEN = {
    'mbos': ['tools', 'quickstart', 'benchmarks'],
    'prepare_dataset': ['tools', 'quickstart', 'benchmarks'],
    'tools': ['benchmarks'],
    'quickstart': ['tools', 'benchmarks'],
    'benchmarks': [],
}
MODULES = {
    '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__'):
    path
    for package in FORBIDDEN
    for path in (ROOT / package).rglob('*.py')
}


def imports_of(module, top_only=False):
    """Full names of all that a module imports, modules and their members."""
    tree = ast.parse(MODULES[module].read_text(encoding='utf-8'))
    package = MODULES[module].relative_to(ROOT).parent.parts
    for node in (tree.body if top_only else ast.walk(tree)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[:len(package) - node.level + 1] \
                if node.level else []
            name = '.'.join([*base, *filter(None, [node.module])])
            yield name
            yield from (f'{name}.{alias.name}' for alias in node.names)


def rooms_of(names):
    """Rooms of the library that lie in names; "mbos" is for its version."""
    return {name.split('.')[1] for name in names if name.startswith('mbos.')}


@pytest.mark.parametrize('module', sorted(MODULES))
def test_rooms(module):
    package, *path = [*module.split('.'), '__init__']
    names = set(imports_of(module))
    asked = rooms_of(names) & {*ROOMS, *DOORS}
    if package == 'prepare_dataset':
        assert asked <= {'io', 'tasks', 'painter', 'faults'}
    elif package == 'mbos' and path[0] not in DOORS:
        assert asked & set(ROOMS) <= {path[0], *ROOMS[path[0]].split()}
    packages = {name.split('.')[0] for name in names}
    assert not packages & set(FORBIDDEN[package])
    if path[0] == 'io' and path[1] != 'weights_file':
        assert not packages & {'torch', 'mmcv', 'mmseg'}, 'costs no torch'


def test_every_room_is_known():
    assert rooms_of(MODULES) - DOORS == set(ROOMS)


def test_no_cycles():
    """Between modules, as far as they import each other when loaded."""
    assert 'mbos.models.supervision' in set(
        imports_of('mbos.models.multi_task_segmentor')), 'relative ones, too'
    TopologicalSorter({
        module: {
            name
            for name in imports_of(module, top_only=True)
            # a package's own __init__ is loaded first in any case
            if name in MODULES and not f'{module}.'.startswith(f'{name}.')
        }
        for module in MODULES
    }).prepare()
