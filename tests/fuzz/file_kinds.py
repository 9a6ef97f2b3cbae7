"""What datasets and the preparation read: photographs, masks, lists."""
import gzip
import io
import json

import numpy as np
from PIL import Image

from mbos.datasets import PartialLabelDataset
from mbos.datasets.checks import check_pixels
from mbos.io.labels import save_labels
from prepare_dataset import drive, stare
from prepare_dataset.driver import run
from tests.tiny_runs import FORMAT, LOAD, draw_eye
from .damage import (DAMAGE, mutate, mutate_image, mutate_lines, mutate_nested,
                     pick)

SIZE = 48
FORMATS = dict(
    jpeg=[dict(quality=90), dict(progressive=True), dict(subsampling=2)],
    png=[dict(), dict(optimize=True)],
    tiff=[dict(), *(dict(compression=name) for name in (
        'tiff_lzw', 'jpeg', 'tiff_deflate', 'packbits'))],
    bmp=[dict()], gif=[dict()], ppm=[dict()])  # yapf: disable
EYE = Image.fromarray(draw_eye(['vessel'], 0, SIZE)[0])
MASK = np.arange(SIZE * SIZE, dtype=np.uint8).reshape(SIZE, SIZE) % 5
VESSELS = Image.fromarray(np.uint8(MASK == 2) * 255)
MANIFEST = dict(
    task='lesion', checkpoint='work_dirs/stage1/iter_1.pth',
    checkpoint_sha256='0' * 64, config='stage2.py', threshold=0.5,
    images=['eye_0', 'eye_1'])  # yapf: disable


def encoded(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind.upper(), **options)
    return stream.getvalue()


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def write_dataset(folder, suffix='.png', kind='png', images=2):
    """A small dataset that is whole."""
    for i in range(images):
        write(folder / f'images/eye_{i}{suffix}', encoded(EYE, kind))
        save_labels(folder / f'ann/eye_{i}.png', MASK)


def make_dataset(folder, suffix='.png', **changes):
    settings = dict(ann_dirs=dict(lesion='ann'), img_suffix=suffix) | changes
    return PartialLabelDataset('fuzz', ['lesion'], 'images', LOAD + FORMAT,
                               str(folder), **settings)


def read_all(*place, **changes):
    """Check a dataset, then load what it has, as training does."""
    dataset = make_dataset(*place, **changes)
    check_pixels([dataset])
    for sample in dataset:
        image, labels = sample['img'].data, sample['labels'].data
        assert image.shape[0] == 3 and image.shape[1:] == labels.shape[1:]


def image_kind(kind):
    suffix = f'.{kind}'

    def make(rng, folder):
        write_dataset(folder, suffix, kind)
        modes = ('RGB', 'L', 'P') if kind in ('png', 'bmp') else ('RGB', )
        eye = EYE.convert(pick(rng, modes))
        data = mutate_image(rng, encoded(eye, kind, **pick(rng,
                                                           FORMATS[kind])))
        write(folder / f'images/eye_1{suffix}', data)
        return ['eye_1'], lambda: read_all(folder, suffix)

    return make


def mask(rng, folder):
    write_dataset(folder)
    path = folder / 'ann/eye_1.png'
    write(path, mutate_image(rng, path.read_bytes()))
    return ['eye_1'], lambda: read_all(folder)


def split(rng, folder):
    write_dataset(folder, images=4)
    lines = [f'eye_{i}' for i in rng.permutation(4)[:3]]
    write(folder / 'split.txt', mutate_lines(rng, '\n'.join(lines)))

    def read():
        dataset = make_dataset(folder, split='split.txt')
        stems = dataset.stems
        assert 0 < len(stems) == len({*stems} & {f'eye_{i}' for i in range(4)})

    return ['split.txt'], read


def manifest(rng, folder):
    write_dataset(folder)
    value, choice = MANIFEST, rng.random()
    if choice > 0.3:
        value, _ = mutate_nested(rng, MANIFEST)
    data = json.dumps(value, default=str).encode()
    if choice <= 0.3:
        data = mutate(rng, data)
    elif choice < 0.34 and DAMAGE['on']:  # deeper than any parser goes
        data = b'[' * 100_000
    write(folder / 'ann/manifest.json', data)
    folders = dict(ann_dirs={}, pseudo_dirs=dict(lesion='ann'))
    return ['manifest.json'], lambda: read_all(folder, **folders)


def prepared(module, stem, files, folder, **options):
    """Reader of raw files: all of the photograph is there then, or nothing."""
    for name, data in files.items():
        write(folder / 'raw' / name, data)

    def read():
        out, raw = folder / 'out', folder / 'raw'
        summary = run(module.COLLECTION, raw, out, workers=1, **options)
        there = list(out.rglob(f'{stem}.*'))
        assert len(there) == (0 if summary.errors else 3), there
        for path in there:
            Image.open(path).load()
        if summary.errors:
            raise ValueError(summary.errors[0])

    return [stem.partition('_')[0]], read


def prepare_drive(rng, folder):
    """Raw photographs (TIFF), their masks (GIF), or their fields of view."""
    eye = encoded(EYE, 'tiff', **pick(rng, FORMATS['tiff']))
    vessels = encoded(VESSELS, 'gif')
    files = {
        'training/images/21_training.tif': eye,
        'training/1st_manual/21_manual1.gif': vessels,
        'training/mask/21_training_mask.gif': vessels
    }
    damaged = pick(rng, list(files))
    files[damaged] = mutate_image(rng, files[damaged])
    return prepared(drive, '21_training', files, folder, splits=['train'])


def prepare_stare(rng, folder):
    """Packed photographs: the archive is damaged, or what is in it."""
    eye, inside = encoded(EYE, 'ppm'), rng.random() < 0.5
    packed = gzip.compress(mutate_image(rng, eye) if inside else eye)
    files = {
        'stare-images/im0001.ppm.gz':
        packed if inside else mutate(rng, packed),
        'labels-ah/im0001.ah.ppm.gz': gzip.compress(encoded(VESSELS, 'ppm'))
    }
    return prepared(stare, 'im0001', files, folder)


OTHERS = mask, split, manifest, prepare_drive, prepare_stare
KINDS = {kind: image_kind(kind) for kind in FORMATS} | {
    make.__name__: make for make in OTHERS}  # yapf: disable
