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

VESSELS = rectangle(40, 46, 80, 50)


def cropped(labels, box=BOX):
    """What the published box keeps; it is square in these photographs."""
    x, y, width, height = box
    return np.asarray(labels, np.uint8)[y:y + height, x:x + width]


def padded(labels):
    """120x100 to 120x120, ten rows above and below."""
    return np.pad(np.asarray(labels, np.uint8), ((10, 10), (0, 0)))


LESION_LABELS = cropped(raw_trees.lesion_labels())
ODOC = raw_trees.odoc_labels()


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
    summary = module.prepare(raw, tmp_path / 'out', workers=1)
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
    summary = idrid.prepare(raw, tmp_path, workers=1)
    assert summary.splits['train'].counts['ann: overlapping pixels'] == 54
    image = read(tmp_path / idrid.FOLDER / 'train/images/IDRiD_01.jpg')
    assert np.abs(image.astype(int) - photograph()[6:91, 18:103]).mean() < 3
    raw = raw_trees.make_reta(tmp_path / 'raw')
    summary = reta.prepare(raw, tmp_path, workers=1)
    assert '1 photographs have no vessel' in summary.splits['train'].notes[0]
    path = tmp_path / 'RETA/train/images/IDRiD_01.jpg'
    assert path.read_bytes() == (raw / 'train/IDRiD_01.jpg').read_bytes()


def test_inverted_masks_of_refuge(tmp_path):
    raw = raw_trees.make_refuge(tmp_path / 'REFUGE', inverted=True)
    summary = refuge.prepare(raw, tmp_path / 'out', workers=1)
    assert [s.counts['ann: inverted masks']
            for s in summary.splits.values()] == [2, 1, 2]
    base = tmp_path / 'out/REFUGE-FOVCrop-padding'
    assert (read(base / 'train/ann/g0001.png') == padded(ODOC)).all()
    assert (read(base / 'test/ann/T0001.png') == cropped(ODOC)).all()


def test_drive_without_labels_and_with_a_second_observer(tmp_path):
    raw = raw_trees.make_drive(tmp_path / 'DRIVE', (21, ))
    save(raw / 'test/images/01_test.tif', photograph())
    second = rectangle(40, 46, 60, 50)
    save_grey(raw / 'training/2nd_manual/21_manual2.gif', second)
    summary = drive.prepare(raw, tmp_path / 'out', workers=1)
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
    idrid.prepare(raw, out, max_side=60, workers=1)
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
    assert stare.prepare(tmp_path / 'STARE', tmp_path / 'out', workers=1).ok
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
    summary = aria.prepare(raw, tmp_path / 'out', workers=1)
    assert summary.ok and summary.splits['all'].prepared == 3
    base = tmp_path / 'out/ARIA-FOVCrop-padding'
    expected = padded(VESSELS)
    assert (read(base / 'ann/aria_c_1_2.png') == expected).all()
    assert (read(base / 'ann-BSS/aria_d_1_2.png') == expected).all()
    assert (base / 'images/aria_a_1_2.tif').exists()


@pytest.mark.parametrize(
    'module', [drive, idrid, ddr, refuge, reta, drishti_gs, stare, aria])
def test_wrong_raw_folder_says_so(tmp_path, module):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'raw.zip').write_bytes(b'')
    said = {
        'none': 'does not exist',
        'empty': 'empty: nothing of',
        'raw.zip': 'is a file: unpack it'
    }
    for raw, text in said.items():
        with pytest.raises(RefusedError, match=text):
            module.prepare(tmp_path / raw, tmp_path / 'out')
