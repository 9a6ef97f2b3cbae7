"""Photographs, masks, split files, manifests, tables and stored sums, read by
the datasets, the preparation and the evaluation.
"""
import gzip
import io
import json
import math
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from mbos.datasets import PartialLabelDataset
from mbos.datasets.checks import read_manifest
from mbos.io.geometry import make_geometry
from mbos.io.labels import read_labels, save_labels
from mbos.metrics import sums as metrics
from mbos.metrics.sums_store import StoredSums, save_sums
from mbos.tasks import build_task
from prepare_dataset import drive, stare
from prepare_dataset.files import read_geometry, write_geometry
from tests.tiny_runs import NORMALIZE, draw_eye
from .damage import (DAMAGE, mutate, mutate_image, mutate_lines, mutate_nested,
                     pick)

PLAIN = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadPlanes'), NORMALIZE,
    dict(type='FormatPlanes')
]
SIZE = 48
FORMATS = dict(
    jpeg=('.jpg', [dict(quality=90), dict(progressive=True),
                   dict(subsampling=2)]),
    png=('.png', [dict(), dict(optimize=True)]),
    tiff=('.tif', [dict(), *(dict(compression=name) for name in (
        'tiff_lzw', 'jpeg', 'tiff_deflate', 'packbits'))]),
    bmp=('.bmp', [dict()]),
    gif=('.gif', [dict()]),
    ppm=('.ppm', [dict()]))  # yapf: disable
"""dict: Suffix and variants of each format."""
MASK = np.arange(SIZE * SIZE, dtype=np.uint8).reshape(SIZE, SIZE) % 5
VESSEL = np.zeros((SIZE, SIZE), np.uint8)
VESSEL[10:40, 20:24] = 255
MANIFEST = dict(
    task='lesion',
    checkpoint='work_dirs/stage1/iter_1.pth',
    checkpoint_sha256='0' * 64,
    config='stage2.py',
    threshold=0.5,
    images=['eye_0', 'eye_1'])
NUMBERS = ('-1', '0', '1e9', '99999999999', 'nan', 'inf', '', 'x', '0.5',
           '1' * 5000)
TRAIN = 'DRIVE-FOVCrop-padding/train'


@lru_cache(maxsize=None)
def image_bytes(kind, option=0, mode='RGB'):
    """A whole image of a format, in one of its variants."""
    image, _ = draw_eye(['vessel'], 0, SIZE)
    options = FORMATS[kind][1]
    return _encoded(
        Image.fromarray(image).convert(mode), kind.upper(),
        **options[option % len(options)])


