"""Every collection from its raw layout to exact label maps."""
import gzip

import numpy as np
import pytest
import raw_trees
from PIL import Image
from raw_trees import BOX, LESIONS, photograph, rectangle, save

from prepare_dataset import (aria, ddr, drishti_gs, drive, idrid,
                             idrid_vessels, refuge, reta, stare)
from prepare_dataset.errors import PrepareError

ALONE = dict(workers=1)


def read(path):
    with Image.open(path) as image:
        assert image.mode == 'P'
        return np.array(image)


def cropped(labels, box=BOX):
    """What the published box keeps; it is square in these photographs."""
    x, y, width, height = box
    return np.asarray(labels, np.uint8)[y:y + height, x:x + width]


def padded(labels):
    """120x100 to 120x120, ten rows above and below."""
    return np.pad(np.asarray(labels, np.uint8), ((10, 10), (0, 0)))


def test_drive(tmp_path):
    raw = raw_trees.make_drive(tmp_path / 'DRIVE')
    summary = drive.prepare(raw, tmp_path / 'out', **ALONE)
    assert summary.ok
    assert summary.splits['train'].prepared == 2
    assert 'no split' in summary.notes[0]
    base = tmp_path / 'out/DRIVE-FOVCrop-padding/train'
    vessels = cropped(rectangle(40, 46, 80, 50))
    assert (read(base / 'ann/21_training.png') == vessels).all()
    own = cropped(rectangle(30, 20, 90, 80))
    assert (read(base / 'fov/22_training.png') == own).all()
    with Image.open(base / 'images/21_training.tif') as image:
        assert (np.array(image) == photograph()[6:91, 18:103]).all()


def test_drive_test_split_without_labels(tmp_path):
    raw = tmp_path / 'DRIVE'
    save(raw / 'test/images/01_test.tif', photograph())
    summary = drive.prepare(raw, tmp_path / 'out', splits=['test'], **ALONE)
    assert summary.ok
    assert 'without labels' in summary.splits['test'].notes[0]
    base = tmp_path / 'out/DRIVE-FOVCrop-padding/test'
    assert (base / 'images/01_test.tif').exists()
    assert not (base / 'ann').exists()


def test_drive_second_observer(tmp_path):
    raw = raw_trees.make_drive(tmp_path / 'DRIVE', (21, ))
    second = rectangle(40, 46, 60, 50)
    raw_trees.save_grey(raw / 'training/2nd_manual/21_manual2.gif', second)
    assert drive.prepare(raw, tmp_path / 'out', **ALONE).ok
    found = read(tmp_path / 'out/DRIVE-FOVCrop-padding/train/ann-2nd'
                 '/21_training.png')
    assert (found == cropped(second)).all()


def test_idrid(tmp_path):
    raw = raw_trees.make_idrid(tmp_path / 'IDRiD')
    summary = idrid.prepare(raw, tmp_path / 'out', **ALONE)
    assert summary.ok
    assert summary.splits['train'].counts['ann: overlapping pixels'] == 54
    base = tmp_path / 'out/IDRiD-FOVCrop-padding/train'
    expected = cropped(raw_trees.lesion_labels())
    assert (read(base / 'ann/IDRiD_01.png') == expected).all()
    assert (read(base / 'ann/IDRiD_02.png') == cropped(LESIONS['EX'])).all()
    disc = cropped(rectangle(70, 30, 80, 40))
    assert (read(base / 'OD/IDRiD_02.png') == disc).all()
    with Image.open(base / 'images/IDRiD_01.jpg') as image:
        assert image.size == (85, 85)
        error = np.array(image, int) - photograph()[6:91, 18:103]
    assert np.abs(error).mean() < 3


def test_idrid_vessels_take_the_crop_of_the_photographs(tmp_path):
    raw = raw_trees.make_idrid(tmp_path / 'IDRiD')
    out = tmp_path / 'out'
    vessels = rectangle(30, 46, 90, 48)
    raw_trees.save_grey(tmp_path / 'maps/IDRiD_02.png', vessels)
    idrid.prepare(raw, out, max_side=60, **ALONE)
    summary = idrid_vessels.prepare(raw, tmp_path / 'maps', out, **ALONE)
    assert summary.ok and summary.splits['train'].prepared == 1
    base = out / 'IDRiD-FOVCrop-padding/train'
    assert [p.name for p in (base / 'vessel').iterdir()] == ['IDRiD_02.png']
    assert read(base / 'vessel/IDRiD_02.png').shape == (60, 60)
    # Alone it works out the same box.
    idrid_vessels.prepare(raw, tmp_path / 'maps', tmp_path / 'b', **ALONE)
    path = tmp_path / 'b/IDRiD-FOVCrop-padding/train/vessel/IDRiD_02.png'
    assert (read(path) == cropped(vessels)).all()


def test_ddr(tmp_path):
    raw = raw_trees.make_ddr(tmp_path / 'DDR')
    # The grading part of the archive has folders of the same names.
    save(raw / 'DDR-dataset/DR_grading/train/image/x.jpg', photograph())
    summary = ddr.prepare(raw, tmp_path / 'out', **ALONE)
    assert summary.ok
    assert set(summary.splits) == {'train', 'val', 'test'}
    expected = cropped(raw_trees.lesion_labels())
    base = tmp_path / 'out/DDR-FOVCrop-padding'
    for split in ('train', 'val'):
        found = read(base / split / 'ann/007-1774-100.png')
        assert (found == expected).all()
    expected[expected == 3] = 0
    assert (read(base / 'test/ann/007-1774-100.png') == expected).all()


