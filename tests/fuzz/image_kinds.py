"""Images and masks, read by the datasets and by the preparation."""
import gzip
import io
import tempfile
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from mbos.datasets import PartialLabelDataset
from mbos.io.labels import read_labels, save_labels
from prepare_dataset import drive, stare
from tests.tiny_runs import NORMALIZE, draw_eye
from .mutations import mutate_image

PLAIN = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadPlanes'), NORMALIZE,
    dict(type='FormatPlanes')
]
SIZE = 48
SUFFIXES = dict(
    jpeg='.jpg', png='.png', tiff='.tif', bmp='.bmp', gif='.gif', ppm='.ppm')
OPTIONS = dict(
    jpeg=[dict(quality=90), dict(progressive=True), dict(subsampling=2)],
    png=[dict(), dict(optimize=True)],
    tiff=[dict(), dict(compression='tiff_lzw'), dict(compression='jpeg'),
          dict(compression='tiff_deflate'), dict(compression='packbits')],
    bmp=[dict()],
    gif=[dict()],
    ppm=[dict()])  # yapf: disable


@lru_cache(maxsize=None)
def image_bytes(kind, option=0, mode='RGB'):
    """A whole image of a format, in one of its variants."""
    image, _ = draw_eye(['vessel'], 0, SIZE)
    stream = io.BytesIO()
    options = OPTIONS[kind][option % len(OPTIONS[kind])]
    Image.fromarray(image).convert(mode).save(stream, kind.upper(), **options)
    return stream.getvalue()


@lru_cache(maxsize=None)
def mask_bytes():
    """A whole mask of the lesion task."""
    return _saved(np.arange(SIZE * SIZE).reshape(SIZE, SIZE) % 5)


def _saved(labels):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'mask.png')
        save_labels(str(path), labels.astype(np.uint8))
        return path.read_bytes()


def write_dataset(folder, suffix='.png', kind='png', images=2):
    """A small dataset that is whole."""
    for name in ('images', 'ann'):
        (folder / name).mkdir()
    for i in range(images):
        (folder / f'images/eye_{i}{suffix}').write_bytes(image_bytes(kind))
        (folder / f'ann/eye_{i}.png').write_bytes(mask_bytes())


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
    for index in range(len(dataset)):
        sample = dataset[index]
        image, labels = sample['img'].data, sample['labels'].data
        assert image.shape[0] == 3 and image.shape[1:] == labels.shape[1:]


def image_kind(kind):
    """Cases of one format of photographs."""

    def make(rng, folder):
        suffix = SUFFIXES[kind]
        write_dataset(folder, suffix, kind)
        name = f'images/eye_1{suffix}'
        modes = ('RGB', 'L', 'P') if kind in ('png', 'bmp') else ('RGB', )
        data = image_bytes(kind, int(rng.integers(9)), str(rng.choice(modes)))
        (folder / name).write_bytes(mutate_image(rng, data))
        return 'eye_1', lambda: read_all(make_dataset(folder, suffix))

    return make


def mask(rng, folder):
    """Masks."""
    write_dataset(folder)
    path = folder / 'ann/eye_1.png'
    path.write_bytes(mutate_image(rng, mask_bytes()))

    def read():
        read_all(make_dataset(folder))
        labels = read_labels(str(path))
        assert labels.shape == (SIZE, SIZE) and labels.dtype == np.uint8

    return 'eye_1', read


def _prepared(summary, folder, outputs):
    """What a preparation left: all of a photograph, or nothing of it."""
    found = {path for path in folder.rglob('*') if path.is_file()}
    extra = {p for p in found if p.suffix == '.tmp'}
    assert not extra, f'half-written: {extra}'
    there = [path for path in outputs if path.exists()]
    assert len(there) in (0, len(outputs)), f'half-prepared: {there}'
    for path in there:
        with Image.open(path) as image:
            image.load()
    if summary.errors:
        assert not there, f'an error, but {there}'
        raise ValueError(summary.errors[0])


def write_drive(raw, **changed):
    """A raw tree of one photograph, of which some files may be changed."""
    files = dict(
        images=image_bytes('tiff'), manual=binary_gif(), mask=binary_gif())
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
    names = [f'images/{stem}{module.COLLECTION.image_suffix}',
             f'ann/{stem}.png', f'fov/{stem}.png']  # yapf: disable
    _prepared(summary, out, [out / folder / name for name in names])


def prepare_drive(rng, folder):
    """Raw photographs (TIFF), their masks (GIF), or their fields of view."""
    key = ('images', 'manual', 'mask')[int(rng.integers(3))]
    data = binary_gif()
    if key == 'images':
        data = image_bytes('tiff', int(rng.integers(9)))
    raw = folder / 'raw'
    write_drive(raw, **{key: mutate_image(rng, data)})
    return '21_', lambda: check_prepared(
        drive,
        raw,
        folder / 'out',
        'DRIVE-FOVCrop-padding/train',
        '21_training',
        splits=['train'])


@lru_cache(maxsize=None)
def binary_gif():
    plane = np.zeros((SIZE, SIZE), np.uint8)
    plane[10:40, 20:24] = 255
    stream = io.BytesIO()
    Image.fromarray(plane).save(stream, 'GIF')
    return stream.getvalue()


def prepare_stare(rng, folder):
    """Packed photographs: the archive is damaged, or what is in it."""
    raw, out = folder / 'raw', folder / 'out'
    image = image_bytes('ppm')
    vessels = Image.open(io.BytesIO(binary_gif())).convert('L')
    stream = io.BytesIO()
    vessels.save(stream, 'PPM')
    inside = rng.random() < 0.5
    data = gzip.compress(mutate_image(rng, image) if inside else image)
    data = data if inside else mutate_image(rng, data)
    for name, content in (('stare-images/im0001.ppm.gz', data),
                          ('labels-ah/im0001.ah.ppm.gz',
                           gzip.compress(stream.getvalue()))):
        (raw / name).parent.mkdir(parents=True)
        (raw / name).write_bytes(content)
    return 'im0001', lambda: check_prepared(stare, raw, out,
                                            'STARE-FOVCrop-padding', 'im0001')


KINDS = dict({kind: image_kind(kind)
              for kind in SUFFIXES},
             mask=mask,
             prepare_drive=prepare_drive,
             prepare_stare=prepare_stare)
