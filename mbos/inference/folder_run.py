"""Predicting many photographs into a folder, whatever some of them are."""
import errno
import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field

from mbos.io import is_printable
from mbos.io.files import file_sha256
from mbos.io.photographs import PhotographError, read_photograph
from .folder_files import OutputFolder, header_of
from .photograph_list import Source, by_path, name_photographs
from .photograph_writer import PhotographWriter, WriteOptions
from .prediction import PhotographPredictor

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DiskFullError(OSError):
    """The disk of the outputs is full; what was written is kept."""


@dataclass(frozen=True)
class RunOptions:
    """How a run over many photographs works and what it writes.

    Attributes:
        batch_size (int): Photographs that go through the network together.
        workers (int): Threads that put predictions back, measure and write;
            each needs the memory of one photograph.
        write (WriteOptions): What is written.
        overwrite (bool): Whether what is there shall be made again.
    """

    batch_size: int = 1
    workers: int = 1
    write: WriteOptions = WriteOptions()
    overwrite: bool = False

    def __post_init__(self):
        for name in ('batch_size', 'workers'):
            if getattr(self, name) < 1:
                raise ValueError(f'{name} is {getattr(self, name)}, expected '
                                 'at least 1.')


@dataclass
class RunSummary:
    """What came of a run.

    Attributes:
        done (int): Photographs predicted now.
        skipped (int): Photographs that were there already.
        failed (list[dict]): ``source`` and ``reason`` of each unreadable one.
        records (list[dict]): Of all photographs in the folder.
    """

    done: int = 0
    skipped: int = 0
    failed: list[dict] = field(default_factory=list)
    records: list[dict] = field(default_factory=list)

    def flagged(self) -> dict[str, list[str]]:
        """Names of photographs by flag."""
        found = {}
        for record in self.records:
            for flag in record['measurements']['flags'].split():
                found.setdefault(flag, []).append(record['name'])
        return found


def predict_photographs(predictor: PhotographPredictor,
                        checkpoint: str,
                        found: Sequence[tuple],
                        out_dir: str,
                        options: RunOptions = RunOptions(),
                        progress: Callable | None = None) -> RunSummary:
    """Predict photographs and write everything about them.

    What is done and has not changed is skipped. A photograph that cannot be
    read is listed in the summary. Tables are written however the run ends.

    Args:
        predictor (PhotographPredictor): With the network and its options.
        checkpoint (str): Its file; a changed one is noticed.
        found (Sequence[tuple[str, str]]): Of ``find_photographs``.
        out_dir (str): The folder to write (docs/prediction.md).
        options (RunOptions): How.
        progress (Callable, optional): Called after each photograph.

    Returns:
        RunSummary: What came of it.

    Raises:
        DiskFullError: If there is no space left.
        ValueError: If the folder holds predictions of another checkpoint or
            with other options.
    """
    run = _Run(predictor, checkpoint, out_dir, options)
    return run(found, progress or (lambda: None))


class _Run:
    """One call of :func:`predict_photographs`."""

    def __init__(self, predictor, checkpoint, out_dir, options):
        self.options = options
        self.predictor = predictor
        self.tasks = list(predictor.tasks.values())
        self.out = OutputFolder(out_dir, self.tasks)
        self.header = header_of(self.tasks, checkpoint,
                                file_sha256(checkpoint),
                                self._described_options())
        self.key = self.header['key']
        self.writer = PhotographWriter(predictor, self.out, options.write,
                                       self.key)
        self.summary = RunSummary()

    def _described_options(self) -> dict:
        """What changes the outputs, in plain types."""
        chosen = self.predictor.options
        described = asdict(chosen)
        del described['threshold'], described['postprocess']
        described.update(
            thresholds=self.predictor.thresholds,
            postprocessing=asdict(self.predictor.postprocessing),
            scales=list(chosen.scales),
            crop=self.predictor.crop,
            test_cfg=self.predictor.test_cfg,
            probabilities=self.options.write.probabilities,
            overlay_size=self.options.write.overlay_size)
        return json.loads(json.dumps(described))  # tuples become lists

    def __call__(self, found, progress) -> RunSummary:
        try:
            self.out.claim(self.header, self.options.overwrite)
            known = by_path(self.out.known_names())
            sources = name_photographs(found, known)
            names = [source.name for source in sources]
            try:
                self._predict(sources, progress)
            finally:
                self.summary.records = self.out.finish(self.header, names,
                                                       self.summary.failed)
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise DiskFullError(
                error.errno,
                f'{self.out.folder}: no space left on its disk. What is '
                f'written is whole ({self.summary.done} photograph(s) of this '
                'run); free some space and run the same command again to go '
                'on.') from error
        return self.summary

    def _predict(self, sources, progress) -> None:
        wanted = []
        for source in sources:
            if not self.options.overwrite and self.out.is_done(
                    source, self.key):
                self.summary.skipped += 1
                progress()
            else:
                wanted.append(source)
        writing = deque()
        with ThreadPoolExecutor(1) as reader, \
                ThreadPoolExecutor(self.options.workers) as writers:
            try:
                for batch in self._batches(
                        self._read(reader, wanted, progress)):
                    views = [views for _, _, _, views in batch]
                    results = self.predictor.run(views)
                    for item, logits in zip(batch, results):
                        while len(writing) >= self.options.workers:
                            self._finished(writing.popleft(), progress)
                        writing.append(
                            writers.submit(  # type: ignore[call-arg]
                                self.writer.write, *item[:3], logits))
                    del batch, views, results
                while writing:
                    self._finished(writing.popleft(), progress)
            except BaseException:
                for future in writing:
                    future.cancel()
                raise

    def _finished(self, future, progress) -> None:
        future.result()
        self.summary.done += 1
        progress()

    def _batches(self, items) -> Iterator[list]:
        batch = []
        for item in items:
            batch.append(item)
            if len(batch) == self.options.batch_size:
                yield batch
                batch = []
        if batch:
            yield batch

    def _read(self, reader, sources, progress) -> Iterator[tuple]:
        """Read ahead by one photograph, and leave out what is unreadable."""
        ahead = deque()
        for source in [*sources, None]:
            if source is not None:
                ahead.append((source, reader.submit(self._read_one, source)))
            while ahead and (len(ahead) > 1 or source is None):
                first, future = ahead.popleft()
                try:
                    yield (first, *future.result())
                except PhotographError as error:
                    self.summary.failed.append(
                        dict(source=first.path, reason=str(error)))
                    progress()

    def _read_one(self, source: Source) -> tuple:
        if not is_printable(source.path):
            raise PhotographError(
                f'{source.path!r}: the file name has characters that cannot '
                'be printed; rename the file.')
        photograph = read_photograph(source.path)
        return photograph, *self.predictor.prepare(photograph)
