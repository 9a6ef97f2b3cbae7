"""Predicting many photographs into a folder, whatever some of them are."""
import json
import os
import os.path as osp
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field

import numpy as np
from PIL import Image

import mbos
from mbos.io import is_printable
from mbos.io.disclaimer import DISCLAIMER
from mbos.io.files import file_sha256
from mbos.io.photographs import Photograph, PhotographError, read_photograph
from mbos.painter import DrawnTask, shrink
from mbos.pictures import gallery
from mbos.pictures.overlay_picture import overlay_picture
from .folder_files import OutputFolder, file_identity, shown_flags
from .measurements import Row, columns, measure
from .photograph_list import Source, name_photographs
from .prediction import PhotographPredictor, PreparedPhotograph

Maps = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class RunOptions:
    """How a run over many photographs works and what it writes.

    Attributes:
        batch_size: Photographs that go through the network together.
        workers: Threads that predict photographs side by side; each needs the
            memory of a photograph and of the network's maps.
        overlay_size: Longer side of the overlays in pixels; 0 is the
            photograph's own, None writes none.
        thumbnail: Longer side of the gallery's pictures; None leaves them to
            whoever writes the gallery.
    """

    batch_size: int = 1
    workers: int = 1
    overwrite: bool = False
    probabilities: bool = False
    overlay_size: int | None = 1600
    thumbnail: int | None = gallery.THUMBNAIL

    def __post_init__(self):
        if min(self.batch_size, self.workers,
               1 + (self.overlay_size or 0)) < 1:
            raise ValueError(
                f'batch_size is {self.batch_size}, workers {self.workers} and '
                f'overlay_size {self.overlay_size}: at least 1, 1 and 0.')


@dataclass
class RunSummary:
    """What came of a run: photographs predicted now, and there already,
    ``source`` and ``reason`` of unreadable ones, and records of all."""

    done: int = 0
    skipped: int = 0
    failed: list[dict] = field(default_factory=list)
    records: list[dict] = field(default_factory=list)

    def flagged(self) -> dict[str, list[str]]:
        """Names of photographs by flag."""
        found: dict[str, list[str]] = {}
        for record in self.records:
            for flag in record['measurements']['flags'].split():
                found.setdefault(flag, []).append(record['name'])
        return found


