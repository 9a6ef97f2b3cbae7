"""What a preparation wrote beside the images.

``geometry.csv`` says how each photograph became its prepared image. A tree by
itself does not say whether a missing mask was lost or never published, nor how
many photographs there should be: ``prepared.json`` does, for the check.
"""
import csv
import io
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

from mbos.io import RefusedError, read_text
from mbos.io.files import save_json, save_text
from mbos.io.geometry import Geometry
from .description import FIELD_OF_VIEW, Collection, Labels, Split

GEOMETRY = 'geometry.csv'
FILE = 'prepared.json'
UNFINISHED = 'the preparation was not finished; run the same command again.'


def read_geometry(folder: Path) -> dict[str, Geometry]:
    """Read geometry.csv of a prepared split; an empty dict if there is none.
    """
    path = folder / GEOMETRY
    if not path.exists():
        return {}
    try:
        with open(path, newline='', encoding='utf-8') as file:
            rows = map(Geometry.from_row, csv.DictReader(file))
            return {row.name: row for row in rows}
    except (KeyError, TypeError, ValueError) as error:
        raise RefusedError(f'{path}: cannot be read ({error!r}); remove the '
                           'file, it will be made again.') from error


def write_geometry(folder: Path, rows: Iterable[Geometry]) -> None:
    """Write geometry.csv, sorted by name."""
    stream = io.StringIO()
    columns = [column.name for column in fields(Geometry)]
    writer = csv.DictWriter(stream, columns, lineterminator='\n')
    writer.writeheader()
    writer.writerows(vars(row) for row in sorted(rows, key=lambda r: r.name))
    save_text(folder / GEOMETRY, stream.getvalue())


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
    image_suffix: str = '.jpg'
    labels: dict[str, Labels] = field(default_factory=dict)
    splits: dict[str, SplitRecord] = field(default_factory=dict)
    recipe: dict = field(default_factory=dict)

    def begin(self, collection: Collection) -> None:
        """Describe the collection that is prepared now; splits of which an
        earlier run could prepare nothing are forgotten.
        """
        self.image_suffix = collection.image_suffix
        self.labels.update(collection.labels)
        self.recipe.update(collection.recipe)
        self.splits = {k: s for k, s in self.splits.items() if s.photographs}

    def as_collection(self, name: str, folder: str) -> Collection:
        """Describe the collection of which this is the record."""
        splits = {
            key: Split(split.expected, folder=split.folder)
            for key, split in self.splits.items()
        }
        return Collection(name, folder, lambda raw, split: None, splits,
                          self.labels, self.image_suffix)


def read_records(folder: Path) -> dict[str, Record]:
    """Read the records of a prepared folder, by name of the collection; a
    missing file is empty.
    """
    path = folder / FILE
    if not path.exists():
        return {}
    try:
        content = json.loads(read_text(path))
        return {name: _record(entry) for name, entry in content.items()}
    except (AttributeError, KeyError, TypeError, ValueError,
            RecursionError) as error:
        raise RefusedError(f'{path}: cannot be read ({error!r}); remove the '
                           'file and prepare the collection again.') from error


def _record(entry: dict) -> Record:
    # earlier versions had more in it
    known = {f.name: entry[f.name] for f in fields(Record) if f.name in entry}
    recipe = entry.get('recipe', {}).items()
    known['recipe'] = {k: v for k, v in recipe if isinstance(v, list)}
    labels = {k: Labels(**v) for k, v in entry['labels'].items()}
    splits = {k: SplitRecord(**v) for k, v in entry['splits'].items()}
    for name in (*labels, *(split.folder for split in splits.values())):
        if Path(name).is_absolute() or '..' in Path(name).parts:
            raise ValueError(f'{name!r} leads out of the folder')
    return Record(**dict(known, labels=labels, splits=splits))


def save_records(folder: Path, records: dict[str, Record]) -> None:
    """Write the records of a prepared folder."""
    save_json(folder / FILE, {k: asdict(r) for k, r in records.items()})


def labels_of(collection: Collection,
              records: dict[str, Record]) -> dict[str, Labels]:
    """All label folders that a prepared collection may have, and ``fov``."""
    labels = {**collection.labels, 'fov': FIELD_OF_VIEW}
    for record in records.values():
        for name, kind in record.labels.items():
            # records of version 0.1 name no task
            task = kind.task or labels.get(name, kind).task
            labels[name] = replace(kind, task=task)
    return labels
