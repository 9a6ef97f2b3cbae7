"""Every collection from its raw layout to exact label maps."""
import gzip

import numpy as np
import pytest
import raw_trees
from raw_trees import (BOX, LESIONS, photograph, read, rectangle, save,
                       save_grey)

from mbos.io import RefusedError
from prepare_dataset import (aria, ddr, drishti_gs, drive, idrid,
                             idrid_vessels, refuge, reta, stare)
from prepare_dataset.check import check
from prepare_dataset.driver import run

VESSELS = rectangle(40, 46, 80, 50)


def cropped(labels, box=BOX):
    """What the published box keeps; it is square in these photographs."""
    x, y, width, height = box
    return np.asarray(labels, np.uint8)[y:y + height, x:x + width]


def padded(labels):
    """120x100 to 120x120, ten rows above and below."""
    return np.pad(np.asarray(labels, np.uint8), ((10, 10), (0, 0)))


LESION_LABELS = cropped(raw_trees.lesion_labels())
ODOC = raw_trees.ODOC_LABELS
REFUGE = raw_trees.REFUGE_VALUES
INVERTED = np.uint8([0, 128, 255])[ODOC]
THREE = dict(train=['g0001', 'n0001'], val=['V0001'], test=['T0001'])
NUMBERED = dict(train=['001', '002'])


def prepared(module, raw):
    """Prepare, and make sure that the check has nothing to add."""
    out = raw.parent / 'out'
    summary = run(module.COLLECTION, raw, out, workers=1)
    assert summary.ok, summary.errors
    found = [p for report in check(out) for p in report.problems]
    assert not [p for p in found if 'shows the same' not in p]
    return {name: split.prepared for name, split in summary.splits.items()}


@pytest.mark.parametrize('module, counts, expected', [
    (drive, dict(train=2), {
        'train/ann/21_training.png': cropped(VESSELS),
        'train/fov/22_training.png': cropped(rectangle(30, 20, 90, 80)),
        'train/images/21_training.tif': photograph()[6:91, 18:103]
    }),
    (idrid, dict(train=2), {
        'train/ann/IDRiD_01.png': LESION_LABELS,
        'train/ann/IDRiD_02.png': cropped(LESIONS['EX']),
        'train/OD/IDRiD_02.png': cropped(rectangle(70, 30, 80, 40))
    }),
    (ddr, dict(train=1, val=1, test=1), {
        'train/ann/007-1774-100.png': LESION_LABELS,
        'val/ann/007-1774-100.png': LESION_LABELS,
        'test/ann/007-1774-100.png': LESION_LABELS * (LESION_LABELS != 3)
    }),
    (refuge, dict(train=2, val=1, test=2), {
        'train/ann/g0001.png': padded(ODOC),
        'train/ann/n0001.png': padded(ODOC),
        'val/ann/V0001.png': cropped(ODOC),
        'test/ann/T0002.png': cropped(ODOC)
    }),
    (reta, dict(train=1), {
        'train/ann/IDRiD_01.png': rectangle(20, 40, 70, 44, (96, 96))
    }),
    (drishti_gs, dict(train=1), {
        'train/ann/drishtiGS_002.png': cropped(ODOC)
    }),
])
def test_label_maps(tmp_path, module, counts, expected):
    # Nested in a folder of the same name, as downloads often are.
    name = module.__name__.split('.')[1]
    raw = raw_trees.MAKERS[name](tmp_path / 'RAW/RAW').parent
    # The grading part of DDR's archive has folders of the same names.
    save(raw / 'RAW/DR_grading/train/image/x.jpg', photograph())
    summary = run(module.COLLECTION, raw, tmp_path / 'out', workers=1)
    assert summary.ok
    assert {k: s.prepared for k, s in summary.splits.items()} == counts
    base = tmp_path / 'out' / module.COLLECTION.folder
    for path, labels in expected.items():
        np.testing.assert_array_equal(read(base / path), labels)
    for split in counts:
        suffix = module.COLLECTION.image_suffix
        images = {p.stem for p in (base / split).glob(f'images/*{suffix}')}
        masks = {p.stem for p in (base / split).glob('ann/*.png')}
        assert len(images) == counts[split] and images == masks


