"""Synthetic collections: layouts, encodings, truth and determinism."""
import hashlib

import numpy as np
import pytest
from PIL import Image

from mbos.io.photographs import Layout
from prepare_dataset import ddr, drive, idrid, refuge, reta
from prepare_dataset.synthetic import COLLECTIONS, generate, main

SETTINGS = dict(images=3, val_images=1, test_images=2, size=128, seed=5)
LITTLE = dict(images=1, val_images=1, test_images=1, size=96, seed=5)


def digest(folder):
    return {
        str(path.relative_to(folder)):
        hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob('*')) if path.is_file()
    }


def read(path):
    return np.array(Image.open(path))


@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    out = tmp_path_factory.mktemp('synthetic')
    folders = generate(out, workers=2, **SETTINGS)
    assert set(folders) == {*COLLECTIONS, 'hidden'}
    return out


def hidden(out, collection, split, task):
    folder = out / 'hidden' / collection / split / task
    return {path.stem: read(path) for path in sorted(folder.glob('*.png'))}


def test_what_arguments_change(tmp_path):
    """Neither do workers, nor more images the first ones; seeds do."""
    generate(tmp_path / 'one', workers=2, **LITTLE)
    generate(tmp_path / 'seed', **dict(LITTLE, seed=6))
    one, other = digest(tmp_path / 'one'), digest(tmp_path / 'seed')
    photographs = [n for n in one if n.endswith('_training.tif')]
    assert photographs and all(one[n] != other[n] for n in photographs)
    main([str(tmp_path / 'more'), '--images', '2', '--val-images', '1',
          '--test-images', '1', '--size', '96', '--seed', '5',
          '--workers', '1'])  # yapf: disable
    more = digest(tmp_path / 'more')
    assert 'raw/RETA/train/images/IDRiD_02.jpg' in more
    assert one.items() <= more.items()


def test_what_is_refused(tmp_path):
    for wrong in (dict(images=55), dict(test_images=0), dict(size=64)):
        with pytest.raises(ValueError, match='expected'):
            generate(tmp_path, **dict(LITTLE, **wrong))
    (tmp_path / 'raw/RETA').mkdir(parents=True)
    with pytest.raises(FileExistsError, match='RETA.*another folder'):
        generate(tmp_path, **LITTLE)


@pytest.mark.parametrize('module, task, folder, counts', [
    (reta, 'vessel', 'ann', dict(train=3)),
    (ddr, 'lesion', 'ann', dict(train=3, val=1, test=2)),
    (refuge, 'odoc', 'ann', dict(train=3, val=1, test=2)),
    (drive, 'vessel', 'ann', dict(train=1, test=2)),
    (idrid, 'lesion', 'ann', dict(train=3, test=2)),
    (idrid, 'odoc', 'OD', dict(train=3, test=2)),
])
def test_raw_trees_hold_the_truth(drawn, module, task, folder, counts):
    """What is read from an official layout is the truth that is hidden
    beside it, of the task that the collection labels."""
    name = module.COLLECTION.name
    assert {p.name for p in (drawn / 'hidden' / name).iterdir()} == set(counts)
    for split, count in counts.items():
        found = module.COLLECTION.find(drawn / 'raw' / name, split)
        assert not found.problems and len(found.items) == count
        truth = hidden(drawn, name, split, task)
        assert sorted(truth) == sorted(item.stem for item in found.items)
        for item in found.items:
            photograph = Image.open(item.image)
            labels, _ = item.labels[folder](
                layout=Layout(photograph.size[::-1]))
            expected = truth[item.stem]
            if folder == 'OD':  # IDRiD has the disc without its cup
                expected = expected > 0
            np.testing.assert_array_equal(labels, expected)
            if item.fov is not None:
                # What the preparation looks for: grey value above 20.
                fov = read(item.fov) > 0
                grey = np.array(photograph.convert('L'))
                assert not labels[~fov].any()
                assert (grey[fov] > 20).mean() > 0.99
                assert (grey[~fov] <= 20).mean() > 0.97
