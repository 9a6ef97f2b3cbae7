"""``--cfg-options``, and keys of it that a config does not have."""
import argparse
import difflib
import warnings
from collections.abc import Mapping
from typing import Any

from mmcv import DictAction

from mbos.config_rules import KNOWN, SIMILAR

NAMED_BY_USERS = {'custom_keys', 'specks', 'thresholds'}


def check_overrides(cfg: Mapping, options: Mapping[str, Any]) -> None:
    """Refuse overrides whose keys look mistyped; report others that are new.

    Parts that name a ``type`` are checked by whoever builds them; the others
    are only read, and a mistyped key there would change nothing.
    """
    for key in options:
        part, where, name = _followed(cfg, key)
        known = KNOWN.get(where, ())
        if not isinstance(part, Mapping) or name in part or name in known \
                or 'type' in part or NAMED_BY_USERS & set(where.split('.')):
            continue
        holder = f'{where!r} of the config' if where else 'The config'
        alike = difflib.get_close_matches(name, {*part, *known}, 1, SIMILAR)
        if alike:
            meant = f'{where}.{alike[0]}'.lstrip('.')
            raise ValueError(
                f'--cfg-options {key}: {holder} has no {name!r}, did you mean '
                f'{meant!r}? If not, write the key into a config file.')
        warnings.warn(f'--cfg-options {key}: {holder} had no {name!r}; it is '
                      'added, but nothing may read it.')


def _followed(cfg: Any, key: str) -> tuple[Any, str, str]:
    """The innermost part that a dotted key names, its key, and the next name.

    mmcv says what is wrong with a position in a list.
    """
    part, where, (*names, last) = cfg, '', key.split('.')
    for name in names:
        if isinstance(part, (list, tuple)):
            index = int(name) if name.isdigit() else len(part)
            part = part[index] if index < len(part) else None
        elif isinstance(part, Mapping) and name in part:
            part = part[name]
        else:
            return part, where, name
        where = f'{where}.{name}'.lstrip('.')
    return part, where, last


class OptionsAction(DictAction):
    """mmcv's ``DictAction``; what it cannot read is wrong usage."""

    def __call__(self, parser, namespace, values, option_string=None):
        try:
            super().__call__(parser, namespace, values, option_string)
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
        action=OptionsAction,
        metavar='KEY=VALUE',
        help=f'override parts of {what}')
