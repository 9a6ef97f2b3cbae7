"""Keys of ``--cfg-options`` that a config does not have.

Parts of a config that name a ``type`` are checked by whoever builds them;
the others are only read, and a mistyped key there would change nothing.
"""
import argparse
import difflib
import warnings

from mmcv import DictAction

from mbos.config_rules import KNOWN, SIMILAR

FREE = ('custom_keys', 'specks', 'thresholds')
"""tuple[str]: Parts whose keys are names of the user's."""


def check_overrides(cfg: dict, options: dict) -> None:
    """Refuse overrides whose keys look mistyped; report others that are new.

    Raises:
        ValueError: If a key is not in the config but much like one that is.
    """
    for key in options:
        missing = _first_missing(cfg, key.split('.'))
        if missing is None:
            continue
        where, name, known = missing
        alike = difflib.get_close_matches(name, known, 1, SIMILAR)
        part = f'{where!r} of the config' if where else 'The config'
        if alike:
            meant = f'{where}.{alike[0]}' if where else alike[0]
            raise ValueError(
                f'--cfg-options {key}: {part} has no {name!r}, did you mean '
                f'{meant!r}? If not, write the key into a config file.')
        warnings.warn(f'--cfg-options {key}: {part} had no {name!r}; it is '
                      'added, but nothing may read it.')


def _first_missing(part, names) -> tuple[str, str, set] | None:
    """Where a dotted key leaves a config: part, name, and the names there."""
    passed = []
    for name in names:
        if isinstance(part, (list, tuple)):
            index = int(name) if name.isdigit() else len(part)
            if index >= len(part):
                return None  # mmcv says what is wrong
            part = part[index]
        elif not isinstance(part, dict):
            return None
        elif name in part:
            part = part[name]
        else:
            where = '.'.join(passed)
            known = KNOWN.get(where, ())
            checked = 'type' in part or set(passed) & set(FREE)
            if checked or name in known:
                return None
            return where, name, {*part, *known}
        passed.append(name)
    return None


class OptionsAction(DictAction):
    """mmcv's ``DictAction``; what it cannot read is wrong usage."""

    def __call__(self, parser, namespace, values, option_string=None):
        for item in values:
            try:
                super().__call__(parser, argparse.Namespace(), [item],
                                 option_string)
                usable = not item.startswith('=')
            except Exception:  # brackets without end, no "="
                usable = False
            if not usable:
                parser.error(f'{option_string} {item}: expected KEY=VALUE, '
                             'such as runner.max_iters=100')
        super().__call__(parser, namespace, values, option_string)


def add_config_options(parser: argparse.ArgumentParser,
                       what: str = 'the config') -> None:
    """Add ``--cfg-options``, which overrides parts of a config."""
    parser.add_argument(
        '--cfg-options',
        '--options',
        nargs='+',
        action=OptionsAction,
        metavar='KEY=VALUE',
        help=f'override parts of {what}')
