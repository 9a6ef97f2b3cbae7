"""One photograph: read, crop, pad, write. Runs in the worker processes."""
import multiprocessing
import os
import signal
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path

import cv2
import numpy as np

import mbos.io
from mbos.io.errors import sentence_of
from mbos.io.field_of_view import FieldOfView, find_field_of_view
from mbos.io.files import save_bytes
from mbos.io.geometry import Box, Geometry, make_geometry
from mbos.io.labels import save_labels
from mbos.io.photographs import Layout
from .description import Labels
from .errors import KeptFileError, PrepareError
from .files import write_photograph
from .labels import binary, open_photograph
from .layout import Item

MAY_BE_EMPTY = Labels(may_be_empty=True)
CUT_OFF = 'label pixels outside the crop, cut off'
Size = tuple[int, int]


@dataclass(frozen=True)
class Job:
    """What holds for all photographs of a split.

    Args:
        folder: Prepared folder of the split.
        image_suffix: Such as ``'.jpg'`` or ``'.tif'``.
        crop: ``'fov'`` crops to the field of view and pads to a square,
            ``'pad'`` only pads, ``'none'`` takes the photograph as it comes.
        max_side: Larger images are scaled down to this.
        force: Whether to overwrite what is there.
        with_images: Whether images and field-of-view masks are written, or
            labels only.
        labels: What is known of the label folders.
    """
    folder: Path
    image_suffix: str = '.jpg'
    crop: str = 'fov'
    max_side: int | None = None
    force: bool = False
    with_images: bool = True
    labels: Mapping[str, Labels] = field(default_factory=dict)

    def targets(self, item: Item) -> dict[str, Path]:
        """The files to write, by folder."""
        targets = {
            name: self.folder / name / f'{item.stem}.png'
            for name in item.labels
        }
        if self.with_images:
            targets['fov'] = self.folder / 'fov' / f'{item.stem}.png'
            targets['images'] = (
                self.folder / 'images' / (item.stem + self.image_suffix))
        return targets

    def is_done(self, item: Item, known: Geometry | None) -> bool:
        """Whether everything of a photograph is there and is kept."""
        return bool(known) and not self.force and all(
            path.exists() for path in self.targets(item).values())


@dataclass
class Outcome:
    """What came of one photograph: an error, or nothing to do, or files.

    ``is_kept`` says that what went wrong left an earlier preparation alone.
    ``counts`` are those of the readers, ``pixels`` the number of pixels of
    each value 0 to 255, by label folder.
    """
    stem: str
    geometry: Geometry | None = None
    skipped: bool = False
    error: str = ''
    is_kept: bool = False
    notes: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    pixels: dict[str, np.ndarray] = field(default_factory=dict)


def prepare_item(item: Item, job: Job, known: Geometry | None) -> Outcome:
    """Prepare one photograph; what goes wrong is in the result.

    ``known`` is its row of geometry.csv.
    """
    try:
        return _prepare(item, job, known)
    except mbos.io.RefusedError as error:
        kept = isinstance(error, KeptFileError)
        return Outcome(item.stem, error=str(error), is_kept=kept)
    except OSError as error:  # Such as a full disk.
        return Outcome(
            item.stem,
            error=f'{item.image}: not prepared ({sentence_of(error)})')
    except Exception as error:  # One bad file must not stop the others.
        return Outcome(
            item.stem, error=f'{item.image}: {type(error).__name__}: {error}')


def _prepare(item: Item, job: Job, known: Geometry | None) -> Outcome:
    targets = job.targets(item)
    kept = {} if job.force else {
        name: path
        for name, path in targets.items() if path.exists()
    }
    if known:
        _check_kept(kept, job, known)
    if job.is_done(item, known):
        return Outcome(item.stem, known, skipped=True)
    photograph = open_photograph(item.image)
    layout = photograph.layout
    image = photograph.decode()
    size = image.shape[1::-1]
    outcome = Outcome(item.stem)
    # Labels alone follow the images that are there already.
    reuse = known and (kept or not job.with_images)
    if reuse and (known.width, known.height) == size:
        outcome.geometry = known
    else:
        fov = find_field_of_view(image)
        outcome.geometry = _make_geometry(item.stem, size, fov.box, job)
        if job.crop == 'fov' and not fov.certain:
            outcome.notes.append(_uncertain(item, fov))
    _check_kept(kept, job, outcome.geometry)
    # Everything is read before anything is written: no image without labels.
    labels = _labels(item, layout, job, outcome)
    if 'fov' in targets.keys() - kept.keys():
        mask = _field_of_view_mask(item, image, layout)
        labels['fov'] = outcome.geometry.apply(mask, is_label=True)
    for name in targets.keys() - kept.keys() - {'images'}:
        kind = job.labels.get(name, MAY_BE_EMPTY)
        save_labels(targets[name], labels[name], kind.shown_as)
    if 'images' in targets.keys() - kept.keys():
        _write_image(item, image, targets['images'], outcome.geometry,
                     layout.is_upright)
    return outcome


