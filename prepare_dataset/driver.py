"""Runs over a collection: splits, processes, progress, errors, summary."""
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mbos.io import RefusedError, problems_of_links
from mbos.io.files import remove_leftovers
from .description import Collection
from .errors import PrepareError
from .files import read_geometry, write_geometry
from .layout import Found, Item, note_of_left_out
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
    counts: Counter = field(default_factory=Counter)
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
        self.counts.update(outcome.counts)
        for key, value in outcome.pixels.items():
            self.pixels[key] = self.pixels.get(key, 0) + value

    def lines(self, name: str) -> Iterator[str]:
        """The text of a summary."""
        yield (f'{name}: {self.found} photographs found, {self.expected} '
               f'expected; {self.prepared} prepared, {self.skipped} already '
               f'there, {len(self.errors)} problems')
        if self.published and self.found != self.expected:
            yield part_note(self.found, self.expected)
        for folder, pixels in self.pixels.items():
            yield (f'  {folder}: share of pixels by label value: '
                   f'{shares(pixels)}')
        yield from (f'  {k}: {count}' for k, count in self.counts.items()
                    if count)
        yield from (f'  note: {note}' for note in self.notes[:MAX_NOTES])
        if len(self.notes) > MAX_NOTES:
            yield f'  note: {len(self.notes) - MAX_NOTES} more like these'
        yield from (f'  ERROR {error}' for error in self.errors)


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
        notes=[*found.notes, *note_of_left_out(found.left_out)],
        published=collection.published)
    if not found.items:
        if found.folder is not None or not result.errors:
            result.errors.append(
                f'{found.folder}: no photographs to prepare in this folder; '
                'unpack the archive again.')
        return result
    unfinished = f'{job.folder}: {UNFINISHED}'
    _record(collection, name, summary.folder, [], [unfinished])
    failed = _prepare_items(f'{collection.name} {name}', found.items, job,
                            workers, result)
    done = [item for item in found.items if item.stem not in failed]
    problems = sorted([*found.problems, *failed.values()])
    _record(collection, name, summary.folder, done, problems)
    result.errors.sort()
    return result


def _record(collection: Collection, split: str, folder: Path,
            items: Sequence[Item], problems: Sequence[str]) -> None:
    """Note in prepared.json what a split has come to."""
    records = read_records(folder)
    record = records.setdefault(collection.name,
                                Record(collection.image_suffix))
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
    write_records(folder, records)


def _record_failures(collection: Collection, summary: Summary,
                     wanted: Sequence[str]) -> None:
    """Note splits of which nothing could be prepared, for the check.

    Those of an earlier run are forgotten when others alone are ``wanted``; one
    that was prepared in an earlier run is left alone.
    """
    records = read_records(summary.folder)
    record = records.setdefault(collection.name,
                                Record(collection.image_suffix))
    before = dict(record.splits)
    for name, split in before.items():
        if wanted and name not in wanted and not split.photographs:
            del record.splits[name]
    for name, result in summary.splits.items():
        earlier = record.splits.get(name)
        if not (result.found or (earlier and earlier.photographs)):
            record.splits[name] = SplitRecord(
                collection.split_folder(name),
                result.expected,
                problems=[error.splitlines()[0] for error in result.errors])
    if record.splits != before:
        record.published = collection.published
        write_records(summary.folder, records)


def _prepare_items(title: str, items: Sequence[Item], job: Job, workers: int,
                   result: SplitSummary) -> dict[str, str]:
    """Prepare a split; returns why what is not there then is missing."""
    for path in job.targets(items[0]).values():
        remove_leftovers(path.parent)
    table = job.folder / 'geometry.csv'
    rows = read_geometry(table)
    saved, last = dict(rows), time.time()
    tasks = [(item, job, rows.get(item.stem)) for item in items]
    failed = {}
    try:
        for outcome in tqdm(
                _outcomes(tasks, workers),
                desc=title,
                total=len(items),
                unit='image',
                disable=None):
            result.add(outcome)
            if outcome.geometry:
                rows[outcome.stem] = outcome.geometry
            if outcome.error and not outcome.is_kept:
                failed[outcome.stem] = outcome.error
            if time.time() - last > SAVE_EVERY and rows != saved:
                write_geometry(table, rows.values())
                saved, last = dict(rows), time.time()
    finally:
        if rows != saved:
            write_geometry(table, rows.values())
    return failed


def _outcomes(tasks: Sequence[tuple], workers: int) -> Iterator[Outcome]:
    """Prepare photographs, in any order."""
    # What is done already is not worth a process.
    done = [job.is_done(item, known) for item, job, known in tasks]
    alone = workers <= 1 or done.count(False) <= 1
    rest = []
    for task, is_done in zip(tasks, done):
        if alone or is_done:
            yield prepare_item(*task)
        else:
            rest.append(task)
    if not rest:
        return
    # Forking a process that runs threads (OpenMP, OpenCV) can hang.
    context = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(min(workers, len(rest)), context,
                             start_worker) as pool:
        futures = {pool.submit(prepare_item, *task): task for task in rest}
        try:
            for future in as_completed(futures):
                item = futures[future][0]
                try:
                    yield future.result()
                except BrokenProcessPool:
                    yield Outcome(
                        item.stem,
                        error=f'{item.image}: not prepared, because a worker '
                        'process died (out of memory?); run the command again '
                        'with --workers 1.')
        finally:
            pool.shutdown(cancel_futures=True)
