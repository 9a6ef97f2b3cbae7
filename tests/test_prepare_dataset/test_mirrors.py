"""Copies of collections in other trees are recognised."""
import numpy as np
import pytest
import raw_trees
from raw_trees import (CUP, DISC, LESIONS, photograph, read, rectangle, save,
                       save_grey)

from prepare_dataset import aria, ddr, drive, refuge, reta
from prepare_dataset.check import check

VESSELS = rectangle(40, 46, 80, 50)
REFUGE = raw_trees.refuge_values(DISC, CUP)
INVERTED = np.choose(REFUGE // 127, [255, 128, 0]).astype(np.uint8)
CLASSES = np.where(CUP, 2, DISC.astype(int)).astype(np.uint8)
THREE = dict(train=['g0001', 'n0001'], val=['V0001'], test=['T0001'])
NUMBERED = dict(train=['001', '002'])


def prepared(module, raw):
    """Prepare, and make sure that the check has nothing to add."""
    out = raw.parent / 'out'
    summary = module.prepare(raw, out, workers=1)
    assert summary.ok, summary.errors
    found = [p for report in check(out) for p in report.problems]
    assert not [p for p in found if 'shows the same' not in p]
    return {name: split.prepared for name, split in summary.splits.items()}


@pytest.mark.parametrize('image, mask, values, stems', [
    ('{split}/Images/{}.jpg', '{split}/Masks/{}.png', REFUGE, THREE),
    ('{split}/images/{}.png', '{split}/mask/{}.bmp', INVERTED, THREE),
    ('images/{split}/{}.jpg', 'labels/{split}/{}.png', CLASSES, THREE),
    ('{}.jpg', '{}.bmp', REFUGE, THREE),
    ('REFUGE/fundus/{}.jpg', 'REFUGE/gts/{}.png', INVERTED, THREE),
    ('{}.jpg', '{}.png', CLASSES, THREE),
    ('{split}/{}.jpeg', '{split}/{}_mask.png', REFUGE, THREE),
    ('all/{}.png', 'all/{}-gt.png', INVERTED, THREE),
    ('{split}/images/{}.jpg', '{split}/masks/{}.png', REFUGE, NUMBERED),
    ('images/{split}ing/{}.png', 'gts/{split}ing/{}.bmp', REFUGE, NUMBERED),
    ('Training400/Glaucoma/{}.png', 'Training400-GT/{}.png', REFUGE,
     dict(train=['g0001'])),
])  # yapf: disable
def test_refuge(tmp_path, image, mask, values, stems):
    raw = tmp_path / 'raw'
    for split, names in stems.items():
        for stem in names:
            save(raw / image.format(stem, split=split), photograph())
            save(raw / mask.format(stem, split=split), values)
    save(raw / 'Images_Cropped/g0001.jpg', photograph())
    assert prepared(refuge, raw) == {k: len(v) for k, v in stems.items()}
    folder = tmp_path / 'out/REFUGE-FOVCrop-padding/train/ann'
    labels = read(folder / f'{stems["train"][0]}.png')
    np.testing.assert_array_equal(labels[10:110], raw_trees.odoc_labels())


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


@pytest.mark.parametrize('module, image, masks', [
    (reta, 'images/IDRiD_{}.jpg', 'masks/IDRiD_{}.png'),
    (reta, 'vessel_segmentation/images/IDRiD_{}.png',
     'vessel_segmentation/gt/IDRiD_{}.png'),
    (reta, 'IDRiD_{}.jpg', 'IDRiD_{}_mask.png'),
    (reta, 'IDRiD_{}.JPG', 'IDRiD_{}.png'),
    (reta, 'train/IDRiD_{}.jpg', 'train_masks/IDRiD_{}_vessel.tif'),
    (aria, 'aria_a_{}.jpg', 'aria_a_{}_BDP.png'),
    (aria, 'images/aria_a_{}.png', 'masks/aria_a_{}_BDP.png'),
    (aria, 'aria_a_{}.tif', 'aria_a_{}_BDP.tif'),
    (aria, 'ARIA/img/aria_a_{}.jpg', 'ARIA/vessel/aria_a_{}_BDP.png'),
    (aria, 'aria_a_{}.jpg', 'aria_a_{}.png'),
])
def test_vessels(tmp_path, module, image, masks):
    raw = tmp_path / 'raw'
    for number in ('01', '02'):
        save(raw / image.format(number), photograph())
        save_grey(raw / masks.format(number), VESSELS)
    if 'BDP' in masks:  # of the other photograph there is one observer only
        second = masks.replace('BDP', 'BSS')
        save_grey(raw / second.format('01'), VESSELS)
    split, = module.COLLECTION.splits
    assert prepared(module, raw) == {split: 2}


def test_files_of_other_kinds_are_counted(tmp_path):
    raw = raw_trees.make_drive(tmp_path / 'raw')
    (raw / 'training/images/23_training.heic').write_bytes(b'?')
    (raw / 'training/images/notes.txt').write_text('?')
    summary = drive.prepare(raw, tmp_path / 'out', workers=1)
    assert summary.ok
    assert 'left out are 1 .heic, 1 .txt' in str(summary)