class FolderRun:
    """Predicts photographs and writes everything about them into a folder;
    that the checkpoint has changed since an earlier run is noticed."""

    def __init__(self,
                 predictor: PhotographPredictor,
                 checkpoint: str,
                 out_dir: str,
                 options: RunOptions = RunOptions()):
        self.options = options
        self.predictor = predictor
        self.tasks = list(predictor.tasks.values())
        self.out = OutputFolder(out_dir, self.tasks)
        self.header = self._header(checkpoint)
        self.summary = RunSummary()

    def _header(self, checkpoint: str) -> dict:
        """What ``run.json`` says besides photographs, in plain types.

        ``key`` is what all photographs of a folder share: the hash of the
        checkpoint, and the options that change outputs.
        """
        chosen = asdict(self.predictor.options)
        del chosen['threshold'], chosen['postprocess']
        chosen.update(
            thresholds=self.predictor.thresholds,
            postprocessing=asdict(self.predictor.postprocessing),
            crop=self.predictor.crop,
            test_cfg=self.predictor.test_cfg,
            probabilities=self.options.probabilities,
            overlay_size=self.options.overlay_size)
        chosen = json.loads(json.dumps(chosen))  # tuples become lists
        sha256 = file_sha256(checkpoint)
        tasks = [
            dict(
                task.as_config(),
                palette=[list(colour) for colour in task.colours],
                threshold=chosen['thresholds'][task.name])
            for task in self.tasks
        ]
        return dict(
            key=json.dumps([sha256, chosen], sort_keys=True),
            note=DISCLAIMER,
            mbos_version=mbos.__version__,
            checkpoint=checkpoint,
            checkpoint_sha256=sha256,
            options=chosen,
            tasks=tasks,
            columns=columns(self.tasks))

    def __call__(self,
                 found: Sequence[Source],
                 progress: Callable[[], object] = lambda: None) -> RunSummary:
        """Predict what is not done yet, or has changed since; ``progress`` is
        called after each photograph.

        A photograph that cannot be read is listed in the summary. Tables are
        written however the run ends.

        Raises:
            ValueError: If the folder holds predictions of another checkpoint
                or with other options.
        """
        self.out.claim(self.header, self.options.overwrite)
        known = {
            record['source']: record['name']
            for record in self.out.all_records()
            if osp.exists(record['source'])
        }
        sources = name_photographs(found, known)
        try:
            self._predict(sources, progress)
        finally:
            names = [source.name for source in sources]
            self.summary.records = self.out.finish(self.header, names,
                                                   self.summary.failed)
        return self.summary

    def _predict(self, sources: Sequence[Source],
                 progress: Callable[[], object]) -> None:
        """Several threads at a time, each on photographs of its own."""
        wanted = [
            source for source in sources if self.options.overwrite
            or not self.out.is_done(source, self.header['key'])
        ]
        self.summary.skipped = len(sources) - len(wanted)
        for _ in range(self.summary.skipped):
            progress()
        size = self.options.batch_size
        batches = [wanted[i:i + size] for i in range(0, len(wanted), size)]
        workers = min(self.options.workers, max(len(batches), 1))
        self.predictor.share_processor(workers)
        pool = ThreadPoolExecutor(workers)
        try:
            for failed in pool.map(self._predict_batch, batches):
                self.summary.failed += [f for f in failed if f]
                self.summary.done += failed.count(None)
                for _ in failed:
                    progress()
        finally:
            pool.shutdown(cancel_futures=True)

    def _predict_batch(self, sources: Sequence[Source]) -> list[dict | None]:
        """Everything about some photographs; returns what failed of each."""
        failed: list[dict | None] = []
        readable, inputs = [], []
        for source in sources:
            try:
                photograph = _read(source.path)
            except PhotographError as error:
                failed.append(dict(source=source.path, reason=str(error)))
                continue
            failed.append(None)
            prepared, for_network = self.predictor.prepare(photograph)
            readable.append((source, photograph, prepared))
            inputs.append(for_network)
        results = self.predictor.run(inputs)
        inputs.clear()  # they are large
        for (source, photograph, prepared), logits in zip(readable, results):
            self._write(source, photograph, prepared, logits)
        return failed

    def _write(self, source: Source, photograph: Photograph,
               prepared: PreparedPhotograph, logits: Mapping) -> None:
        """Write everything of a photograph, the record last."""
        name, view = source.name, prepared.field_of_view
        height, width = photograph.image.shape[:2]
        self.out.forget(name)
        labels, files = self.write_labels(name, prepared, logits)
        row = self.measure(labels, prepared, photograph)
        overlay = self.write_pictures(name, photograph, labels, row['flags'])
        self.out.write_record(
            dict(
                name=name,
                source=os.path.abspath(source.path),
                file=file_identity(source.path),
                key=self.header['key'],
                width=width,
                height=height,
                field_of_view=dict(
                    box=view.box, certain=view.certain, several=view.several),
                notes=prepared.notes,
                measurements=row,
                overlay=overlay,
                **files))

    def write_labels(self, name: str, prepared: PreparedPhotograph,
                     logits: Mapping) -> tuple[Maps, dict[str, dict]]:
        """Restore and write label maps, and probabilities if wanted; returns
        label maps by task, and the files of both by task."""
        maps: dict[str, np.ndarray] = {}
        files: dict[str, dict] = dict(labels={}, probabilities={})
        for task_name, labels, prob in self.predictor.restore(
                logits, prepared, self.options.probabilities):
            task = self.predictor.tasks[task_name]
            maps[task_name] = labels
            files['labels'][task_name] = self.out.write_labels(
                name, task, labels)
            if prob is not None:
                files['probabilities'][task_name] = (
                    self.out.write_probabilities(name, task, prob))
        return maps, files

    def measure(self, labels: Maps, prepared: PreparedPhotograph,
                photograph: Photograph) -> Row:
        """Measure label maps."""
        view = prepared.field_of_view
        return measure(labels, self.tasks, view.mask, photograph.image,
                       view.certain, bool(view.several))

    def write_pictures(self, name: str, photograph: Photograph, labels: Maps,
                       flags: str) -> str | None:
        """Draw and write the overlay and the gallery's pictures; returns the
        overlay's path below the folder, if there is one."""
        overlay, image = None, photograph.image
        size, thumbnail = self.options.overlay_size, self.options.thumbnail
        drawn = {t.name: DrawnTask(labels[t.name], t) for t in self.tasks}
        if size is not None:
            small = shrink(image, size) if size else image
            parts = [osp.basename(name), ', '.join(shown_flags(flags))]
            caption = '. '.join(filter(None, [*parts, DISCLAIMER]))
            overlay = self.out.write_overlay(
                name, overlay_picture(small, drawn, self.tasks, 0, caption))
            if thumbnail is not None and max(small.shape) >= 2 * thumbnail:
                image = small  # sharp enough for the thumbnail
        if thumbnail is not None:
            gallery.write_pictures(self.out.folder, name,
                                   Image.fromarray(image), drawn, self.tasks,
                                   thumbnail, photograph.image.shape[1::-1])
        return overlay


def _read(path: str) -> Photograph:
    if not is_printable(path):
        raise PhotographError(f'{path!r}: the file name has characters that '
                              'cannot be printed; rename the file.')
    return read_photograph(path)
