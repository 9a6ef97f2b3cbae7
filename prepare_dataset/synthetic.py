"""Draw synthetic collections in the raw layouts of five public ones.

``python -m prepare_dataset.synthetic OUT`` writes RETA and DRIVE (vessels),
DDR (lesions), REFUGE (disc and cup) and IDRiD (lesions and disc) into
``OUT/raw``, each with its own labels only, and what they leave out into
``OUT/hidden/<collection>/<split>/{vessel,lesion,odoc}/<stem>.png``: label
values of the annotation PNGs, in the geometry of the raw photographs.

The eyes of RETA are those of IDRiD's training set, as in reality. The same
arguments always draw the same pixels.
"""
import argparse
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from .synthetic_camera import Camera, photograph
from .synthetic_eye import draw_eye
from .synthetic_layouts import (Masks, write_ddr, write_drive, write_idrid,
                                write_idrid_and_reta, write_refuge)

COLLECTIONS = ('RETA', 'DDR', 'REFUGE', 'DRIVE', 'IDRiD')
SMALLEST_SIZE = 96

CAMERAS = dict(
    IDRiD=[Camera(1.506, 0.605, (184, 92, 30), black=3)],
    # DDR comes from many hospitals, in 27 image sizes.
    DDR=[
        Camera(1.1, 0.475, (172, 84, 44), 1.05, 0.11),
        Camera(1.333, 0.48, (160, 84, 36), 1.0, 0.11),
        Camera(1.5, 0.52, (178, 96, 52), 0.95, 0.11),
        Camera(1.25, 0.47, (186, 88, 34), 1.1, 0.11, vignette=0.36),
    ],
    # REFUGE's training photographs come from another camera than the rest.
    REFUGE_train=[Camera(1.033, 0.492, (172, 88, 52), blur=0.0035)],
    REFUGE=[Camera(1.0, 0.475, (186, 98, 56), 1.0, 0.06, vignette=0.24)],
    DRIVE=[
        Camera(0.967, 0.462, (200, 106, 62), 1.05, 0.08, noise=3.5, black=5)
    ])


@dataclass(frozen=True)
class Job:
    """A photograph to draw and the files to write of it.

    The same ``key`` is always the same eye; ``write`` gets the photograph
    (H, W, 3) and its masks.
    """

    key: str
    camera: Camera
    write: Callable[[np.ndarray, Masks], None]
    diseased: bool = False
    glaucoma: bool = False

    def run(self, size: int, seed: int) -> None:
        """Draw and write, depending on nothing but the arguments."""
        rng = np.random.default_rng([seed, zlib.crc32(self.key.encode())])
        frame = self.camera.frame(size)
        eye = draw_eye(frame, rng, self.diseased, self.glaucoma)
        self.write(photograph(eye, self.camera, rng), eye.masks())


def _jobs(out: Path, counts: dict[str, int]) -> Iterator[Job]:
    """The photographs of all collections."""
    camera, = CAMERAS['IDRiD']
    for n in range(1, counts['train'] + 1):
        write = partial(write_idrid_and_reta, out, n, camera)
        yield Job(f'IDRiD {n}', camera, write, diseased=True)
    for n in range(55, 55 + counts['test']):
        write = partial(write_idrid, out, 'test', n)
        yield Job(f'IDRiD {n}', camera, write, diseased=True)
    for split, first in dict(train=1774, val=4500, test=5800).items():
        for n in range(counts[split]):
            stem = f'007-{first + 7 * n:04d}-{100 * (1 + n % 3)}'
            camera = CAMERAS['DDR'][n % len(CAMERAS['DDR'])]
            write = partial(write_ddr, out, split, stem)
            yield Job(f'DDR {stem}', camera, write, diseased=True)
    for split in ('train', 'val', 'test'):
        camera, = CAMERAS['REFUGE_train' if split == 'train' else 'REFUGE']
        for n in range(1, counts[split] + 1):
            glaucoma = n % 3 == 0
            # training photographs of each group are numbered by themselves
            number = n
            if split == 'train':
                number = n // 3 if glaucoma else n - n // 3
            write = partial(write_refuge, out, split, number, glaucoma)
            yield Job(f'REFUGE {split} {n}', camera, write, glaucoma=glaucoma)
    # DRIVE's photographs are tests here, a few training ones complete it.
    training = min(20, max(1, counts['train'] // 8))
    numbers = [('test', n) for n in range(1, counts['test'] + 1)]
    numbers += [('train', n) for n in range(21, 21 + training)]
    for split, n in numbers:
        write = partial(write_drive, out, split, n)
        yield Job(f'DRIVE {n}', CAMERAS['DRIVE'][0], write)


def _check(counts: dict[str, int], size: int) -> None:
    # the collections have no more official names
    for split, limit in dict(train=54, val=400, test=20).items():
        if not 1 <= counts[split] <= limit:
            raise ValueError(f'{counts[split]} {split} images asked for, '
                             f'expected 1 to {limit}.')
    if size < SMALLEST_SIZE:
        raise ValueError(f'size is {size}, expected at least {SMALLEST_SIZE}: '
                         'lesions vanish in smaller photographs.')


def generate(out: str | Path,
             images: int = 24,
             size: int = 352,
             seed: int = 0,
             val_images: int = 4,
             test_images: int = 8,
             workers: int = 2) -> dict[str, Path]:
    """Draw all collections.

    The folder gets ``raw`` and ``hidden``. DRIVE has an eighth of the training
    images. ``size`` is roughly the height of the photographs. Threads do not
    change the pixels. Returns the raw folder of each collection, and
    ``hidden``.

    Raises:
        ValueError: If an argument is out of range.
        FileExistsError: If collections are there.
    """
    out = Path(out)
    counts = dict(train=images, val=val_images, test=test_images)
    _check(counts, size)
    folders = {name: out / 'raw' / name for name in COLLECTIONS}
    folders['hidden'] = out / 'hidden'
    for folder in folders.values():
        if folder.exists():
            raise FileExistsError(f'{folder} exists: give another folder.')
    jobs = list(_jobs(out, counts))
    with ThreadPoolExecutor(max(1, workers)) as pool:
        done = pool.map(lambda job: job.run(size, seed), jobs)
        for _ in tqdm(done, 'drawing photographs', len(jobs), disable=None):
            pass
    return folders


def main(args: list[str] = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog='python -m prepare_dataset.synthetic',
        description='Draw synthetic fundus photographs with full ground truth '
        'in the raw layouts of RETA, DDR, REFUGE, DRIVE and IDRiD.')
    parser.add_argument('out', type=Path, help='folder to write into')
    options = dict(
        images=(24, 'training images of each collection'),
        val_images=(4, 'validation images of DDR and REFUGE'),
        test_images=(8, 'test images of each collection'),
        size=(352, 'height of the photographs, roughly'),
        seed=(0, 'seed of everything that is random'),
        workers=(2, 'threads'))
    for name, (default, text) in options.items():
        parser.add_argument(
            f'--{name.replace("_", "-")}',
            type=int,
            default=default,
            help=f'{text} (default: {default})')
    folders = generate(**vars(parser.parse_args(args)))
    for name, folder in folders.items():
        print(f'{name}: {folder}')


if __name__ == '__main__':
    main()
