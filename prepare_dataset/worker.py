"""One photograph: read, crop, pad, write."""
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mbos.io import RefusedError
from mbos.io.field_of_view import find_field_of_view
from mbos.io.files import save_bytes, save_image
from mbos.io.geometry import Geometry, make_geometry
from mbos.io.labels import save_labels
from mbos.io.photographs import Layout
from mbos.io.untrusted import sentence_of
from .description import Collection, Labels
from .labels import binary, open_photograph
from .layout import Item

MAY_BE_EMPTY = Labels(may_be_empty=True)


@dataclass(frozen=True)
class Job:
    """What holds for all photographs of a split."""
    collection: Collection
    split: str
    folder: Path  # of the prepared split
    max_side: int | None = None  # larger images are scaled down
    force: bool = False  # overwrite what is there

    def targets(self, item: Item) -> dict[str, Path]:
        """The files to write, by folder."""
        names = dict.fromkeys(item.labels, '.png')
        if self.collection.with_images:
            names |= dict(fov='.png', images=self.collection.image_suffix)
        return {
            folder: self.folder / folder / (item.stem + suffix)
            for folder, suffix in names.items()
        }

    def is_there(self, item: Item) -> bool:
        """Whether all files of a photograph are there."""
        return all(path.exists() for path in self.targets(item).values())

    @property
    def crop(self) -> str:
        """See ``description.Split``."""
        return self.collection.splits[self.split].crop

    def geometry(self, stem: str, size: tuple[int, int], box) -> Geometry:
        """What becomes of a photograph whose field of view has a box."""
        box = box if self.crop == 'fov' else None
        return make_geometry(stem, size, box, self.crop != 'none',
                             self.max_side)

    def labels(self, folder: str) -> Labels:
        """What is known of the masks of a folder."""
        return self.collection.labels.get(folder, MAY_BE_EMPTY)


@dataclass
class Outcome:
    """What came of one photograph: an error, or nothing to do, or files;
    ``counts`` are those of the readers.
    """
    stem: str
    geometry: Geometry | None = None
    skipped: bool = False
    error: str = ''
    notes: list[str] = field(default_factory=list)
    counts: Counter = field(default_factory=Counter)


def prepare_item(item: Item, job: Job, known: Geometry | None) -> Outcome:
    """Prepare one photograph, whose row of geometry.csv is ``known``; what
    goes wrong is in the result.
    """
    try:
        return _prepare(item, job, known)
    except RefusedError as error:
        return Outcome(item.stem, error=str(error))
    except Exception as error:  # One bad file must not stop the others.
        system = isinstance(error, OSError)
        reason = sentence_of(error) if system else repr(error)
        return Outcome(
            item.stem, error=f'{item.image}: not prepared ({reason})')


def _prepare(item: Item, job: Job, known: Geometry | None) -> Outcome:
    targets = job.targets(item)
    kept = [p for p in targets.values() if p.exists() and not job.force]
    if known and kept and job.collection.with_images:
        size = (known.width, known.height)
        asked = job.geometry(item.stem, size, known.box).prepared_width
        if asked != known.prepared_width:
            raise RefusedError(
                f'{job.folder}: {item.stem} is there already, scaled to '
                f'{known.prepared_width} pixels while {asked} are asked for; '
                'add --force to make it again, or leave --max-side as it was '
                '(0 for full size).')
    if known and len(kept) == len(targets):
        return Outcome(item.stem, known, skipped=True)
    photograph = open_photograph(item.image)
    image = photograph.read().image
    size = image.shape[1::-1]
    outcome = Outcome(item.stem)
    # Labels alone follow the images that are there already.
    reuse = known and (kept or not job.collection.with_images)
    if reuse and (known.width, known.height) == size:
        geometry = known
    else:
        fov = find_field_of_view(image)
        geometry = job.geometry(item.stem, size, fov.box)
        if job.crop == 'fov' and not fov.certain:
            why = 'the field of view is uncertain; look at it'
            if fov.several:
                why = (f'it shows {len(fov.several)} fields of view of like '
                       'size; cut it into one per eye')
            outcome.notes.append(f'{item.image}: is not cropped, since {why}.')
    outcome.geometry = geometry
    # Everything is read before anything is written: no image without labels.
    labels = _labels(item, photograph.layout, job, outcome)
    if 'fov' in targets and targets['fov'] not in kept:
        # The crop, which is the published one, does not depend on it.
        mask = find_field_of_view(image).mask if item.fov is None else binary(
            item.fov, photograph.layout)[0]
        labels['fov'] = geometry.apply(mask, is_label=True)
    for name, plane in labels.items():
        if targets[name] not in kept:
            save_labels(targets[name], plane, job.labels(name).shown_as)
    path = targets.get('images')
    if path is None or path in kept:
        return outcome
    prepared = (geometry.prepared_width, geometry.prepared_height)
    if (prepared == size and photograph.layout.orientation == 1
            and item.image.suffix.lower() == path.suffix):
        # The very same pixels: compressing them again only loses.
        save_bytes(path, item.image.read_bytes())
    else:
        options = dict(compression='tiff_lzw') if path.suffix == '.tif' else {}
        save_image(path, geometry.apply(image, is_label=False), **options)
    return outcome


def _labels(item: Item, layout: Layout, job: Job,
            outcome: Outcome) -> dict[str, np.ndarray]:
    """Read and prepare all labels, and count what is worth reporting."""
    prepared = {}
    for name, reader in item.labels.items():
        labels, counts = reader(layout=layout)
        if not (labels.any() or job.labels(name).may_be_empty):
            raise RefusedError(
                f'{item.image}: its mask for {name}/ is empty, while every '
                'eye has what this mask should show; look at the raw mask.')
        outcome.counts.update({f'{name}: {k}': n for k, n in counts.items()})
        prepared[name] = outcome.geometry.apply(labels, is_label=True)
    return prepared
