"""The structure of the code: who imports whom, and habits of the house."""
import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ('mbos', 'prepare_dataset', 'tools', 'quickstart', 'benchmarks')
# Whom each room of the library may import, besides itself.
ROOMS = {
    'tasks': (),
    'painter': ('tasks', ),
    'faults': (),
    'config_rules': ('tasks', 'faults'),
    'config_overrides': ('config_rules', ),
    'config': ('config_overrides', 'config_rules', 'faults'),
    'io': ('tasks', ),
    'runtime': ('io', 'faults'),
    'metrics': ('tasks', 'io'),
    'pictures': ('tasks', 'io', 'painter'),
    'datasets': ('tasks', 'config', 'io', 'metrics'),
    'models': ('tasks', 'faults', 'io', 'painter'),
    'accelerate': ('tasks', 'runtime', 'models'),
    'checkpoints': ('tasks', 'config', 'faults', 'io', 'models', 'accelerate'),
    'zoo': (),
    'inference':
    ('tasks', 'config', 'faults', 'io', 'painter', 'runtime', 'pictures',
     'models', 'datasets', 'accelerate', 'checkpoints', 'zoo'),
    'pseudo_labels': ('tasks', 'config', 'faults', 'io', 'runtime', 'datasets',
                      'checkpoints', 'inference'),
    'evaluation':
    ('tasks', 'config', 'faults', 'io', 'painter', 'runtime', 'metrics',
     'pictures', 'datasets', 'checkpoints', 'inference'),
    'engine': ('tasks', 'config', 'config_rules', 'faults', 'io', 'painter',
               'runtime', 'metrics', 'datasets', 'models', 'accelerate',
               'checkpoints', 'inference', 'evaluation'),
}
# They open every room, or none.
DOORS = {
    '__init__', '__main__', 'apis', 'cli', 'commands', 'registration',
    'mmcv_ops', 'install_mmcv', 'startup'
}
FORBIDDEN = {
    'mbos': ('tools', 'quickstart', 'benchmarks'),
    'prepare_dataset': ('tools', 'quickstart', 'benchmarks'),
    'tools': ('benchmarks', ),
    'quickstart': ('tools', 'benchmarks'),
}
FILES = sorted(
    path for package in PACKAGES for path in (ROOT / package).rglob('*.py'))
LIBRARY = [p for p in FILES if p.relative_to(ROOT).parts[0] == 'mbos']
DOCUMENTED = LIBRARY + [
    path for path in FILES
    if path.relative_to(ROOT).parts[0] in ('tools', 'quickstart', 'benchmarks')
]


def relative(path):
    return path.relative_to(ROOT).as_posix()


def tree_of(path):
    return ast.parse(path.read_text(encoding='utf-8'))


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


MODULES = {module_of(path): path for path in FILES}


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


def rooms_asked(path):
    """Rooms of the library that a file imports from, its own left out."""
    found = set()
    for name in imports_of(path):
        parts = name.split('.')
        # "import mbos" is for its version
        if parts[0] == 'mbos' and len(parts) > 1 and parts[1] in ROOMS:
            found.add(parts[1])
    return found - {room_of(path)}


def room_of(path):
    return path.relative_to(ROOT).with_suffix('').parts[1]


@pytest.mark.parametrize('path', LIBRARY, ids=relative)
def test_rooms(path):
    room = room_of(path)
    if room in DOORS:  # they open all doors
        return
    wrong = rooms_asked(path) - set(ROOMS[room])
    assert not wrong, \
        f'the room {room!r} may import from {ROOMS[room]}'


def test_files_are_read_and_written_without_torch():
    """But for files of tensors; so preparation starts fast."""
    for path in (ROOT / 'mbos/io').glob('*.py'):
        if path.name == 'weights_file.py':
            continue
        for name in imports_of(path):
            assert name.split('.')[0] not in ('torch', 'mmcv', 'mmseg'), \
                f'{relative(path)} imports {name}'


def test_preparation_imports_only_what_costs_no_torch():
    for path in (ROOT / 'prepare_dataset').rglob('*.py'):
        for name in imports_of(path):
            assert not is_within(name, 'mbos') or name == 'mbos' or any(
                is_within(name, f'mbos.{room}')
                for room in ('io', 'tasks', 'painter')), relative(path)


def test_every_room_is_known():
    found = {room_of(path) for path in LIBRARY} - DOORS
    assert found == set(ROOMS)


@pytest.mark.parametrize('folder', FORBIDDEN)
def test_packages(folder):
    for path in (ROOT / folder).rglob('*.py'):
        for name in imports_of(path):
            wrong = [p for p in FORBIDDEN[folder] if is_within(name, p)]
            assert not wrong, f'{relative(path)} imports {name}'


def test_the_test_sees_relative_imports():
    names = set(imports_of(ROOT / 'mbos/engine/hooks.py'))
    assert {'mbos.engine.optimizers',
            'mbos.engine.optimizers.as_dict'} <= names


def test_no_cycles():
    """Between modules, as far as they import each other when loaded."""
    graph = {
        module: {
            name
            for name in imports_of(path, top_only=True)
            if name in MODULES and name != module and
            # a package's own __init__ is loaded first in any case
            not is_within(module, name)
        }
        for module, path in MODULES.items()
    }
    done, trail = set(), []

    def visit(module):
        assert module not in trail, ' -> '.join(trail[trail.index(module):] +
                                                [module])
        if module in done:
            return
        trail.append(module)
        for other in sorted(graph[module]):
            visit(other)
        done.add(trail.pop())

    for module in graph:
        visit(module)


def test_no_absolute_paths():
    """Nor somebody's home; system folders of the shell are not looked at."""
    pattern = re.compile(r'^(~|/(home|root|work|mnt|data|tmp|Users|opt|var)\b'
                         r'|[A-Z]:\\)')
    for path in FILES + sorted((ROOT / 'configs').rglob('*.py')):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not pattern.match(node.value), \
                    f'{relative(path)}:{node.lineno}: {node.value[:60]!r}'


def test_library_does_not_print():
    """But for its commands, which are there to."""
    commands = ROOT / 'mbos/commands', ROOT / 'mbos/cli.py'
    for path in LIBRARY:
        if path in commands or path.parent in commands:
            continue
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id != 'print', \
                    f'{relative(path)}:{node.lineno}'


def public(body):
    """Public functions and classes, and the public methods of classes."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) \
                and not node.name.startswith('_'):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body)


@pytest.mark.parametrize('path', DOCUMENTED, ids=relative)
def test_docstrings(path):
    tree = tree_of(path)
    assert ast.get_docstring(tree) or not tree.body, 'of the module'
    for node in public(tree.body):
        inherited = node.name in ('forward', 'init_weights')
        assert ast.get_docstring(node) or inherited, \
            f'{relative(path)}:{node.lineno}: {node.name}'


@pytest.mark.parametrize('path', FILES, ids=relative)
def test_sizes(path):
    """Files below 500 lines, functions of 60 at most."""
    assert len(path.read_text().splitlines()) < 500
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef):
            size = node.end_lineno - node.lineno + 1
            assert size <= 60, f'{node.name} has {size} lines'
