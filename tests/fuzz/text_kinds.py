"""Split files, manifests and tables of geometry."""
import json
import math
from functools import lru_cache
from pathlib import Path

import numpy as np

from mbos.datasets.checks import read_manifest
from mbos.io.geometry import make_geometry
from mbos.io.labels import save_labels
from mbos.metrics import sums as metrics
from mbos.metrics.sums_store import StoredSums, save_sums
from mbos.tasks import build_task
from prepare_dataset import drive
from prepare_dataset.files import read_geometry, write_geometry
from .image_kinds import (check_prepared, make_dataset, write_dataset,
                          write_drive)
from .mutations import DAMAGE, mutate, mutate_lines, mutate_value

MANIFEST = dict(
    task='lesion',
    checkpoint='work_dirs/stage1/iter_1.pth',
    checkpoint_sha256='0' * 64,
    config='stage2.py',
    threshold=0.5,
    images=['eye_0', 'eye_1'])


def split(rng, folder):
    """Lists of the images to use."""
    write_dataset(folder, images=4)
    lines = [f'eye_{i}' for i in rng.permutation(4)[:3]]
    (folder / 'split.txt').write_bytes(mutate_lines(rng, '\n'.join(lines)))

    def read():
        dataset = make_dataset(folder, split='split.txt')
        stems = [dataset.stem(i) for i in range(len(dataset))]
        assert stems and set(stems) <= {f'eye_{i}' for i in range(4)}
        assert len(set(stems)) == len(stems)

    return 'split.txt', read


def manifest(rng, folder):
    """Who made the pseudo labels."""
    write_dataset(folder)
    if rng.random() < 0.3:
        data = mutate(rng, json.dumps(MANIFEST, indent=2).encode())
    else:
        value = mutate_value(rng, MANIFEST)
        if rng.random() < 0.05 and DAMAGE['on']:  # deeper than any parser goes
            data = b'[' * 100_000
        else:
            data = json.dumps(value).encode()
    (folder / 'ann/manifest.json').write_bytes(data)

    def read():
        make_dataset(folder, ann_dirs={}, pseudo_dirs=dict(lesion='ann'))
        assert isinstance(read_manifest(str(folder / 'ann')), dict)

    return 'manifest.json', read


NUMBERS = ('-1', '0', '1e9', '99999999999', 'nan', 'inf', '', 'x', '0.5',
           '1' * 5000)


def geometry(rng, folder):
    """The table by which a preparation goes on and predictions go back."""
    raw, out = folder / 'raw', folder / 'out'
    write_drive(raw)
    base = out / 'DRIVE-FOVCrop-padding/train'
    table = base / 'geometry.csv'
    whole = make_geometry('21_training', (48, 48), (2, 3, 40, 30))
    write_geometry(table, [whole])
    lines = table.read_text().splitlines()
    if rng.random() < 0.6 and DAMAGE['on']:
        fields = lines[1].split(',')
        for _ in range(int(rng.integers(1, 4))):
            at = int(rng.integers(len(fields)))
            fields[at] = NUMBERS[int(rng.integers(len(NUMBERS)))]
        table.write_text('\n'.join([lines[0], ','.join(fields)]))
    else:
        table.write_bytes(mutate_lines(rng, '\n'.join(lines)))
    partly = rng.random() < 0.5
    if partly:  # labels alone follow the table
        save_labels(
            str(base / 'ann/21_training.png'), np.ones((40, 40), np.uint8))

    def read():
        for row in read_geometry(table).values():
            assert math.isfinite(row.scale)
        if partly:
            summary = drive.prepare(raw, out, splits=['train'], workers=1)
            if summary.errors:
                raise ValueError(summary.errors[0])
        check_prepared(
            drive,
            raw,
            out,
            'DRIVE-FOVCrop-padding/train',
            '21_training',
            splits=['train'])

    return ('geometry.csv', '21_training'), read


@lru_cache(maxsize=None)
def _sums():
    """Sums of two images."""
    task = build_task('lesion')
    rng = np.random.default_rng(0)
    return [
        dict(
            lesion=metrics.update(
                rng.random((4, 16, 16), np.float32),
                rng.integers(0, 5, (16, 16), np.uint8), task))
        for _ in range(2)
    ]


def sums(rng, folder):
    """What an evaluation that ended early leaves for the next."""
    paths = [str(folder / f'{i}.npz') for i in range(2)]
    for path, value in zip(paths, _sums()):
        save_sums(path, value)
        Path(path).write_bytes(mutate(rng, Path(path).read_bytes()))

    def read():
        for found, whole in zip(StoredSums(paths, 'lesion'), _sums()):
            np.testing.assert_array_equal(found['counts'],
                                          whole['lesion']['counts'])

    return '.npz', read


KINDS = dict(sums=sums, split=split, manifest=manifest, geometry=geometry)
