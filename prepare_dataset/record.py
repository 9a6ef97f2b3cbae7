"""prepared.json: what a preparation wrote, for the check to compare.

A tree by itself does not say whether a missing mask was lost or never
published, nor how many photographs there should be. The preparation knows.
"""
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from mbos.io import RefusedError, read_text
from mbos.io.files import save_text
from .description import Collection, Labels, Split
from .errors import PrepareError
from .layout import Item

FILE = 'prepared.json'
UNFINISHED = 'the preparation was not finished; run the same command again.'


def part_note(found: int, expected: int) -> str:
    """A note that there are not as many photographs as are published."""
    kind = 'a part' if found < expected else 'more'
    return f'  note: this is {kind} of what the owner publishes'


def shares(pixels: np.ndarray) -> str:
    """Shares of the label values, of which the pixels were counted."""
    return ', '.join(f'{value}: {100 * n / pixels.sum():.3f} %'
                     for value, n in enumerate(pixels) if n)


@dataclass
class SplitRecord:
    """What is recorded of one split: its folder in that of the collection, the
    expected number and the stems of photographs, and by label folder those
    that lack a mask and are not meant to have one.
    """
    folder: str
    expected: int
    photographs: list[str] = field(default_factory=list)
    lacking: dict[str, list[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def with_label(self, name: str) -> set[str]:
        """Stems of the photographs that have a mask of a label folder."""
        return set(self.photographs) - set(self.lacking.get(name, ()))


@dataclass
class Record:
    """What is recorded of one collection; see :class:`Collection`."""
    image_suffix: str
    labels: dict[str, Labels] = field(default_factory=dict)
    splits: dict[str, SplitRecord] = field(default_factory=dict)
    published: bool = True
    recipe: dict = field(default_factory=dict)

    def as_collection(self, name: str, folder: str) -> Collection:
        """Describe the collection of which this is the record."""
        splits = {
            key: Split(split.expected, folder=split.folder)
            for key, split in self.splits.items()
        }
        return Collection(
            name,
            folder,
            lambda raw, split: None,
            splits,
            self.labels,
            self.image_suffix,
            published=self.published)


def read_records(folder: Path) -> dict[str, Record]:
    """Read the records of a prepared folder, by name of the collection.

    Raises:
        PrepareError: If the file is damaged; a missing one is empty.
    """
    path = folder / FILE
    if not path.exists():
        return {}
    try:
        content = json.loads(read_text(path))
        return {name: _record(entry) for name, entry in content.items()}
    except (RefusedError, AttributeError, KeyError, TypeError, ValueError,
            RecursionError) as error:
        raise PrepareError(f'{path}: cannot be read ({error!r}); remove the '
                           'file and prepare the collection again.') from error


def _record(entry: dict) -> Record:
    labels = {k: Labels(**v) for k, v in entry['labels'].items()}
    splits = {k: SplitRecord(**v) for k, v in entry['splits'].items()}
    for name in (*labels, *(split.folder for split in splits.values())):
        if Path(name).is_absolute() or '..' in Path(name).parts:
            raise ValueError(f'{name!r} leads out of the folder')
    return Record(**dict(entry, labels=labels, splits=splits))


def record_split(folder: Path,
                 collection: Collection,
                 split: str,
                 items: Sequence[Item] = (),
                 problems: Sequence[str] = (),
                 wanted: Sequence[str] | None = None,
                 keeps_earlier: bool = False) -> None:
    """Note what a split has come to.

    Other splits of which an earlier run could prepare nothing are forgotten
    where only some are ``wanted``. With ``keeps_earlier`` nothing is noted of
    a split that an earlier run prepared.
    """
    records = read_records(folder)
    record = records.setdefault(collection.name,
                                Record(collection.image_suffix))
    if keeps_earlier and split in record.splits and record.splits[
            split].photographs:
        return
    record.image_suffix = collection.image_suffix
    record.published = collection.published
    record.labels.update(collection.labels)
    record.recipe.update(collection.recipe)
    lacking = {
        name: [item.stem for item in items if name not in item.labels]
        for name in collection.labels
    }
    record.splits = {
        name: earlier
        for name, earlier in record.splits.items()
        if not wanted or name in wanted or earlier.photographs
    }
    record.splits[split] = SplitRecord(
        collection.split_folder(split), collection.splits[split].expected,
        [item.stem for item in items], {
            name: stems
            for name, stems in lacking.items() if stems
        }, list(problems))
    content = {name: asdict(record) for name, record in records.items()}
    text = json.dumps(content, indent=1, ensure_ascii=False)
    save_text(folder / FILE, text + '\n')
