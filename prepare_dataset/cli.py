"""The command line that all collections share."""
import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial

from mbos.io import RefusedError
from mbos.io.untrusted import sentence_of
from .description import Collection
from .driver import MAX_SIDE, Summary, run


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser whose help shows a module's docstring as it is."""
    return argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what all commands have."""
    add = parser.add_argument
    add('--workers', type=int, default=2, help='threads (default: 2)')
    text = 'scale larger prepared images down to N pixels, 0 for never ' \
        f'(default: {MAX_SIDE["train"]} for training splits, else never)'
    add('--max-side', type=int, metavar='N', help=text)
    add('--force', action='store_true', help='overwrite what is there')


def main(
    collection: Collection,
    description: str | None,
    prepare: Callable[..., Summary] | None = None,
    raws: Sequence[str] = ('raw', )
) -> None:
    """Run a collection's command, and exit as :func:`finish` says.

    ``prepare`` takes the raw folders, whose names are ``raws``, the output
    folder and the options; it is ``driver.run`` by default.
    """
    parser = make_parser(description)
    add = parser.add_argument
    for name in raws:
        text = 'unpacked folder as its owner publishes it'
        add(name, metavar=name.upper(), help=text)
    text = f'folder that will contain {collection.folder}'
    add('out', metavar='OUT', help=text)
    splits, text = tuple(collection.splits), 'default: all that are there'
    add('--splits', nargs='+', choices=splits, help=text)
    add_options(parser)
    arguments = vars(parser.parse_args())
    folders = [arguments.pop(name) for name in (*raws, 'out')]
    prepare = prepare or partial(run, collection)
    sys.exit(finish(lambda: prepare(*folders, **arguments)))


def finish(command: Callable[[], object]) -> int:
    """Run a command and print what it returns, or its error.

    Returns:
        int: Exit code: 0 all done, 1 some files are bad or nothing could be
        done, 130 interrupted.
    """
    try:
        summary = command()
    except (RefusedError, OSError) as error:
        print(f'Error: {sentence_of(error)}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        again = 'Interrupted; the same command goes on from here.'
        print(again, file=sys.stderr)
        return 130
    print(summary)
    return 0 if getattr(summary, 'ok', True) else 1