def test_photographs_of_idrid_and_reta(tmp_path):
    """Cropped with little loss; or the very bytes, without withheld ones."""
    raw = raw_trees.make_idrid(tmp_path / 'IDRiD')
    summary = run(idrid.COLLECTION, raw, tmp_path, workers=1)
    assert summary.splits['train'].counts['ann: overlapping pixels'] == 54
    image = read(tmp_path / idrid.FOLDER / 'train/images/IDRiD_01.jpg')
    assert np.abs(image.astype(int) - photograph()[6:91, 18:103]).mean() < 3
    raw = raw_trees.make_reta(tmp_path / 'raw')
    summary = run(reta.COLLECTION, raw, tmp_path, workers=1)
    assert '1 photographs have no vessel' in summary.splits['train'].notes[0]
    path = tmp_path / 'RETA/train/images/IDRiD_01.jpg'
    assert path.read_bytes() == (raw / 'train/IDRiD_01.jpg').read_bytes()


def test_drive_without_labels_and_with_a_second_observer(tmp_path):
    raw = raw_trees.make_drive(tmp_path / 'DRIVE', (21, ))
    save(raw / 'test/images/01_test.tif', photograph())
    second = rectangle(40, 46, 60, 50)
    save_grey(raw / 'training/2nd_manual/21_manual2.gif', second)
    summary = run(drive.COLLECTION, raw, tmp_path / 'out', workers=1)
    assert summary.ok
    assert 'without labels' in summary.splits['test'].notes[0]
    base = tmp_path / 'out/DRIVE-FOVCrop-padding'
    assert (base / 'test/images/01_test.tif').exists()
    assert not (base / 'test/ann').exists()
    found = read(base / 'train/ann-2nd/21_training.png')
    assert (found == cropped(second)).all()


def test_idrid_vessels_take_the_crop_of_the_photographs(tmp_path):
    raw = raw_trees.make_idrid(tmp_path / 'IDRiD')
    out = tmp_path / 'out'
    vessels = rectangle(30, 46, 90, 48)
    save_grey(tmp_path / 'maps/IDRiD_02.png', vessels)
    run(idrid.COLLECTION, raw, out, max_side=60, workers=1)
    summary = idrid_vessels.prepare(raw, tmp_path / 'maps', out, workers=1)
    assert summary.ok and summary.splits['train'].prepared == 1
    base = out / 'IDRiD-FOVCrop-padding/train'
    assert [p.name for p in (base / 'vessel').iterdir()] == ['IDRiD_02.png']
    assert read(base / 'vessel/IDRiD_02.png').shape == (60, 60)
    # Alone it works out the same box.
    idrid_vessels.prepare(raw, tmp_path / 'maps', tmp_path / 'b', workers=1)
    path = tmp_path / 'b/IDRiD-FOVCrop-padding/train/vessel/IDRiD_02.png'
    assert (read(path) == cropped(vessels)).all()


def test_stare(tmp_path):
    grey = VESSELS.astype(np.uint8) * 255
    for name, array in {
            'stare-images/im0001.ppm': photograph(),
            'labels-ah/im0001.ah.ppm': grey,
            'labels-vk/im0001.vk.ppm': grey * 0
    }.items():
        path = save(tmp_path / 'STARE' / name, array)
        packed = gzip.compress(path.read_bytes())
        path.with_suffix('.ppm.gz').write_bytes(packed)
        path.unlink()
    assert run(
        stare.COLLECTION, tmp_path / 'STARE', tmp_path / 'out', workers=1).ok
    base = tmp_path / 'out/STARE-FOVCrop-padding'
    assert (read(base / 'ann/im0001.png') == cropped(VESSELS)).all()
    assert not read(base / 'ann-vk/im0001.png').any()


