"""What the command lines share: arguments as tables, one row for each."""
import argparse
from collections.abc import Iterable

FLAG = dict(action='store_true')
SOME = dict(nargs='+', default=[])
Row = tuple[str, str, dict]
"""Name, or names with a blank between them; what it means; and the rest of
what ``add_argument`` takes."""


def make_parser(description: str | None, arguments: Iterable[Row],
                **settings) -> argparse.ArgumentParser:
    """A parser of these arguments that shows the description as it is."""
    parser = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **settings)
    add_arguments(parser, arguments)
    return parser


def add_arguments(parser, arguments: Iterable[Row]) -> None:
    """Add arguments to a parser or to a group of it."""
    for names, meaning, settings in arguments:
        parser.add_argument(*names.split(), help=meaning, **settings)


class ConfigOptions(argparse.Action):
    """Pairs of key and value as mmcv reads them, which is imported then."""

    def __call__(self, parser, namespace, values, option_string=None):
        from mmcv import DictAction
        try:
            action = DictAction(self.option_strings, self.dest)
            action(parser, namespace, values, option_string)
            usable = '' not in getattr(namespace, self.dest)
        except Exception:  # brackets without end, no "="
            usable = False
        if not usable:
            parser.error(f'{option_string} {" ".join(values)}: expected '
                         'KEY=VALUE, such as runner.max_iters=100')


def add_config_options(parser: argparse.ArgumentParser,
                       what: str = 'the config') -> None:
    """Add ``--cfg-options``, which overrides parts of a config."""
    parser.add_argument(
        '--cfg-options',
        '--options',
        nargs='+',
        action=ConfigOptions,
        metavar='KEY=VALUE',
        help=f'override parts of {what}')
