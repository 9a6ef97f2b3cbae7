"""Copies of collections in other trees: recognised, or shown beside what is
expected."""
import numpy as np
import pytest
import raw_trees
from PIL import Image
from raw_trees import (CUP, DISC, LESIONS, photograph, rectangle, save,
                       save_grey)

from prepare_dataset import aria, ddr, drive, refuge, reta
from prepare_dataset.check import check
from prepare_dataset.errors import PrepareError

VESSELS = rectangle(40, 46, 80, 50)
REFUGE = raw_trees.refuge_values(DISC, CUP)
INVERTED = np.choose(REFUGE // 127, [255, 128, 0]).astype(np.uint8)
CLASSES = np.where(CUP, 2, DISC.astype(int)).astype(np.uint8)


def read(path):
    with Image.open(path) as image:
        return np.array(image)


def prepared(module, raw):
    """Prepare, and make sure that the check has nothing to add."""
    out = raw.parent / 'out'
    summary = module.prepare(raw, out, workers=1)
    assert summary.ok, summary.errors
    found = [p for report in check(out) for p in report.problems]
    assert not [p for p in found if 'shows the same' not in p]
    return {name: split.prepared for name, split in summary.splits.items()}


@pytest.mark.parametrize('image, mask, values', [
    ('{split}/Images/{stem}.jpg', '{split}/Masks/{stem}.png', REFUGE),
    ('{split}/images/{stem}.png', '{split}/mask/{stem}.bmp', INVERTED),
    ('images/{split}/{stem}.jpg', 'labels/{split}/{stem}.png', CLASSES),
    ('{stem}.jpg', '{stem}.bmp', REFUGE),
    ('REFUGE/fundus/{stem}.jpg', 'REFUGE/gts/{stem}.png', INVERTED),
    ('{stem}.jpg', '{stem}.png', CLASSES),
    ('{split}/{stem}.jpeg', '{split}/{stem}_mask.png', REFUGE),
    ('all/{stem}.png', 'all/{stem}-gt.png', INVERTED),
])
def test_refuge(tmp_path, image, mask, values):
    raw = tmp_path / 'raw'
    stems = dict(train=['g0001', 'n0001'], val=['V0001'], test=['T0001'])
    for split, names in stems.items():
        for stem in names:
            save(raw / image.format(split=split, stem=stem), photograph())
            save(raw / mask.format(split=split, stem=stem), values)
    save(raw / 'Images_Cropped/g0001.jpg', photograph())
    assert prepared(refuge, raw) == dict(train=2, val=1, test=1)
    labels = read(tmp_path / 'out/REFUGE-FOVCrop-padding/train/ann/g0001.png')
    np.testing.assert_array_equal(labels[10:110], raw_trees.odoc_labels())


@pytest.mark.parametrize('image, mask', [
    ('train/images/{}.jpg', 'train/masks/{}.png'),
    ('images/training/{}.png', 'gts/training/{}.bmp'),
])
def test_refuge_numbered_anew(tmp_path, image, mask):
    raw = tmp_path / 'raw'
    for number in ('001', '002'):
        save(raw / image.format(number), photograph())
        save(raw / mask.format(number), REFUGE)
    assert prepared(refuge, raw) == dict(train=2)


def test_refuge_as_published_but_in_png(tmp_path):
    raw = tmp_path / 'raw'
    save(raw / 'Training400/Glaucoma/g0001.png', photograph())
    save(raw / 'Training400-GT/g0001.png', REFUGE)
    assert prepared(refuge, raw) == dict(train=1)


@pytest.mark.parametrize('image, mask', [
    ('{split}/{stem}.jpg', '{split}/{lesion}/{stem}.png'),
    ('{split}/{stem}.jpg', '{split}/{stem}_{lesion}.png'),
    ('images/{split}/{stem}.jpg', '{lesion}/{split}/{stem}.png'),
    ('{split}/images/{stem}.jpg', '{split}/labels/{lesion}/{stem}.png'),
    ('images/{split}/{stem}.jpg', 'annotations/{split}/{lesion}/{stem}.tif'),
    ('images/{split}/{stem}.png', 'masks/{lesion}/{split}/{stem}.png'),
    ('DDR/{split}/img/{stem}.jpg', 'DDR/{split}/masks/{long}/{stem}.png'),
])
def test_ddr(tmp_path, image, mask):
    raw = tmp_path / 'raw'
    names = dict(
        EX='Hard Exudates',
        HE='Hemorrhages',
        SE='Soft Exudates',
        MA='Microaneurysms')
    for split in ('training', 'val', 'test'):
        stem = f'{split}-1'
        save(raw / image.format(split=split, stem=stem), photograph())
        for lesion, shown in LESIONS.items():
            path = mask.format(
                split=split, stem=stem, lesion=lesion, long=names[lesion])
            save_grey(raw / path, shown)
    assert prepared(ddr, raw) == dict(train=1, val=1, test=1)
    labels = read(tmp_path / 'out/DDR-FOVCrop-padding/val/ann/val-1.png')
    assert set(np.unique(labels)) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize('module, split, image, mask', [
    (reta, 'train', 'images/IDRiD_01.jpg', 'masks/IDRiD_01.png'),
    (reta, 'train', 'vessel_segmentation/images/IDRiD_01.png',
     'vessel_segmentation/gt/IDRiD_01.png'),
    (reta, 'train', 'IDRiD_01.jpg', 'IDRiD_01_mask.png'),
    (reta, 'train', 'IDRiD_01.JPG', 'IDRiD_01.png'),
    (aria, 'all', 'aria_a_1_1.jpg', 'aria_a_1_1_{}.png'),
    (reta, 'train', 'train/IDRiD_01.jpg', 'train_masks/IDRiD_01_vessel.tif'),
    (aria, 'all', 'images/aria_a_1_1.png', 'masks/aria_a_1_1_{}.png'),
    (aria, 'all', 'aria_a_1_1.tif', 'aria_a_1_1_{}.tif'),
    (aria, 'all', 'ARIA/img/aria_a_1_1.jpg', 'ARIA/vessel/aria_a_1_1_{}.png'),
])
def test_vessels(tmp_path, module, split, image, mask):
    raw = tmp_path / 'raw'
    save(raw / image, photograph())
    save_grey(raw / mask.format('BDP'), VESSELS)
    if module is aria:  # of the other photograph there is one observer only
        save_grey(raw / mask.format('BSS'), VESSELS)
        save(raw / image.replace('a_1_1', 'c_2_1'), photograph())
        save_grey(raw / mask.format('BDP').replace('a_1_1', 'c_2_1'), VESSELS)
    assert prepared(module, raw) == {split: 2 if module is aria else 1}


def test_aria_with_one_observer_in_one_folder(tmp_path):
    raw = tmp_path / 'raw'
    for stem in ('aria_a_1_1', 'aria_c_2_1'):
        save(raw / f'{stem}.jpg', photograph())
        save_grey(raw / f'{stem}.png', VESSELS)
    assert prepared(aria, raw) == dict(all=2)


@pytest.mark.parametrize('module', [aria, ddr, refuge, reta])
def test_expected_tree_is_shown_beside_the_one_found(tmp_path, module):
    raw = tmp_path / 'raw'
    for number in range(3):
        save(raw / f'pictures/eye_{number}.png', photograph())
    with pytest.raises(PrepareError) as error:
        module.prepare(raw, tmp_path / 'out', workers=1)
    expected, found = str(error.value).split(f'Found in {raw}:')
    assert module.COLLECTION.tree[0] in expected
    assert 'pictures/eye_0.png (and 2 more files)' in found


def test_files_of_other_kinds_are_counted(tmp_path):
    raw = raw_trees.make_drive(tmp_path / 'raw')
    (raw / 'training/images/23_training.heic').write_bytes(b'?')
    (raw / 'training/images/notes.txt').write_text('?')
    summary = drive.prepare(raw, tmp_path / 'out', workers=1)
    assert summary.ok
    assert 'left out are 1 .heic, 1 .txt' in str(summary)