@pytest.mark.parametrize('inverted', [False, True])
def test_refuge(tmp_path, inverted):
    raw = raw_trees.make_refuge(tmp_path / 'REFUGE', inverted)
    summary = refuge.prepare(raw, tmp_path / 'out', **ALONE)
    assert summary.ok
    counts = [
        split.counts['ann: inverted masks']
        for split in summary.splits.values()
    ]
    assert counts == ([2, 1, 2] if inverted else [0, 0, 0])
    base = tmp_path / 'out/REFUGE-FOVCrop-padding'
    labels = raw_trees.odoc_labels()
    for name in ('g0001', 'n0001'):
        found = read(base / f'train/ann/{name}.png')
        assert (found == padded(labels)).all()
    with Image.open(base / 'train/images/g0001.jpg') as image:
        assert image.size == (120, 120)
    for path in ('val/ann/V0001.png', 'test/ann/T0002.png'):
        assert (read(base / path) == cropped(labels)).all()


def test_reta_is_taken_as_it_comes(tmp_path):
    raw = raw_trees.make_reta(tmp_path / 'RETA')
    summary = reta.prepare(raw, tmp_path / 'out', **ALONE)
    assert '1 photographs have no vessel' in summary.splits['train'].notes[0]
    base = tmp_path / 'out/RETA/train'
    original = (raw / 'train/IDRiD_01.jpg').read_bytes()
    assert (base / 'images/IDRiD_01.jpg').read_bytes() == original
    expected = rectangle(20, 40, 70, 44, (96, 96))
    assert (read(base / 'ann/IDRiD_01.png') == expected).all()
    assert not (base / 'images/IDRiD_55.jpg').exists()


def test_drishti_gs(tmp_path):
    raw = raw_trees.make_drishti(tmp_path / 'Drishti-GS')
    assert drishti_gs.prepare(raw, tmp_path / 'out', **ALONE).ok
    base = tmp_path / 'out/Drishti-GS-FOVCrop-padding/train'
    found = read(base / 'ann/drishtiGS_002.png')
    assert (found == cropped(raw_trees.odoc_labels())).all()
    assert (base / 'images/drishtiGS_002.jpg').exists()


def gzipped(path, array):
    save(path.with_suffix(''), array)
    path.write_bytes(gzip.compress(path.with_suffix('').read_bytes()))
    path.with_suffix('').unlink()


def test_stare(tmp_path):
    raw = tmp_path / 'STARE'
    vessels = rectangle(40, 46, 80, 50)
    grey = vessels.astype(np.uint8) * 255
    gzipped(raw / 'stare-images/im0001.ppm.gz', photograph())
    gzipped(raw / 'labels-ah/im0001.ah.ppm.gz', grey)
    gzipped(raw / 'labels-vk/im0001.vk.ppm.gz', grey * 0)
    gzipped(raw / 'labels-ah/im0002.ah.ppm.gz', grey)
    summary = stare.prepare(raw, tmp_path / 'out', **ALONE)
    assert len(summary.errors) == 1 and 'im0002.ah.ppm' in summary.errors[0]
    base = tmp_path / 'out/STARE-FOVCrop-padding'
    assert (read(base / 'ann/im0001.png') == cropped(vessels)).all()
    assert not read(base / 'ann-vk/im0001.png').any()


def test_aria(tmp_path):
    raw = tmp_path / 'ARIA'
    vessels = rectangle(40, 46, 80, 50).astype(np.uint8) * 250
    vessels[0, 0] = 9
    for group in 'acd':
        name = f'aria_{group}_1_2'
        save(raw / f'aria_{group}_markups/(0001) {name}.tif', photograph())
        for observer in ('BDP', 'BSS'):
            save(raw / f'aria_{group}_markup_vessel/{name} _{observer}.tif',
                 vessels)
    summary = aria.prepare(raw, tmp_path / 'out', **ALONE)
    assert summary.ok and summary.splits['all'].prepared == 3
    base = tmp_path / 'out/ARIA-FOVCrop-padding'
    expected = padded(vessels > 128)
    assert (read(base / 'ann/aria_c_1_2.png') == expected).all()
    assert (read(base / 'ann-BSS/aria_d_1_2.png') == expected).all()
    assert (base / 'images/aria_a_1_2.tif').exists()


@pytest.mark.parametrize('module, make', [
    (drive, raw_trees.make_drive),
    (idrid, raw_trees.make_idrid),
])
def test_folder_nested_in_one_of_the_same_name(tmp_path, module, make):
    make(tmp_path / 'RAW/RAW')
    assert module.prepare(tmp_path / 'RAW', tmp_path / 'out', **ALONE).ok


@pytest.mark.parametrize(
    'module', [drive, idrid, ddr, refuge, reta, drishti_gs, stare, aria])
def test_wrong_raw_folder_says_so(tmp_path, module):
    with pytest.raises(PrepareError, match='does not exist'):
        module.prepare(tmp_path / 'none', tmp_path / 'out')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(PrepareError, match='empty: nothing of'):
        module.prepare(tmp_path / 'empty', tmp_path / 'out')
    (tmp_path / 'raw.zip').write_bytes(b'')
    with pytest.raises(PrepareError, match='is a file: unpack it'):
        module.prepare(tmp_path / 'raw.zip', tmp_path / 'out')