def _uncertain(item: Item, fov: FieldOfView) -> str:
    """Why a photograph is not cropped."""
    if fov.several:
        return (f'{item.image}: shows {len(fov.several)} fields of view of '
                'like size and is not cropped; cut it into one per eye.')
    return (f'{item.image}: the field of view is uncertain, so that it is not '
            'cropped; look at it.')


def _make_geometry(stem: str, size: Size, box: Box, job: Job) -> Geometry:
    return make_geometry(
        stem,
        size,
        box=box if job.crop == 'fov' else None,
        square=job.crop != 'none',
        max_side=job.max_side)


def _check_kept(kept: dict[str, Path], job: Job, geometry: Geometry) -> None:
    """Make sure that what is kept fits what is asked for."""
    if job.with_images:
        geometry = _make_geometry(geometry.name,
                                  (geometry.width, geometry.height),
                                  geometry.box, job)
    expected = (geometry.prepared_width, geometry.prepared_height)
    for path in kept.values():
        found = _read_size(path)
        if found != expected:
            raise KeptFileError(
                f'{path}: is there already with {found[0]}x{found[1]} pixels, '
                f'while {expected[0]}x{expected[1]} are asked for; add '
                '--force to make it again, or leave --max-side as it was '
                '(0 for full size).')


def _read_size(path: Path) -> Size:
    """Width and height of an image file, without decoding it."""
    try:
        with mbos.io.open_image(path) as image:
            return image.size
    except Exception as error:
        raise PrepareError(f'{path}: cannot be read ({error}); add --force to '
                           'make it again.') from error


def _labels(item: Item, layout: Layout, job: Job,
            outcome: Outcome) -> dict[str, np.ndarray]:
    """Read and prepare all labels, and count what is worth reporting."""
    geometry = outcome.geometry
    x, y, width, height = geometry.box
    prepared = {}
    for name, reader in item.labels.items():
        labels, counts = reader(size=layout)
        known = job.labels.get(name, MAY_BE_EMPTY)
        if not (labels.any() or known.may_be_empty):
            raise PrepareError(
                f'{item.image}: its mask for {name}/ is empty, while every '
                'eye has what this mask should show; look at the raw mask.')
        inside = np.count_nonzero(labels[y:y + height, x:x + width])
        lost = int(np.count_nonzero(labels) - inside)
        for key, value in (*counts.items(), (CUT_OFF, lost)):
            outcome.counts[f'{name}: {key}'] = value
        prepared[name] = geometry.apply(labels, is_label=True)
        outcome.pixels[name] = np.bincount(
            prepared[name].ravel(), minlength=256)
    return prepared


def _field_of_view_mask(item: Item, image: np.ndarray,
                        layout: Layout) -> np.ndarray:
    """The collection's own mask, or else the one that is found.

    The crop does not depend on it, which is the published one.
    """
    if item.fov is None:
        return find_field_of_view(image).mask
    return binary(item.fov, layout)[0]


def _write_image(item: Item, image: np.ndarray, path: Path, geometry: Geometry,
                 is_upright: bool) -> None:
    if is_upright and _unchanged(item, path, geometry):
        # The very same pixels: compressing them again only loses.
        save_bytes(path, item.image.read_bytes())
    else:
        write_photograph(path, geometry.apply(image, is_label=False))


def _unchanged(item: Item, path: Path, geometry: Geometry) -> bool:
    prepared = (geometry.prepared_width, geometry.prepared_height)
    return (prepared == (geometry.width, geometry.height)
            and item.image.suffix.lower() == path.suffix)


def start_worker() -> None:
    """Keep a worker to one thread, leave Ctrl-C to the parent, end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that is killed says nothing; its workers would wait forever."""
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)