def test_aria(tmp_path):
    raw = tmp_path / 'ARIA'
    vessels = VESSELS.astype(np.uint8) * 250
    vessels[0, 0] = 9
    for group in 'acd':
        name = f'aria_{group}_1_2'
        save(raw / f'aria_{group}_markups/(0001) {name}.tif', photograph())
        for observer in ('BDP', 'BSS'):
            save(raw / f'aria_{group}_markup_vessel/{name} _{observer}.tif',
                 vessels)
    summary = run(aria.COLLECTION, raw, tmp_path / 'out', workers=1)
    assert summary.ok and summary.splits['all'].prepared == 3
    base = tmp_path / 'out/ARIA-FOVCrop-padding'
    expected = padded(VESSELS)
    assert (read(base / 'ann/aria_c_1_2.png') == expected).all()
    assert (read(base / 'ann-BSS/aria_d_1_2.png') == expected).all()
    assert (base / 'images/aria_a_1_2.tif').exists()


@pytest.mark.parametrize('raw, text', [('none', 'is not a folder'),
                                       ('empty', 'empty: nothing of DRIVE')])
def test_wrong_raw_folder_says_so(tmp_path, raw, text):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(RefusedError, match=text):
        run(drive.COLLECTION, tmp_path / raw, tmp_path / 'out')


# ---- copies in other trees


@pytest.mark.parametrize('image, mask, values, stems', [
    ('{split}/Images/{}.jpg', '{split}/Masks/{}.png', REFUGE, THREE),
    ('{split}/images/{}.png', '{split}/mask/{}.bmp', INVERTED, THREE),
    ('images/{split}/{}.jpg', 'labels/{split}/{}.png', ODOC, THREE),
    ('{}.jpg', '{}.bmp', REFUGE, THREE),
    ('REFUGE/fundus/{}.jpg', 'REFUGE/gts/{}.png', INVERTED, THREE),
    ('{}.jpg', '{}.png', ODOC, THREE),
    ('{split}/{}.jpeg', '{split}/{}_mask.png', REFUGE, THREE),
    ('all/{}.png', 'all/{}-gt.png', INVERTED, THREE),
    ('{split}/images/{}.jpg', '{split}/masks/{}.png', REFUGE, NUMBERED),
    ('images/{split}ing/{}.png', 'gts/{split}ing/{}.bmp', REFUGE, NUMBERED),
    ('Training400/Glaucoma/{}.png', 'Training400-GT/{}.png', REFUGE,
     dict(train=['g0001'])),
])  # yapf: disable
def test_copies_of_refuge(tmp_path, image, mask, values, stems):
    raw = tmp_path / 'raw'
    for split, names in stems.items():
        for stem in names:
            save(raw / image.format(stem, split=split), photograph())
            save(raw / mask.format(stem, split=split), values)
    save(raw / 'Images_Cropped/g0001.jpg', photograph())
    assert prepared(refuge, raw) == {k: len(v) for k, v in stems.items()}
    folder = tmp_path / 'out/REFUGE-FOVCrop-padding/train/ann'
    labels = read(folder / f'{stems["train"][0]}.png')
    np.testing.assert_array_equal(labels[10:110], ODOC)


@pytest.mark.parametrize('image, mask', [
    ('{split}/{stem}.jpg', '{split}/{lesion}/{stem}.png'),
    ('{split}/{stem}.jpg', '{split}/{stem}_{lesion}.png'),
    ('images/{split}/{stem}.jpg', '{lesion}/{split}/{stem}.png'),
    ('{split}/images/{stem}.jpg', '{split}/labels/{lesion}/{stem}.png'),
    ('images/{split}/{stem}.jpg', 'annotations/{split}/{lesion}/{stem}.tif'),
    ('images/{split}/{stem}.png', 'masks/{lesion}/{split}/{stem}.png'),
    ('DDR/{split}/img/{stem}.jpg', 'DDR/{split}/masks/{long}/{stem}.png'),
])
def test_copies_of_ddr(tmp_path, image, mask):
    raw = tmp_path / 'raw'
    names = dict(zip(LESIONS, ('Hard Exudates', 'Hemorrhages', 'Soft Exudates',
                               'Microaneurysms')))  # yapf: disable
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
def test_copies_with_vessels(tmp_path, module, image, masks):
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
    summary = run(drive.COLLECTION, raw, tmp_path / 'out', workers=1)
    assert summary.ok
    assert 'left out are 1 .heic, 1 .txt' in str(summary)
