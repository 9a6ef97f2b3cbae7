"""The check of prepared trees."""
import shutil

import numpy as np
import pytest
import raw_trees
from raw_trees import read

from prepare_dataset import ddr, drive, idrid, refuge, reta
from prepare_dataset.check import check, main
from prepare_dataset.driver import run

FOLDER = 'DRIVE-FOVCrop-padding'


@pytest.fixture
def out(tmp_path):
    raw = raw_trees.make_drive(tmp_path / 'raw', range(21, 25))
    run(drive.COLLECTION, raw, tmp_path / 'out', workers=1)
    return tmp_path / 'out'


def problems(out):
    return [p for report in check(out) for p in report.problems]


def test_good_tree(out, capsys):
    assert main([str(out)]) == 0
    shown = capsys.readouterr().out
    assert 'train: 4 images, 20 expected, 0 problems' in shown
    assert '85x85' in shown
    # 40 x 4 of 85 x 85 pixels are vessels.
    assert '0: 97.785 %, 1: 2.215 %' in shown
    assert shown.endswith('Nothing wrong.\n')
    # The collection itself may be given, too.
    assert main([str(out / FOLDER)]) == 0


def test_everything_wrong_is_named(out):
    base = out / FOLDER / 'train'
    (base / 'images/21_training.tif').write_bytes(b'no image')
    (base / 'ann/22_training.png').unlink()
    raw_trees.save_grey(base / 'ann/23_training.png', np.eye(85, dtype=bool))
    raw_trees.save(base / 'ann/24_training.png', np.zeros((9, 9), np.uint8))
    raw_trees.save(base / 'ann/40_training.png', np.zeros((9, 9), np.uint8))
    found = check(out, sheet=True)[0].problems
    assert (out / f'sheets/{FOLDER}.jpg').exists()
    expected = ('22_training.png: is missing',
                '23_training.png: expected the values 0 to 1, found 0, 255',
                '24_training.png: is 9x9, its photograph 85x85',
                '40_training.png: has no photograph',
                '21_training.tif: is not a picture')
    for problem, text in zip(found, expected, strict=True):
        assert text in problem
    assert main([str(out)]) == 1


@pytest.mark.parametrize('value, found', [
    (255, None),
    (3, 'expected the values 0 to 2, found 0, 1, 2, 3'),
])
def test_values_within_the_task_and_ignored_pixels_pass(
        tmp_path, value, found):
    raw = raw_trees.make_refuge(tmp_path / 'raw')
    run(refuge.COLLECTION, raw, tmp_path / 'out', splits=['train'], workers=1)
    path = tmp_path / 'out/REFUGE-FOVCrop-padding/train/ann/g0001.png'
    values = read(path)
    values[0, 0] = value
    raw_trees.save(path, values)
    assert [found in p for p in problems(tmp_path / 'out')
            ] == [True] * (found is not None)  # yapf: disable


def test_empty_masks(tmp_path):
    """An eye may be without lesions, but not without a disc."""
    raw = raw_trees.make_idrid(tmp_path / 'raw')
    run(idrid.COLLECTION, raw, tmp_path / 'b', workers=1)
    base = tmp_path / 'b/IDRiD-FOVCrop-padding/train'
    for name in ('ann/IDRiD_01.png', 'OD/IDRiD_02.png'):
        raw_trees.save(base / name, np.zeros((85, 85), np.uint8))
    report, = check(tmp_path / 'b')
    problem, = report.problems
    assert 'OD/IDRiD_02.png: is empty' in problem
    assert report.empty['ann'] == 1


def test_duplicates_between_collections(tmp_path):
    """RETA's training photographs must not be IDRiD's test ones."""
    raw = raw_trees.make_reta(tmp_path / 'reta')
    run(reta.COLLECTION, raw, tmp_path / 'out', workers=1)
    raw = raw_trees.make_idrid(tmp_path / 'idrid')
    for path in sorted(raw.rglob('a. Training Set')):
        path.rename(path.with_name('b. Testing Set'))
    run(idrid.COLLECTION, raw, tmp_path / 'out', workers=1)
    found = problems(tmp_path / 'out')
    assert len(found) == 2
    assert 'IDRiD-FOVCrop-padding/test/images/IDRiD_01.jpg: shows' in found[0]
    assert 'RETA/train/images/IDRiD_01.jpg, which is trained on' in found[0]


def wrong(out):
    """What the check finds but photographs that are drawn alike."""
    return [p for p in problems(out) if 'shows the same' not in p]


@pytest.mark.parametrize('module, make, missing', [
    (refuge, raw_trees.make_refuge, 'REFUGE-Test-GT'),
    (refuge, raw_trees.make_refuge, 'Training400/Glaucoma'),
    (ddr, raw_trees.make_ddr, 'DDR-dataset/lesion_segmentation/train/image'),
    (ddr, raw_trees.make_ddr, 'DDR-dataset/lesion_segmentation/valid'),
])
def test_preparation_and_check_agree(tmp_path, module, make, missing):
    """Also about a split of which nothing could be prepared."""
    raw, out = make(tmp_path / 'raw'), tmp_path / 'out'
    shutil.rmtree(raw / missing)
    summary = run(module.COLLECTION, raw, out, workers=1)
    assert bool(wrong(out)) == (not summary.ok)
    failed = {k for k, split in summary.splits.items() if split.errors}
    if failed and not any(summary.splits[name].prepared for name in failed):
        rest = list(summary.splits.keys() - failed)
        assert run(module.COLLECTION, raw, out, splits=rest, workers=1).ok
        assert wrong(out) == []
    make(tmp_path / 'raw')
    assert run(module.COLLECTION, raw, out, workers=1).ok and wrong(out) == []
