"""Runs over a collection: splits, processes, progress, errors, summary."""
import multiprocessing
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mbos.io import RefusedError, problems_of_links
from mbos.io.files import remove_leftovers
from mbos.io.geometry import Geometry
from .description import Collection
from .errors import PrepareError
from .files import read_geometry, write_geometry
from .layout import Found, Item
from .mirrors import beside
from .record import (UNFINISHED, Record, SplitRecord, part_note, read_records,
                     shares, write_records)
from .worker import Job, Outcome, prepare_item, start_worker

SAVE_EVERY = 5.0
"""Seconds between two writings of geometry.csv."""
MAX_SIDE = dict(train=2048)
"""Largest side of prepared images by split; training never looks closer than
1024 x 2. Other splits keep full size, so that metrics stay comparable."""
MAX_NOTES = 20
"""Notes of a split that a summary shows; errors are all shown."""


@dataclass
class SplitSummary:
    """What came of one split; see the fields' names."""
    expected: int
    found: int = 0
    prepared: int = 0
    skipped: int = 0
    errors: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    pixels: dict[str, np.ndarray] = field(default_factory=dict)
    published: bool = True

    def add(self, outcome: Outcome) -> None:
        """Count one photograph."""
        self.notes += outcome.notes
        if outcome.error:
            self.errors.append(outcome.error)
            return
        self.skipped += outcome.skipped
        self.prepared += not outcome.skipped
        for key, value in outcome.counts.items():
            self.counts[key] = self.counts.get(key, 0) + value
        for key, value in outcome.pixels.items():
            self.pixels[key] = self.pixels.get(key, 0) + value


@dataclass
class Summary:
    """What came of a collection; its text ends with ``ending``."""
    name: str
    folder: Path
    splits: dict[str, SplitSummary] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    ending: str = ''
    seconds: float = 0.0

    @property
    def errors(self) -> list[str]:
        """All that went wrong, file by file."""
        return [e for split in self.splits.values() for e in split.errors]

    @property
    def ok(self) -> bool:
        """Whether nothing went wrong."""
        return not self.errors

    def __str__(self) -> str:
        lines = [f'{self.name} -> {self.folder} ({self.seconds:.1f} s)']
        lines += [f'  note: {note}' for note in self.notes]
        for name, split in self.splits.items():
            lines += [f'  {line}' for line in _split_lines(name, split)]
        lines += [self.ending] if self.ending else []
        return '\n'.join(lines)


def _split_lines(name: str, split: SplitSummary) -> Iterator[str]:
    yield (f'{name}: {split.found} photographs found, {split.expected} '
           f'expected; {split.prepared} prepared, {split.skipped} already '
           f'there, {len(split.errors)} problems')
    if split.published and split.found != split.expected:
        yield part_note(split.found, split.expected)
    for folder, pixels in split.pixels.items():
        yield f'  {folder}: share of pixels by label value: {shares(pixels)}'
    for key, value in split.counts.items():
        if value:
            yield f'  {key}: {value}'
    yield from (f'  note: {note}' for note in split.notes[:MAX_NOTES])
    if len(split.notes) > MAX_NOTES:
        yield f'  note: {len(split.notes) - MAX_NOTES} more like these'
    yield from (f'  ERROR {error}' for error in split.errors)


def run(collection: Collection,
        raw,
        out,
        splits: Sequence[str] | None = None,
        workers: int = 2,
        force: bool = False,
        max_side: int | None = None) -> Summary:
    """Prepare a collection and say what was done and what went wrong.

    ``raw`` is its unpacked folder, ``out`` the one that will contain it.
    ``splits`` are by default all that the raw folder holds; with one worker
    everything runs in this process. Larger images are scaled down to
    ``max_side``, 0 for never; None is 2048 for training splits, else never.

    Raises:
        PrepareError: If nothing can be prepared at all.
    """
    start = time.time()
    raw, out = Path(raw), Path(out)
    _check_arguments(collection, raw, out, splits, max_side)
    summary = Summary(collection.name, out / collection.folder)
    for name in splits or collection.splits:
        found = _find(collection, raw, name)
        if found is None and splits:
            raise PrepareError(
                f'{raw}: nothing of split {name!r} of {collection.name} '
                'found; unpack the archive that holds it.')
        if found is None:
            summary.notes.append(f'{raw} holds no split {name!r}; left out.')
            continue
        summary.splits[name] = _run_split(collection, name, found, summary,
                                          workers, force, max_side)
    if not summary.splits:
        raise PrepareError(
            f'{raw}: nothing of {collection.name} found; give the folder that '
            'its archive unpacks to (docs/collections.md shows its tree).' +
            beside(raw, collection.tree))
    if summary.folder.is_dir():
        _record_failures(collection, summary, splits or ())
    summary.seconds = time.time() - start
    return summary


