"""What is written of one photograph: label maps, measurements, pictures."""
import os
import os.path as osp
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from mbos.io.disclaimer import DISCLAIMER
from mbos.io.photographs import Photograph
from mbos.painter import DrawnTask, shrink
from mbos.pictures import gallery
from mbos.pictures.overlay_picture import overlay_picture
from .folder_files import OutputFolder, file_identity
from .geometry import PreparedPhotograph
from .measurements import Row, measure
from .photograph_list import Source
from .prediction import PhotographPredictor

Maps = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class WriteOptions:
    """What is written besides label maps and measurements.

    Attributes:
        probabilities (bool): Whether to write probabilities.
        overlay_size (int, optional): Longer side of the overlays in pixels; 0
            is the photograph's own, None writes none.
        thumbnail (int, optional): Longer side of the gallery's pictures; None
            leaves them to whoever writes the gallery.
    """

    probabilities: bool = False
    overlay_size: int | None = 1600
    thumbnail: int | None = gallery.THUMBNAIL

    def __post_init__(self):
        if self.overlay_size is not None and self.overlay_size < 0:
            raise ValueError(f'overlay_size is {self.overlay_size}, expected '
                             'pixels.')


class PhotographWriter:
    """Puts predictions back, measures, draws and writes them.

    Args:
        predictor (PhotographPredictor): What made the logits.
        out (OutputFolder): Where to write.
        options (WriteOptions): What to write.
        key (str): What the records of the folder share.
    """

    def __init__(self, predictor: PhotographPredictor, out: OutputFolder,
                 options: WriteOptions, key: str):
        self.predictor = predictor
        self.tasks = list(predictor.tasks.values())
        self.out = out
        self.options = options
        self.key = key

    def write(self, source: Source, photograph: Photograph,
              prepared: PreparedPhotograph, logits: Mapping) -> None:
        """Write everything of a photograph, the record last."""
        name, fov = source.name, prepared.field_of_view
        height, width = photograph.image.shape[:2]
        self.out.forget(name)
        labels, probabilities = self.write_labels(name, prepared, logits)
        row = self.measure(labels, prepared, photograph)
        overlay = self.write_pictures(name, photograph, labels, row['flags'])
        self.out.write_record(
            dict(
                name=name,
                source=os.path.abspath(source.path),
                file=file_identity(source.path),
                key=self.key,
                width=width,
                height=height,
                field_of_view=dict(
                    box=list(fov.box),
                    certain=fov.certain,
                    several=[list(box) for box in fov.several]),
                notes=list(prepared.notes),
                measurements=row,
                labels={t: self.out.label_path(name, t)
                        for t in labels},
                probabilities=probabilities,
                overlay=overlay))

    def write_labels(self, name: str, prepared: PreparedPhotograph,
                     logits: Mapping) -> tuple[Maps, dict[str, list[str]]]:
        """Restore and write label maps, and probabilities if wanted.

        Returns:
            tuple[dict[str, ndarray], dict[str, list[str]]]: Label maps by
            task, and the files of probabilities by task.
        """
        labels, paths = {}, {}
        for task in self.tasks:
            labels[task.name], prob = self.predictor.restore(
                task.name, logits[task.name], prepared,
                self.options.probabilities)
            self.out.write_labels(name, task, labels[task.name])
            if prob is not None:
                paths[task.name] = self.out.write_probabilities(
                    name, task, prob)
        return labels, paths

    def measure(self, labels: Maps, prepared: PreparedPhotograph,
                photograph: Photograph) -> Row:
        """Measure label maps."""
        fov = prepared.field_of_view
        return measure(labels, self.tasks, fov.mask, photograph.image,
                       fov.certain, bool(fov.several))

    def write_pictures(self, name: str, photograph: Photograph, labels: Maps,
                       flags: str) -> str | None:
        """Draw and write the overlay and the gallery's pictures.

        Returns:
            str | None: The overlay's path below the folder, if there is one.
        """
        overlay, image = None, photograph.image
        size, thumbnail = self.options.overlay_size, self.options.thumbnail
        drawn = {t.name: DrawnTask(labels[t.name], t) for t in self.tasks}
        if size is not None:
            small = shrink(image, size) if size else image
            picture = overlay_picture(small, drawn, self.tasks, 0,
                                      _caption(name, flags))
            overlay = self.out.write_overlay(name, picture)
            if thumbnail is not None and max(small.shape) >= 2 * thumbnail:
                image = small  # sharp enough for the thumbnail
        if thumbnail is not None:
            gallery.write_pictures(self.out.folder, name,
                                   Image.fromarray(image), drawn, self.tasks,
                                   thumbnail, photograph.image.shape[1::-1])
        return overlay


def _caption(name: str, flags: str) -> str:
    """What stands below an overlay."""
    parts = [osp.basename(name)]
    if flags:
        parts.append(', '.join(f.replace('_', ' ') for f in flags.split()))
    return '. '.join(parts + [DISCLAIMER])
