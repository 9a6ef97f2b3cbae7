"""The structure of the code: who imports whom."""
import ast
from functools import lru_cache
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
    'mbos': ('tools', 'quickstart', 'benchmarks'),
    'prepare_dataset': ('tools', 'quickstart', 'benchmarks'),
    'tools': ('benchmarks', ),
    'quickstart': ('tools', 'benchmarks'),
    'benchmarks': (),
}
FILES = sorted(
    path for package in FORBIDDEN for path in (ROOT / package).rglob('*.py'))


def package_of(path):
    return path.relative_to(ROOT).parts[0]


LIBRARY = [path for path in FILES if package_of(path) == 'mbos']


def relative(path):
    return path.relative_to(ROOT).as_posix()


@lru_cache(maxsize=None)
def tree_of(path):
    return ast.parse(path.read_text(encoding='utf-8'))


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


def room_of(path):
    return path.relative_to(ROOT).with_suffix('').parts[1]


def imports_of(path, top_only=False):
    """Full names of all that a file imports, modules and their members."""
    package = list(path.relative_to(ROOT).parent.parts)
    tree = tree_of(path)
    for node in (tree.body if top_only else ast.walk(tree)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[:len(package) - node.level + 1] \
                if node.level else []
            module = '.'.join(base + ([node.module] if node.module else []))
            yield module
            yield from (f'{module}.{alias.name}' for alias in node.names)


def is_within(name, package):
    return name == package or name.startswith(package + '.')


@pytest.mark.parametrize('path', LIBRARY, ids=relative)
def test_rooms(path):
    room = room_of(path)
    if room in DOORS:
        return
    # "import mbos" is for its version
    asked = {name.split('.')[1] for name in imports_of(path)
             if name.startswith('mbos.')} & set(ROOMS)  # yapf: disable
    assert asked <= {room, *ROOMS[room].split()}, \
        f'the room {room!r} may import from {ROOMS[room]}'


def test_every_room_is_known():
    assert {room_of(path) for path in LIBRARY} - DOORS == set(ROOMS)


@pytest.mark.parametrize('path', FILES, ids=relative)
def test_packages(path):
    """``mbos.io`` and preparation cost no torch, but for files of tensors."""
    package, names = package_of(path), set(imports_of(path))
    wrong = [n for p in FORBIDDEN[package] for n in names if is_within(n, p)]
    if package == 'prepare_dataset':
        wrong += [
            name for name in names
            if is_within(name, 'mbos') and name != 'mbos' and not any(
                is_within(name, f'mbos.{room}')
                for room in ('io', 'tasks', 'painter', 'faults'))
        ]
    if path.parent == ROOT / 'mbos/io' and path.name != 'weights_file.py':
        wrong += [
            name for name in names
            if name.split('.')[0] in ('torch', 'mmcv', 'mmseg')
        ]
    assert not wrong


def test_no_cycles():
    """Between modules, as far as they import each other when loaded."""
    modules = {module_of(path): path for path in FILES}
    assert 'mbos.engine.optimizers.as_dict' in set(
        imports_of(modules['mbos.engine.hooks'])), 'relative imports are seen'
    TopologicalSorter({
        module: {
            name
            for name in imports_of(path, top_only=True)
            # a package's own __init__ is loaded first in any case
            if name in modules and not is_within(module, name)
        }
        for module, path in modules.items()
    }).prepare()