def _encoded(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


BINARY_GIF = _encoded(Image.fromarray(VESSEL), 'GIF')


def write_dataset(folder, suffix='.png', kind='png', images=2):
    """A small dataset that is whole."""
    (folder / 'images').mkdir()
    for i in range(images):
        (folder / f'images/eye_{i}{suffix}').write_bytes(image_bytes(kind))
        save_labels(folder / f'ann/eye_{i}.png', MASK)


def make_dataset(folder, suffix='.png', **changes):
    """The dataset of such a folder."""
    arguments = dict(
        name='fuzz',
        tasks=['lesion'],
        data_root=str(folder),
        img_dir='images',
        img_suffix=suffix,
        ann_dirs=dict(lesion='ann'),
        pipeline=PLAIN)
    return PartialLabelDataset(**{**arguments, **changes})


def read_all(dataset):
    """Check a dataset, then load what it has, as training does."""
    dataset.check(full=True)
    for sample in dataset:
        image, labels = sample['img'].data, sample['labels'].data
        assert image.shape[0] == 3 and image.shape[1:] == labels.shape[1:]


def image_kind(kind):
    """Cases of one format of photographs."""
    suffix = FORMATS[kind][0]

    def make(rng, folder):
        write_dataset(folder, suffix, kind)
        modes = ('RGB', 'L', 'P') if kind in ('png', 'bmp') else ('RGB', )
        data = image_bytes(kind, int(rng.integers(9)), pick(rng, modes))
        (folder / f'images/eye_1{suffix}').write_bytes(mutate_image(rng, data))
        return 'eye_1', lambda: read_all(make_dataset(folder, suffix))

    return make


def mask(rng, folder):
    write_dataset(folder)
    path = folder / 'ann/eye_1.png'
    path.write_bytes(mutate_image(rng, path.read_bytes()))

    def read():
        read_all(make_dataset(folder))
        labels = read_labels(str(path))
        assert labels.shape == (SIZE, SIZE) and labels.dtype == np.uint8

    return 'eye_1', read


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
    elif rng.random() < 0.05 and DAMAGE['on']:  # deeper than any parser goes
        data = b'[' * 100_000
    else:
        value, _ = mutate_nested(rng, MANIFEST)
        data = json.dumps(value, default=str).encode()
    (folder / 'ann/manifest.json').write_bytes(data)

    def read():
        make_dataset(folder, ann_dirs={}, pseudo_dirs=dict(lesion='ann'))
        assert isinstance(read_manifest(str(folder / 'ann')), dict)

    return 'manifest.json', read


@lru_cache(maxsize=None)
def _sums():
    """Sums of two images."""
    rng = np.random.default_rng(0)
    return [
        dict(
            lesion=metrics.update(
                rng.random((4, 16, 16), np.float32),
                rng.integers(0, 5, (16, 16), np.uint8), build_task('lesion')))
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


def write_drive(raw, **changed):
    """A raw tree of one photograph, of which some files may be changed."""
    files = dict(
        images=image_bytes("tiff"), manual=BINARY_GIF, mask=BINARY_GIF)
    names = dict(
        images='images/21_training.tif',
        manual='1st_manual/21_manual1.gif',
        mask='mask/21_training_mask.gif')
    for key, data in {**files, **changed}.items():
        path = raw / 'training' / names[key]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def check_prepared(module, raw, out, folder, stem, **options):
    """Prepare; all of the photograph must be there then, or nothing."""
    summary = module.prepare(raw, out, workers=1, **options)
    outputs = [out / folder / f'images/{stem}{module.COLLECTION.image_suffix}',
               out / folder / f'ann/{stem}.png',
               out / folder / f'fov/{stem}.png']  # yapf: disable
    extra = list(out.rglob('*.tmp'))
    assert not extra, f'half-written: {extra}'
    there = [path for path in outputs if path.exists()]
    assert len(there) in (0, len(outputs)), f'half-prepared: {there}'
    for path in there:
        with Image.open(path) as image:
            image.load()
    if summary.errors:
        assert not there, f'an error, but {there}'
        raise ValueError(summary.errors[0])


def check_drive(raw, out):
    check_prepared(drive, raw, out, TRAIN, '21_training', splits=['train'])


def prepare_drive(rng, folder):
    """Raw photographs (TIFF), their masks (GIF), or their fields of view."""
    key = pick(rng, ('images', 'manual', 'mask'))
    data = BINARY_GIF
    if key == 'images':
        data = image_bytes('tiff', int(rng.integers(9)))
    raw = folder / 'raw'
    write_drive(raw, **{key: mutate_image(rng, data)})
    return '21_', lambda: check_drive(raw, folder / 'out')


def prepare_stare(rng, folder):
    """Packed photographs: the archive is damaged, or what is in it."""
    raw, out = folder / 'raw', folder / 'out'
    image = image_bytes('ppm')
    vessels = _encoded(Image.fromarray(VESSEL), 'PPM')
    inside = rng.random() < 0.5
    data = gzip.compress(mutate_image(rng, image) if inside else image)
    data = data if inside else mutate_image(rng, data)
    for name, content in (('stare-images/im0001.ppm.gz',
                           data), ('labels-ah/im0001.ah.ppm.gz',
                                   gzip.compress(vessels))):
        (raw / name).parent.mkdir(parents=True)
        (raw / name).write_bytes(content)
    return 'im0001', lambda: check_prepared(stare, raw, out,
                                            'STARE-FOVCrop-padding', 'im0001')


def geometry(rng, folder):
    """The table by which a preparation goes on and predictions go back."""
    raw, out = folder / 'raw', folder / 'out'
    write_drive(raw)
    table = out / TRAIN / 'geometry.csv'
    write_geometry(
        table, [make_geometry('21_training', (SIZE, SIZE), (2, 3, 40, 30))])
    header, row = table.read_text().splitlines()
    if rng.random() < 0.6 and DAMAGE['on']:
        fields = row.split(',')
        for at in rng.integers(len(fields), size=3):
            fields[at] = pick(rng, NUMBERS)
        table.write_text('\n'.join([header, ','.join(fields)]))
    else:
        table.write_bytes(mutate_lines(rng, f'{header}\n{row}'))
    if rng.random() < 0.5:  # labels alone follow the table
        save_labels(out / TRAIN / 'ann/21_training.png',
                    np.ones((40, 40), np.uint8))

    def read():
        for found in read_geometry(table).values():
            assert math.isfinite(found.scale)
        drive.prepare(raw, out, splits=['train'], workers=1)
        check_drive(raw, out)

    return ('geometry.csv', '21_training'), read


KINDS = dict({kind: image_kind(kind)
              for kind in FORMATS},
             mask=mask,
             split=split,
             manifest=manifest,
             sums=sums,
             geometry=geometry,
             prepare_drive=prepare_drive,
             prepare_stare=prepare_stare)