def _record_failures(collection: Collection, summary: Summary,
                     wanted: Sequence[str]) -> None:
    """Note splits of which nothing could be prepared, for the check.

    Those of an earlier run are forgotten when others alone are ``wanted``; one
    that was prepared in an earlier run is left alone.
    """
    records = read_records(summary.folder)
    record = records.get(collection.name) or Record(collection.image_suffix)
    before = dict(record.splits)
    for name, split in before.items():
        if wanted and name not in wanted and not split.photographs:
            del record.splits[name]
    for name, result in summary.splits.items():
        earlier = record.splits.get(name)
        if result.found or (earlier and earlier.photographs):
            continue
        problems = [error.splitlines()[0] for error in result.errors]
        record.splits[name] = SplitRecord(
            collection.split_folder(name), result.expected, problems=problems)
    if record.splits != before:
        record.published = collection.published
        records[collection.name] = record
        write_records(summary.folder, records)


def _check_arguments(collection: Collection, raw: Path, out: Path, splits,
                     max_side) -> None:
    if not raw.is_dir():
        what = 'is a file: unpack it' if raw.exists() else (
            'does not exist: download and unpack the collection')
        raise PrepareError(
            f'{raw}: {what}, then give the folder of {collection.name}.')
    problems = problems_of_links(raw, recursive=True)
    if problems:
        raise PrepareError('\n'.join(problems))
    if out.exists() and not out.is_dir():
        raise PrepareError(f'{out}: is not a folder; choose another OUT.')
    if raw.resolve() in (out.resolve(), *out.resolve().parents):
        raise PrepareError(f'{out}: lies inside the raw folder {raw}; choose '
                           'a folder outside it.')
    unknown = set(splits or ()) - set(collection.splits)
    if unknown:
        raise PrepareError(
            f'{collection.name} has no split {", ".join(sorted(unknown))}; it '
            f'has {", ".join(collection.splits)}.')
    if max_side and max_side < 32:
        raise PrepareError('--max-side must be at least 32, or 0 for full '
                           f'size, got {max_side}.')


def _find(collection: Collection, raw: Path, split: str) -> Found | None:
    """Look for a split; a missing folder must not stop the other splits."""
    try:
        return collection.find(raw, split)
    except RefusedError as error:
        return Found(problems=[str(error) + beside(raw, collection.tree)])


def _run_split(collection: Collection, name: str, found: Found,
               summary: Summary, workers: int, force: bool,
               max_side: int | None) -> SplitSummary:
    split = collection.splits[name]
    if max_side is None:
        max_side = MAX_SIDE.get(name)
    job = Job(summary.folder / collection.split_folder(name),
              collection.image_suffix, split.crop, max_side or None, force,
              collection.with_images, collection.labels)
    result = SplitSummary(
        split.expected,
        len(found.items),
        errors=list(found.problems),
        notes=[*found.notes, *found.left_out_notes()],
        published=collection.published)
    if not found.items:
        if found.folder is not None or not result.errors:
            result.errors.append(
                f'{found.folder}: no photographs to prepare in this folder; '
                'unpack the archive again.')
        return result
    unfinished = f'{job.folder}: {UNFINISHED}'
    _record(collection, name, summary.folder, [], [unfinished])
    done, problems = _prepare_items(collection, name, found, job, workers,
                                    result)
    problems = sorted([*found.problems, *problems])
    _record(collection, name, summary.folder, done, problems)
    result.errors.sort()
    return result


