"""Runs over a collection: splits, progress, errors, summary."""
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tqdm import tqdm

from mbos.io import RefusedError, problems_of_links
from mbos.io.files import remove_leftovers
from .description import Collection
from .layout import Found, Item, note_of_left_out
from .record import (UNFINISHED, Record, SplitRecord, read_geometry,
                     read_records, save_records, write_geometry)
from .worker import Job, Outcome, prepare_item

MAX_SIDE = dict(train=2048)
"""Largest side of prepared images by split; training never looks closer than
1024 x 2. Other splits keep full size, so that metrics stay comparable."""


@dataclass
class SplitSummary:
    """What came of one split; see the fields' names."""
    expected: int
    found: int = 0
    prepared: int = 0
    skipped: int = 0
    errors: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counts: Counter = field(default_factory=Counter)

    def add(self, outcome: Outcome) -> None:
        """Count one photograph."""
        self.notes += outcome.notes
        if outcome.error:
            self.errors.append(outcome.error)
            return
        self.skipped += outcome.skipped
        self.prepared += not outcome.skipped
        self.counts.update(outcome.counts)

    def lines(self, name: str) -> Iterator[str]:
        """The text of a summary."""
        yield (f'{name}: {self.found} photographs found, {self.expected} '
               f'expected; {self.prepared} prepared, {self.skipped} already '
               f'there, {len(self.errors)} problems')
        yield from (f'  {k}: {count}' for k, count in self.counts.items()
                    if count)
        yield from (f'  note: {note}' for note in self.notes)
        yield from (f'  ERROR {error}' for error in self.errors)


@dataclass
class Summary:
    """What came of a collection; its text ends with ``ending``."""
    name: str
    folder: Path
    splits: dict[str, SplitSummary] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    ending: str = ''

    @property
    def errors(self) -> list[str]:
        """All that went wrong, file by file."""
        return [e for split in self.splits.values() for e in split.errors]

    @property
    def ok(self) -> bool:
        """Whether nothing went wrong."""
        return not self.errors

    def __str__(self) -> str:
        lines = [f'{self.name} -> {self.folder}']
        lines += [f'  note: {note}' for note in self.notes]
        for name, split in self.splits.items():
            lines += [f'  {line}' for line in split.lines(name)]
        return '\n'.join([*lines, self.ending] if self.ending else lines)


def run(collection: Collection,
        raw,
        out,
        splits: Sequence[str] | None = None,
        workers: int = 2,
        force: bool = False,
        max_side: int | None = None) -> Summary:
    """Prepare a collection and say what was done and what went wrong.

    ``raw`` is its unpacked folder, ``out`` the one that will contain it.
    ``splits`` are by default all that the raw folder holds; ``workers`` are
    threads. Larger images are scaled down to ``max_side``, 0 for never; None
    is 2048 for training splits, else never. A ``RefusedError`` is raised if
    nothing can be prepared at all.
    """
    raw, out = Path(raw), Path(out)
    check_raw(raw, collection.name)
    if out.resolve().is_relative_to(raw.resolve()):
        raise RefusedError(f'{out}: lies inside the raw folder {raw}; choose '
                           'a folder outside it.')
    if max_side and max_side < 32:
        raise RefusedError('--max-side must be at least 32, or 0 for full '
                           f'size, got {max_side}.')
    folder = out / collection.folder
    summary = Summary(collection.name, folder)
    records = read_records(folder)
    record = records.setdefault(collection.name, Record())
    record.begin(collection)
    for name in splits or collection.splits:
        try:
            found = collection.find(raw, name)
        except RefusedError as error:  # must not stop the other splits
            found = Found(problems=[str(error)])
        if found is None:
            summary.notes.append(f'{raw} holds no split {name!r}; left out.')
            continue
        side = MAX_SIDE.get(name) if max_side is None else max_side
        job = Job(collection, name, folder / collection.split_folder(name),
                  side or None, force)
        summary.splits[name] = _run_split(
            job, found, workers, record, partial(save_records, folder,
                                                 records))
    if not summary.splits:
        raise RefusedError(
            f'{raw}: nothing of {collection.name} found; give the folder that '
            'its archive unpacks to (docs/collections.md shows its tree).')
    if folder.is_dir():
        save_records(folder, records)
    return summary


def check_raw(raw: Path, name: str) -> None:
    """Refuse what is no folder, or has links that lead out of it."""
    if not raw.is_dir():
        raise RefusedError(f'{raw}: is not a folder; download and unpack '
                           f'{name}, then give its folder.')
    problems = problems_of_links(raw, recursive=True)
    if problems:
        raise RefusedError('\n'.join(problems))


def _run_split(job: Job, found: Found, workers: int, record: Record,
               save: Callable[[], None]) -> SplitSummary:
    """Prepare a split and record what has come of it."""
    collection, name = job.collection, job.split
    result = SplitSummary(
        collection.splits[name].expected,
        len(found.items),
        errors=list(found.problems),
        notes=[*found.notes, *note_of_left_out(found.left_out)])
    noted = SplitRecord(collection.split_folder(name), result.expected)
    if not found.items:
        if not result.errors:
            result.errors.append(f'{found.folder}: no photographs to prepare '
                                 'in this folder; unpack the archive again.')
        noted.problems = result.errors
        record.splits.setdefault(name, noted)  # unless there are earlier ones
        return result
    record.splits[name] = noted
    noted.problems = [f'{job.folder}: {UNFINISHED}']
    save()
    _prepare_items(job, found.items, workers, result)
    there = [item for item in found.items if job.is_there(item)]
    noted.photographs = [item.stem for item in there]
    noted.lacking = {
        label: [item.stem for item in there if label not in item.labels]
        for label in collection.labels
    }
    noted.problems = result.errors
    save()
    return result


def _prepare_items(job: Job, items: Sequence[Item], workers: int,
                   result: SplitSummary) -> None:
    for path in job.targets(items[0]).values():
        remove_leftovers(path.parent)
    saved = read_geometry(job.folder)
    rows = dict(saved)
    title = f'{job.collection.name} {job.split}'
    with ThreadPoolExecutor(max(1, workers)) as pool:
        done = pool.map(lambda i: prepare_item(i, job, saved.get(i.stem)),
                        items)
        try:
            for outcome in tqdm(done, title, len(items), disable=None):
                result.add(outcome)
                if outcome.geometry:
                    rows[outcome.stem] = outcome.geometry
        finally:
            pool.shutdown(cancel_futures=True)  # of an interrupted run
            if rows != saved:
                write_geometry(job.folder, rows.values())
    result.errors.sort()
