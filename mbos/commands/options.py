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
            known = list(self._option_string_actions)
            for option in difflib.get_close_matches(given, known, 1):
                message += f'; did you mean {option}?'
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
    for title, rows in {'': arguments, **groups}.items():
        group = parser.add_argument_group(title) if title else parser
        for names, meaning, settings in rows:
            group.add_argument(*names.split(), help=meaning, **settings)
    return parser


class ConfigOptions(argparse.Action):
    """Pairs of key and value as mmcv reads them, which is imported then."""

    def __call__(self, parser, namespace, values, option_string=None):
        from mmcv import DictAction
        try:
            read = DictAction(self.option_strings, self.dest)
            read(parser, namespace, values, option_string)
            if '' in getattr(namespace, self.dest):
                raise ValueError('a key is empty')
        except Exception:  # also brackets without end, no "="
            parser.error(f'{option_string} {" ".join(values)}: expected '
                         'KEY=VALUE, such as runner.max_iters=100')


def config_options(what: str = 'the config') -> Row:
    """The row of ``--cfg-options``, which overrides parts of a config."""
    settings = dict(nargs='+', action=ConfigOptions, metavar='KEY=VALUE')
    return '--cfg-options --options', f'override parts of {what}', settings
