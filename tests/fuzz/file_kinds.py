"""Photographs, masks, split files and manifests, read by the datasets and by
the preparation.
"""
import gzip
import io
import json
from functools import lru_cache

import numpy as np
from PIL import Image

from mbos.datasets import PartialLabelDataset
from mbos.datasets.checks import read_manifest
from mbos.io.labels import read_labels, save_labels
from prepare_dataset import drive, stare
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


def check_prepared(module, raw, out, stem, **options):
    """Prepare; all of the photograph must be there then, or nothing."""
    summary = module.prepare(raw, out, workers=1, **options)
    extra = list(out.rglob('*.tmp'))
    assert not extra, f'half-written: {extra}'
    there = list(out.rglob(f'{stem}.*'))
    assert len(there) in (0, 3), f'half-prepared: {there}'
    for path in there:
        with Image.open(path) as image:
            image.load()
    if summary.errors:
        assert not there, f'an error, but {there}'
        raise ValueError(summary.errors[0])


def prepare_drive(rng, folder):
    """Raw photographs (TIFF), their masks (GIF), or their fields of view."""
    names = ('images/21_training.tif', '1st_manual/21_manual1.gif',
             'mask/21_training_mask.gif')
    damaged = pick(rng, names)
    for name in names:
        data = BINARY_GIF
        if name == names[0]:
            data = image_bytes('tiff', int(rng.integers(9)))
        path = folder / 'raw/training' / name
        path.parent.mkdir(parents=True)
        path.write_bytes(mutate_image(rng, data) if name == damaged else data)
    return '21_', lambda: check_prepared(
        drive, folder / 'raw', folder / 'out', '21_training', splits=['train'])


def prepare_stare(rng, folder):
    """Packed photographs: the archive is damaged, or what is in it."""
    raw, image = folder / 'raw', image_bytes('ppm')
    vessels = _encoded(Image.fromarray(VESSEL), 'PPM')
    inside = rng.random() < 0.5
    data = gzip.compress(mutate_image(rng, image) if inside else image)
    data = data if inside else mutate_image(rng, data)
    for name, content in (('stare-images/im0001.ppm.gz',
                           data), ('labels-ah/im0001.ah.ppm.gz',
                                   gzip.compress(vessels))):
        (raw / name).parent.mkdir(parents=True)
        (raw / name).write_bytes(content)
    return 'im0001', lambda: check_prepared(stare, raw, folder / 'out',
                                            'im0001')


KINDS = dict({kind: image_kind(kind)
              for kind in FORMATS},
             mask=mask,
             split=split,
             manifest=manifest,
             prepare_drive=prepare_drive,
             prepare_stare=prepare_stare)
