"""Splits of one's own collection: by list, by pattern or by share.

What the user can correct is raised as ``RefusedError``.
"""
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from mbos.faults import first_of
from mbos.io import RefusedError, read_text
from .own_masks import parse_pairs
from .patterns import Photograph, search

WHOLE = 'all'
"""Name of the only split of a collection that has none."""
TRAIN = 'train'


def group_of(photographs: Sequence[Photograph],
             expression: str | None) -> dict[str, str]:
    """Find out which patient each photograph shows, by name of the photograph.

    ``expression`` is searched in the relative path without suffix; its groups,
    or all that it fits, name the patient. Without it each photograph is a
    patient of its own.
    """
    groups = {photograph.name: photograph.name for photograph in photographs}
    for photograph in photographs if expression else ():
        match = search('--group', expression,
                       photograph.relative.rsplit('.', 1)[0], photograph.path)
        parts = [part or '' for part in match.groups()]
        groups[photograph.name] = ' '.join(parts) or match.group()
    return groups


def split_photographs(
        photographs: Sequence[Photograph], texts: Sequence[str],
        groups: Mapping[str, str],
        seed: int) -> tuple[dict[str, list[Photograph]], list[str]]:
    """Divide photographs into splits, as ``name=value`` of the command line
    says; returns them, and notes for the user.

    Lists and patterns come first; shares are of all photographs and are
    taken from the rest, whole groups at a time, in an order that depends on
    the seed and the groups' names only. What is left is for training, unless
    ``train`` was asked for.
    """
    wanted = parse_pairs(
        '--splits', texts, r'\w+', 'NAME=SHARE, NAME=LIST or NAME=PATTERN, '
        "such as val=0.2, val=val.txt or 'val=val/*'")
    if not wanted:
        return {WHOLE: list(photographs)}, []
    shares: dict[str, float] = {}
    split_of: dict[str, str] = {}
    for split, value in wanted.items():
        try:
            shares[split] = float(value)
        except ValueError:
            for photograph in _listed(split, value, photographs):
                other = split_of.setdefault(photograph.name, split)
                if other != split:
                    raise RefusedError(
                        f'{photograph.path}: is in the splits {other} and '
                        f'{split}; leave it in one of them.') from None
    _share_out(photographs, shares, split_of, groups, seed)
    rest = [p for p in photographs if p.name not in split_of]
    notes, names = [], list(wanted)
    if TRAIN not in wanted:
        names = [TRAIN, *names]
        split_of.update({p.name: TRAIN for p in rest})
    elif rest:
        notes.append(f'{len(rest)} photographs are in no split and are left '
                     f'out: {first_of(p.relative for p in rest)}.')
    divided: dict[str, list[Photograph]] = {name: [] for name in names}
    first: dict[str, Photograph] = {}
    for photograph in (p for p in photographs if p.name in split_of):
        split, group = split_of[photograph.name], groups[photograph.name]
        divided[split].append(photograph)
        other = first.setdefault(group, photograph)
        if split_of[other.name] != split:
            raise RefusedError(
                f'Patient {group} (--group) is on both sides of a split: '
                f'{other.relative} in {split_of[other.name]}, '
                f'{photograph.relative} in {split}; put all photographs of a '
                'patient into one split.')
    for split, members in divided.items():
        if not members:
            raise RefusedError(
                f'No photograph is left for the split {split}, of '
                f'{len(photographs)} photographs of '
                f'{len(set(groups.values()))} patients.')
    return divided, notes


def _listed(split: str, value: str,
            photographs: Sequence[Photograph]) -> list[Photograph]:
    """Photographs of a pattern, or of a file with a name or pattern a line."""
    texts = [value]
    if Path(value).is_file():
        try:
            lines = map(str.strip, read_text(value).splitlines())
        except UnicodeDecodeError as error:
            raise RefusedError(
                f'{value}: is not a list of names ({error}).') from error
        texts = [line for line in lines if line and not line.startswith('#')]
    found = []
    for text in texts:
        fitting = [p for p in photographs if p.is_called(text)]
        if not fitting:
            raise RefusedError(
                f'--splits {split}={value}: {text} is neither a share, nor a '
                'file that lists photographs, nor a pattern that fits one; '
                f'they are {first_of(p.relative for p in photographs)}.')
        found += fitting
    return found


def _share_out(photographs: Sequence[Photograph], shares: Mapping[str, float],
               split_of: dict[str, str], groups: Mapping[str, str],
               seed: int) -> None:
    """Give whole groups to the splits until each has its share."""
    values = list(shares.values())
    if not all(share > 0 for share in values) or sum(values) > 1 + 1e-9:
        raise RefusedError(f'--splits gives the shares {values}: each must be '
                           'larger than 0, and together at most 1.')
    members: dict[str, list[str]] = {}
    for photograph in photographs:
        if photograph.name not in split_of:
            group = groups[photograph.name]
            members.setdefault(group, []).append(photograph.name)
    queue = sorted(
        members, key=lambda g: hashlib.sha256(f'{seed} {g}'.encode()).digest())
    # rounded sums, so that shares of 1 together leave nobody out
    limit, begun = 0.0, 0
    for split, share in shares.items():
        limit += share * len(photographs)
        count = max(1, round(limit) - begun)
        begun += count
        while count > 0 and queue:
            names = members[queue.pop(0)]
            split_of.update(dict.fromkeys(names, split))
            count -= len(names)
