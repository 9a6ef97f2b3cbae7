"""The command ``mbos``: knows what there is without importing any of it."""
import difflib
import gc
import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

COMMANDS = {
    'predict': 'find structures in photographs of your own',
    'prepare': 'make a dataset of a published collection, or of a folder',
    'train': 'train a network, stage 1 or 2',
    'test': 'evaluate a network, or draw its predictions',
    'pseudo-labels': 'write the pseudo labels that stage 2 reads',
    'compare': 'compare two evaluations, image by image',
    'gallery': 'write the page of a folder of predictions again',
    'publish': 'make a file to hand on of a checkpoint, with a model card',
    'export': 'write a network as ONNX',
    'convert-checkpoint': "from the layout of PSSNet's authors, and back",
    'convert-backbone': 'ImageNet weights for the published configs',
    'info': 'versions, devices, and what is missing',
}
"""dict[str, str]: What each command does. Its code is the module of
``mbos.commands`` with the same name."""

_LINES = [f'  {name:18}  {text}\n' for name, text in COMMANDS.items()]
USAGE = f'''usage: mbos COMMAND [ARGUMENTS]

One network for every structure, from datasets that each label some.

{"".join(_LINES)}
mbos COMMAND --help describes a command; mbos --version.'''


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; leaves with its exit status, if that is not 0."""
    given = sys.argv[1:] if arguments is None else arguments
    name, *rest = given or ['']
    if name in ('-h', '--help', 'help'):
        print(USAGE)
    elif name in ('-V', '--version'):
        from mbos import __version__
        print(f'mbos {__version__}')
    elif name in COMMANDS:
        sys.argv = [f'mbos {name}', *rest]  # names the command in its own help
        run(name)
    else:
        similar = difflib.get_close_matches(name, COMMANDS, 1)
        hint = ''.join(f' Did you mean {command}?' for command in similar)
        text = f'mbos: no command {name!r}.{hint} `mbos --help` lists all.'
        print(text if name else USAGE, file=sys.stderr)
        sys.exit(2)


def run(name: str) -> None:
    """Run a command with the arguments in ``sys.argv``; an error that explains
    itself is one line and exit status 1."""
    module = f'mbos.commands.{name.replace("-", "_")}'
    try:
        with quick_imports():
            command = importlib.import_module(module).main
            if name == 'info':  # works whatever is missing
                sys.exit(command())
            from mbos.runtime.exits import run_tool
        run_tool(command)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split('.')[0] == 'mbos':
            raise
        sys.exit(f'{error}\n`mbos info` lists all that is missing.')


@contextmanager
def quick_imports() -> Iterator[None]:
    """Let Python not look for garbage meanwhile, nor later in what is there:
    it took a quarter of the time and found hardly any."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
