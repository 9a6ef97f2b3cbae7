"""Predicting many photographs into a folder, whatever some of them are."""
import glob
import json
import os
import os.path as osp
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import chain, count

import cv2
import numpy as np

import mbos
from mbos.io import RefusedError, is_printable
from mbos.io.field_of_view import FieldOfView
from mbos.io.files import (DISCLAIMER, file_sha256, save_bytes, save_image,
                           save_json)
from mbos.io.labels import save_labels
from mbos.io.photographs import (SUFFIXES, Photograph, is_photograph_name,
                                 read_photograph)
from mbos.painter import DrawnTask, shrink
from mbos.pictures import gallery
from mbos.pictures.overlay_picture import overlay_picture
from .folder_files import (LABELS, OVERLAY, PROBABILITIES, RECORD,
                           OutputFolder, file_identity)
from .measurements import columns, measure
from .prediction import PhotographPredictor

Names = dict[str, str]
"""dict[str, str]: By the file of a photograph, as the user named it, what its
outputs are called: a path without suffix and with ``/``."""
Maps = dict[str, np.ndarray]


def find_photographs(inputs: Sequence[str],
                     exclude: str | None = None) -> tuple[Names, list[str]]:
    """Photographs in the order of the inputs, sorted in each folder, with
    names that may be equal; and the files that were left out of folders.

    Inputs are files, which are taken whatever their suffix; folders, which are
    searched with all below them, but for ``exclude``, that of the outputs; and
    patterns such as ``'eyes/*.jpg'``, in which ``**`` stands for any folders.
    A FileNotFoundError says that one of them stands for no photograph.
    """
    found: dict[str, tuple[str, str]] = {}
    left_out: list[str] = []
    for given in inputs:
        names: Names = {}
        is_there = osp.exists(given)
        for path in [given] if is_there else sorted(
                glob.glob(given, recursive=True)):
            if not osp.isdir(path):
                names[path] = osp.splitext(osp.basename(path))[0]
                continue
            for file in _files(path, exclude):
                if is_photograph_name(osp.basename(file)):
                    name = osp.splitext(osp.relpath(file, path))[0]
                    names[file] = name.replace(os.sep, '/')
                else:
                    left_out.append(file)
        if not names:
            raise FileNotFoundError(
                f'{given}: {"" if is_there else "no such file, and "}no '
                'photographs found; expected a file, a pattern, or a folder, '
                f'not that of the outputs, with {", ".join(SUFFIXES)} in it.')
        for path, name in names.items():
            found.setdefault(osp.realpath(path), (path, name))
    return dict(found.values()), left_out


def _files(folder: str, exclude: str | None) -> Iterator[str]:
    """Files in and below a folder but for hidden ones."""
    seen = {exclude and osp.realpath(exclude)}
    for base, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(f for f in folders if not f.startswith('.'))
        if osp.realpath(base) in seen:  # as in links that lead in circles
            folders.clear()
            continue
        seen.add(osp.realpath(base))
        yield from (osp.join(base, file) for file in sorted(files)
                    if not file.startswith('.'))  # yapf: disable


def name_photographs(found: Names, known: Mapping[str, str]) -> Names:
    """Give each photograph a name of its own.

    Photographs of one name get that of their folder put before, and a number
    behind where that is not enough. What was named in an earlier run (by its
    absolute path in ``known``) keeps its name, so that a run goes on as it
    began. Names that differ in case only are one to some file systems.
    """
    alike = Counter(name.casefold() for name in found.values())
    taken = {name.casefold() for name in known.values()}
    names: Names = {}
    for path, name in found.items():
        whole = osp.abspath(path)
        if alike[name.casefold()] > 1 or name.casefold() in taken:
            folder = whole.split(os.sep)[-2 - name.count('/')]
            name = f'{folder}/{name}'.lstrip('/')
        numbered = (f'{name}_{number}' for number in count(2))
        names[path] = known.get(whole) or next(
            n for n in chain([name], numbered) if n.casefold() not in taken)
        taken.add(names[path].casefold())
    return names


