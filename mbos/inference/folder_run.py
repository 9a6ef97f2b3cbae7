"""Predicting many photographs into a folder, whatever some of them are."""
import json
import os.path as osp
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field

import cv2
import numpy as np

import mbos
from mbos.io import RefusedError, is_printable
from mbos.io.disclaimer import DISCLAIMER
from mbos.io.field_of_view import FieldOfView
from mbos.io.files import file_sha256, save_bytes, save_image, save_json
from mbos.io.labels import save_labels
from mbos.io.photographs import Photograph, read_photograph
from mbos.painter import DrawnTask, shrink
from mbos.pictures import gallery
from mbos.pictures.overlay_picture import overlay_picture
from .folder_files import (LABELS, OVERLAY, PROBABILITIES, RECORD,
                           OutputFolder, file_identity)
from .measurements import columns, measure
from .photograph_list import Names, name_photographs
from .prediction import PhotographPredictor

Maps = dict[str, np.ndarray]


@dataclass
class FolderRun:
    """Predicts photographs and writes everything about them into a folder.

    Attributes:
        workers: Threads that predict photographs side by side; each needs the
            memory of a photograph and of the network's maps.
        overlay_size: Longer side of the overlays in pixels; 0 is the
            photograph's own, None writes none.
        thumbnail: Longer side of the gallery's pictures; None leaves them to
            whoever writes the gallery.
        done, skipped: Numbers of photographs predicted now, and there already.
        failed: ``source`` and ``reason`` of those that cannot be read.
        records: What is known of all photographs in the folder.
    """

    predictor: PhotographPredictor
    checkpoint: str
    out_dir: str
    workers: int = 1
    overwrite: bool = False
    probabilities: bool = False
    overlay_size: int | None = 1600
    thumbnail: int | None = gallery.THUMBNAIL
    done: int = field(default=0, init=False)
    skipped: int = field(default=0, init=False)
    failed: list[dict] = field(default_factory=list, init=False)
    records: list[dict] = field(default_factory=list, init=False)

    def __post_init__(self):
        self.tasks = list(self.predictor.tasks.values())
        self.out = OutputFolder(self.out_dir, self.tasks)

    def __call__(
            self,
            found: Names,
            progress: Callable[[int], object] = lambda number: None) -> None:
        """Predict what is not done yet, or has changed since; ``progress`` is
        called with numbers of photographs. Tables are written however it ends.

        Raises:
            ValueError: If the folder holds predictions of another checkpoint
                or with other options.
        """
        header = self._header()
        self.out.claim(header, self.overwrite)
        names = name_photographs(
            found, {
                record['source']: record['name']
                for record in self.out.all_records()
                if osp.exists(record['source'])
            })
        wanted = [
            item for item in names.items()
            if self.overwrite or not self.out.is_done(*item)
        ]
        self.skipped = len(names) - len(wanted)
        progress(self.skipped)
        workers = max(1, min(self.workers, len(wanted)))
        self.predictor.share_processor(workers)
        pool = ThreadPoolExecutor(workers)
        try:
            for failed in pool.map(self._predict, wanted):
                self.failed += failed
                self.done += not failed
                progress(1)
        finally:
            pool.shutdown(cancel_futures=True)
            self.records = self.out.finish(header, names.values(), self.failed)

    def _header(self) -> dict:
        """What ``run.json`` says besides photographs; all of them share the
        checkpoint and the options, which change outputs."""
        predictor = self.predictor
        options = asdict(predictor.options) | dict(
            threshold=predictor.thresholds,
            postprocess=asdict(predictor.postprocessing),
            crop=predictor.crop,
            test_cfg=predictor.test_cfg,
            probabilities=self.probabilities,
            overlay_size=self.overlay_size)
        tasks = [dict(t.as_config(), palette=t.colours) for t in self.tasks]
        header = dict(
            note=DISCLAIMER,
            mbos_version=mbos.__version__,
            checkpoint=self.checkpoint,
            checkpoint_sha256=file_sha256(self.checkpoint),
            options=options,
            tasks=tasks,
            columns=columns(self.tasks))
        return json.loads(json.dumps(header))  # as it will be read

    def _predict(self, item: tuple[str, str]) -> list[dict]:
        """Predict a photograph of a path and name, and write everything of it,
        the record last; returns why it failed, if it did."""
        path, name = item
        try:
            if not is_printable(path):
                raise RefusedError(f'{path!r}: the file name cannot be '
                                   'printed; rename the file.')
            photograph = read_photograph(path)
        except RefusedError as error:
            return [dict(source=path, reason=str(error))]
        view, inputs = self.predictor.prepare(photograph)
        logits = self.predictor.run(inputs)
        del inputs  # they are large
        self.out.remove(name)
        labels, files = self.write_labels(name, view, logits)
        row = measure(labels, self.tasks, view, photograph.image)
        overlay = self.write_pictures(name, photograph, labels, row['flags'])
        height, width = photograph.image.shape[:2]
        about = dict(box=view.box, certain=view.certain, several=view.several)
        record = dict(
            files,
            name=name,
            source=osp.abspath(path),
            file=file_identity(path),
            width=width,
            height=height,
            field_of_view=about,
            notes=photograph.notes,
            measurements=row,
            overlay=overlay)
        save_json(self.out.path(RECORD.format(name=name)), record)
        return []

    def write_labels(self, name: str, view: FieldOfView,
                     logits: Mapping) -> tuple[Maps, dict[str, dict]]:
        """Restore and write label maps, and a 16-bit PNG per class of
        probabilities if wanted; returns label maps by task, and the paths of
        both by task."""
        maps: Maps = {}
        files: dict[str, dict] = dict(labels={}, probabilities={})
        for task_name, labels, prob in self.predictor.restore(
                logits, view, self.probabilities):
            task = self.predictor.tasks[task_name]
            names = dict(name=name, task=task_name)
            maps[task_name] = labels
            path = files['labels'][task_name] = LABELS.format(**names)
            save_labels(self.out.path(path), labels, task)
            paths = files['probabilities'][task_name] = []
            planes = () if prob is None else prob
            for of_class, plane in zip(task.classes, planes):
                values = np.rint(plane * 65535).astype(np.uint16)
                content = cv2.imencode('.png', values)[1].tobytes()
                paths.append(PROBABILITIES.format(of_class=of_class, **names))
                save_bytes(self.out.path(paths[-1]), content)
        return maps, files

    def write_pictures(self, name: str, photograph: Photograph, labels: Maps,
                       flags: str) -> str | None:
        """Draw and write the overlay and the gallery's pictures; returns the
        overlay's path below the folder, if there is one."""
        overlay, image = None, photograph.image
        size, thumbnail = self.overlay_size, self.thumbnail
        drawn = {t.name: DrawnTask(labels[t.name], t) for t in self.tasks}
        if size is not None:
            small = shrink(image, size) if size > 0 else image
            said = ', '.join(flags.split()).replace('_', ' ')
            parts = [osp.basename(name), said, DISCLAIMER]
            caption = '. '.join(filter(None, parts))
            picture = overlay_picture(small, drawn, self.tasks, caption)
            overlay = OVERLAY.format(name=name)
            save_image(self.out.path(overlay), picture, quality=90)
            if thumbnail is not None and max(small.shape) >= 2 * thumbnail:
                image = small  # sharp enough for the thumbnail
        if thumbnail is not None:
            gallery.write_pictures(self.out.folder, name, image, drawn,
                                   thumbnail)
        return overlay
