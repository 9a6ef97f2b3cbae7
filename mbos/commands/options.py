"""What the command lines share: arguments as tables, one row for each."""
import argparse
import difflib
from collections.abc import Iterable, Mapping

Row = tuple[str, str, dict]
"""Name, or names with a blank between them; what it means; and the rest of
what ``add_argument`` takes."""
FLAG = dict(action='store_true')
SOME = dict(nargs='+', default=[])
LAUNCHER: list[Row] = [
    ('--launcher', 'who started the processes of this run',
     dict(choices=['none', 'pytorch', 'slurm'], default='none')),
    ('--local-rank --local_rank',
     'of old launchers: not read, as they set LOCAL_RANK too', dict(type=int)),
]


class Parser(argparse.ArgumentParser):
    """Says which option is like one that it does not know."""

    def error(self, message: str):
        if message.startswith('unrecognized arguments: '):
            given = message.split()[2].partition('=')[0]
            for known in difflib.get_close_matches(given,
                                                   self._option_string_actions,
                                                   1):
                message += f'; did you mean {known}?'
        super().error(message)


def make_parser(description: str | None,
                arguments: Iterable[Row],
                groups: Mapping[str, Iterable[Row]] = {},
                usage: str | None = None) -> argparse.ArgumentParser:
    """A parser of these arguments, and of groups of more by their titles, that
    shows the description as it is."""
    parser = Parser(
        description=description,
        usage=usage,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, arguments)
    for title, rows in groups.items():
        add_arguments(parser.add_argument_group(title), rows)
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


def config_options(what: str = 'the config') -> Row:
    """The row of ``--cfg-options``, which overrides parts of a config."""
    settings = dict(nargs='+', action=ConfigOptions, metavar='KEY=VALUE')
    return '--cfg-options --options', f'override parts of {what}', settings