@dataclass
class FolderRun:
    """Predicts photographs, in some threads side by side, and writes
    everything about them into a folder.

    Attributes:
        overlay_size, thumbnail: Longer side of the overlays and of the
            gallery's pictures; 0 is the photograph's own, None writes none.
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

    def __post_init__(self) -> None:
        self.done = self.skipped = 0
        self.failed: list[dict] = []
        self.records: list[dict] = []
        self.tasks = list(self.predictor.tasks.values())
        self.out = OutputFolder(self.out_dir, self.tasks)

    def __call__(self, found: Names, progress: Callable[[int], None]) -> None:
        """Predict what is not done yet, or has changed since; ``progress`` is
        called with numbers of photographs. Tables are written however it ends.
        A ValueError says that the folder holds predictions of another
        checkpoint or with other options."""
        header = self._header()
        self.out.claim(header, self.overwrite)
        known = {r['source']: r['name'] for r in self.out.all_records()
                 if osp.exists(r['source'])}  # yapf: disable
        names = name_photographs(found, known)
        wanted = [item for item in names.items()
                  if self.overwrite or not self.out.is_done(*item)
                  ]  # yapf: disable
        self.skipped = len(names) - len(wanted)
        progress(self.skipped)
        workers = max(1, min(self.workers, len(wanted)))
        self.predictor.share_processor(workers)
        pool = ThreadPoolExecutor(workers)
        try:
            for failed in pool.map(lambda item: self._predict(*item), wanted):
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
        header = dict(
            note=DISCLAIMER,
            mbos_version=mbos.__version__,
            checkpoint=self.checkpoint,
            checkpoint_sha256=file_sha256(self.checkpoint),
            options=options,
            tasks=[dict(t.as_config(), palette=t.colours) for t in self.tasks],
            columns=columns(self.tasks))
        return json.loads(json.dumps(header))  # as it will be read

    def _predict(self, path: str, name: str) -> list[dict]:
        """Predict a photograph and write everything of it, the record last;
        returns why it failed, if it did."""
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
        labels, files = self.write_labels(name, view, logits)
        row = measure(labels, self.tasks, view, photograph.image)
        overlay = self.write_pictures(name, photograph, labels, row['flags'])
        about = dict(box=view.box, certain=view.certain, several=view.several)
        record = files | dict(name=name, overlay=overlay, measurements=row)
        record |= dict(source=osp.abspath(path), file=file_identity(path))
        record |= dict(field_of_view=about, notes=photograph.notes)
        record['height'], record['width'] = photograph.image.shape[:2]
        save_json(self.out.path(RECORD.format(name=name)), record)
        return []

    def write_labels(self, name: str, view: FieldOfView,
                     logits: Mapping) -> tuple[Maps, dict[str, dict]]:
        """Restore and write label maps, and a 16-bit PNG per class of
        probabilities if wanted; returns maps and paths, by task."""
        maps: Maps = {}
        files: dict[str, dict] = dict(labels={}, probabilities={})
        for task, labels, prob in self.predictor.restore(
                logits, view, self.probabilities):
            names = dict(name=name, task=task.name)
            maps[task.name] = labels
            path = files['labels'][task.name] = LABELS.format(**names)
            save_labels(self.out.path(path), labels, task)
            paths = files['probabilities'][task.name] = []
            for of_class, plane in zip(task.classes,
                                       () if prob is None else prob):
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
            caption = '. '.join(
                filter(None, [osp.basename(name), said, DISCLAIMER]))
            picture = overlay_picture(small, drawn, self.tasks, caption)
            overlay = OVERLAY.format(name=name)
            save_image(self.out.path(overlay), picture, quality=90)
            if thumbnail is not None and max(small.shape) >= 2 * thumbnail:
                image = small  # sharp enough for the thumbnail
        if thumbnail is not None:
            gallery.write_pictures(self.out.folder, name, image, drawn,
                                   thumbnail)
        return overlay