def _record(collection: Collection, split: str, folder: Path,
            items: Sequence[Item], problems: Sequence[str]) -> None:
    """Note in prepared.json what a split has come to."""
    records = read_records(folder)
    record = records.get(collection.name) or Record(collection.image_suffix)
    record.image_suffix = collection.image_suffix
    record.published = collection.published
    record.labels.update(collection.labels)
    record.recipe.update(collection.recipe)
    lacking = {
        name: [item.stem for item in items if name not in item.labels]
        for name in collection.labels
    }
    record.splits[split] = SplitRecord(
        collection.split_folder(split), collection.splits[split].expected,
        [item.stem for item in items], {
            name: stems
            for name, stems in lacking.items() if stems
        }, list(problems))
    records[collection.name] = record
    write_records(folder, records)


def _prepare_items(collection: Collection, name: str, found: Found, job: Job,
                   workers: int,
                   result: SplitSummary) -> tuple[list[Item], list[str]]:
    """Prepare a split; returns what is there then, and why the rest is not."""
    failed = {}
    for folder in {
            path.parent
            for path in job.targets(found.items[0]).values()
    }:
        remove_leftovers(folder)
    with _GeometryTable(job.folder / 'geometry.csv') as table:
        outcomes = _outcomes(found.items, job, table.rows, workers)
        bar = tqdm(
            outcomes,
            desc=f'{collection.name} {name}',
            total=len(found.items),
            unit='image',
            disable=None)
        for outcome in bar:
            result.add(outcome)
            table.add(outcome.geometry)
            if outcome.error and not outcome.is_kept:
                failed[outcome.stem] = outcome.error
    done = [item for item in found.items if item.stem not in failed]
    return done, list(failed.values())


def _outcomes(items: Sequence[Item], job: Job, rows: Mapping[str, Geometry],
              workers: int) -> Iterator[Outcome]:
    """Prepare photographs, in any order."""
    tasks = [(item, job, rows.get(item.stem)) for item in items]
    done = [job.is_done(item, known) for item, _, known in tasks]
    # What is done already is not worth a process.
    alone = workers <= 1 or done.count(False) <= 1
    for task, is_done in zip(tasks, done):
        if alone or is_done:
            yield prepare_item(*task)
    if not alone:
        rest = [task for task, is_done in zip(tasks, done) if not is_done]
        yield from _outcomes_of_pool(rest, workers)


def _outcomes_of_pool(tasks: Sequence[tuple],
                      workers: int) -> Iterator[Outcome]:
    # Forking a process that runs threads (OpenMP, OpenCV) can hang.
    context = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(min(workers, len(tasks)), context,
                             start_worker) as pool:
        futures = {pool.submit(prepare_item, *task): task for task in tasks}
        try:
            for future in as_completed(futures):
                yield _outcome_of(future, futures[future][0])
        finally:
            pool.shutdown(cancel_futures=True)


def _outcome_of(future: Future, item: Item) -> Outcome:
    try:
        return future.result()
    except BrokenProcessPool:
        return Outcome(
            item.stem,
            error=f'{item.image}: not prepared, because a worker process died '
            '(out of memory?); run the command again with --workers 1.')


class _GeometryTable:
    """geometry.csv of a split, saved every few seconds and at the end."""

    def __init__(self, path: Path):
        self.path = path
        self.rows = read_geometry(path)
        self.saved = time.time()
        self.changed = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.save()

    def add(self, row: Geometry | None) -> None:
        """Take up a row, unless it is None or there already."""
        if row is None or self.rows.get(row.name) == row:
            return
        self.rows[row.name] = row
        self.changed = True
        if time.time() - self.saved > SAVE_EVERY:
            self.save()

    def save(self) -> None:
        """Write the file, if there is anything new."""
        if self.changed:
            write_geometry(self.path, self.rows.values())
            self.changed = False
        self.saved = time.time()
