"""The check of prepared trees."""
import shutil

import numpy as np
import pytest
import raw_trees
from PIL import Image

from prepare_dataset import ddr, drive, refuge
from prepare_dataset.check import check, main
from prepare_dataset.errors import PrepareError


@pytest.fixture
def out(tmp_path):
    raw = raw_trees.make_drive(tmp_path / 'raw', range(21, 25))
    drive.prepare(raw, tmp_path / 'out', workers=1)
    return tmp_path / 'out'


def problems(out):
    return [p for report in check(out) for p in report.problems]


def test_good_tree(out, capsys):
    report, = check(out)
    assert len(report.images) == 4 and report.expected == 20
    # 40 x 4 vessel pixels in each of four squares of 85 x 85.
    assert report.pixels['ann'][:3].tolist() == [4 * (7225 - 160), 640, 0]
    assert main([str(out)]) == 0
    assert 'Nothing wrong.' in capsys.readouterr().out
    # The collection itself may be given, too.
    assert main([str(out / 'DRIVE-FOVCrop-padding')]) == 0


def test_everything_wrong_is_named(out, capsys):
    base = out / 'DRIVE-FOVCrop-padding/train'
    (base / 'images/21_training.tif').write_bytes(b'no image')
    (base / 'ann/22_training.png').unlink()
    raw_trees.save_grey(base / 'ann/23_training.png', np.eye(85, dtype=bool))
    raw_trees.save(base / 'ann/24_training.png', np.zeros((9, 9), np.uint8))
    raw_trees.save(base / 'ann/40_training.png', np.zeros((9, 9), np.uint8))
    found = '\n'.join(problems(out))
    for text in ('21_training.tif: cannot be read',
                 '22_training.png: is missing',
                 '23_training.png: expected the values 0 to 1, found 0, 255',
                 '24_training.png: is 9x9, its photograph 85x85',
                 '40_training.png: has no photograph'):
        assert text in found
    assert len(found.splitlines()) == 5
    assert main([str(out)]) == 1


def test_values_within_the_task_and_ignored_pixels_pass(tmp_path):
    raw = raw_trees.make_refuge(tmp_path / 'raw')
    refuge.prepare(raw, tmp_path / 'out', splits=['train'], workers=1)
    path = (tmp_path / 'out/REFUGE-FOVCrop-padding/train/ann/g0001.png')
    with Image.open(path) as image:
        values = np.array(image)
    values[0, 0] = 255
    raw_trees.save(path, values)
    assert problems(tmp_path / 'out') == []
    values[0, 0] = 3
    raw_trees.save(path, values)
    assert 'expected the values 0 to 2, found 0, 1, 2, 3' in problems(
        tmp_path / 'out')[0]


def test_training_photograph_in_the_test_split(tmp_path):
    raw = raw_trees.make_ddr(tmp_path / 'raw')
    image = raw / 'DDR-dataset/lesion_segmentation/valid/image'
    flipped = raw_trees.photograph()[:, ::-1]
    raw_trees.save(image / '007-1774-100.jpg', flipped)
    ddr.prepare(raw, tmp_path / 'out', workers=1)
    found = problems(tmp_path / 'out')
    assert len(found) == 1
    assert 'test/images/007-1774-100.jpg: shows the same as' in found[0]


def test_contact_sheet(out):
    check(out, sheet=True)
    with Image.open(out / 'sheets/DRIVE-FOVCrop-padding.jpg') as image:
        assert image.size == (4 * 2 * 240, 240)


def test_nothing_prepared(tmp_path):
    with pytest.raises(PrepareError, match='holds none of RETA'):
        check(tmp_path)


def test_trees_without_fov_masks_pass(out):
    shutil.rmtree(out / 'DRIVE-FOVCrop-padding/train/fov')
    assert problems(out) == []
