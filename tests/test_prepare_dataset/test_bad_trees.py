"""Raw trees with something wrong: named, and the rest is prepared.

Also trees that somebody else packed: bombs, links, pipes, odd names.
"""
import gzip
import os
import shutil
from functools import partial

import numpy as np
import pytest
import raw_trees
from raw_trees import CUP, read, save_grey

from mbos.io import RefusedError
from prepare_dataset import (ddr, drishti_gs, drive, idrid, idrid_vessels,
                             refuge)
from prepare_dataset.driver import run
from prepare_dataset.labels import open_image
from tests.bombs import BOMBS, ppm

DDR = 'DDR-dataset/lesion_segmentation/train'
TRUTH = 'A. Segmentation/2. All Segmentation Groundtruths/a. Training Set'
IMAGE = 'training/images/21_training.tif'
MANUAL = 'training/1st_manual/21_manual1.gif'


def remove(path):
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def truncate(path):
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])


def bomb(path):
    path.write_bytes(BOMBS['tif'](60000, 60000))


def pipe(path):
    path.unlink()
    os.mkfifo(path)


def add_mask(path):
    save_grey(path, CUP)


@pytest.mark.parametrize('module, file, spoil, name, text, left', [
    (ddr, f'{DDR}/label/MA', remove, 'raw', 'none has masks of MA', 2),
    (ddr, f'{DDR}/image/007-1774-100.jpg', truncate, 'image/007-1774-100.jpg',
     'cannot be read', 2),
    (ddr, f'{DDR}/label/HE/007-1774-100.tif', truncate, 'HE/007-1774-100.tif',
     'cannot be read', 2),
    (refuge, 'REFUGE-Test-GT', remove, 'raw', 'none has masks of disc', 3),
    (drishti_gs, 'Training/GT', remove, 'raw', 'masks of cupseg, odseg', 0),
    (drive, 'training/1st_manual', remove, 'raw', 'masks of vessel', 0),
    (drive, IMAGE, truncate, IMAGE, 'cannot be read', 1),
    (drive, IMAGE, bomb, IMAGE, 'its header claims', 1),
    (drive, IMAGE, pipe, IMAGE, 'but a pipe', 1),
    (drive, MANUAL, remove, IMAGE, 'mask of vessel is missing', 1),
    (drive, 'training/1st_manual/30_manual1.gif', add_mask, '30_manual1.gif',
     'no photograph', 2),
    (idrid, f'{TRUTH}/3. Hard Exudates/IDRiD_02_EX.tif', remove,
     'IDRiD_02.jpg', 'its mask of EX, HE, SE, MA is missing', 1),
    (idrid, f'{TRUTH}/5. Optic Disc/IDRiD_02_OD.tif', remove, 'IDRiD_02.jpg',
     'its mask of OD is missing', 1),
    (idrid, f'{TRUTH}/5. Optic Disc', remove, '0 of 54 masks of OD',
     'What is prepared lacks OD', 2),
])
def test_what_is_wrong_is_named_and_the_rest_is_prepared(
        tmp_path, module, file, spoil, name, text, left):
    raw = raw_trees.MAKERS[module.__name__.split('.')[1]](tmp_path / 'raw')
    spoil(raw / file)
    summary = run(module.COLLECTION, raw, tmp_path / 'out', workers=1)
    error, = (e for e in summary.errors if name in e and text in e)
    assert f'ERROR {error}' in str(summary)
    for folder in ('images', 'ann', 'fov'):
        assert len(list((tmp_path / 'out').glob(f'*/*/{folder}/*.*'))) == left
    assert {p.name for p in tmp_path.iterdir()} <= {'raw', 'out'}


def pack(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content))


def test_packed_bombs(tmp_path):
    """What unpacks to more than its header claims is not believed."""
    path = tmp_path / 'im0001.ppm.gz'
    pack(path, ppm(4, 2) + b'\7' * 24 + b'\0' * 10**7)
    assert np.array(open_image(path)).shape == (2, 4, 3)
    # a TIFF may have its header at any place: all of it would be unpacked
    pack(path, BOMBS['tif'](4, 2))
    with pytest.raises(RefusedError, match='not a picture'):
        open_image(path)


def test_missing_lesions_of_idrid(tmp_path, monkeypatch):
    raw = raw_trees.make_idrid(tmp_path / 'raw')
    shutil.rmtree(raw / TRUTH / '4. Soft Exudates')
    summary = run(idrid.COLLECTION, raw, tmp_path / 'out', workers=1)
    assert summary.ok and 'has no masks of SE' in str(summary)
    path = 'out/IDRiD-FOVCrop-padding/train/ann/IDRiD_01.png'
    assert np.unique(read(tmp_path / path)).tolist() == [0, 1, 2, 4]
    # As if IDRiD published two photographs and two MA masks.
    monkeypatch.setitem(idrid.PHOTOGRAPHS, 'train', 2)
    monkeypatch.setitem(idrid.MASKS, 'train', dict(EX=2, HE=1, SE=0, MA=2,
                                                   OD=2))  # yapf: disable
    problem, = idrid.find(raw, 'train').problems
    assert 'has 1 of 2 masks of MA' in problem
    for lesion in ('1', '2', '3'):
        folder, = (raw / TRUTH).glob(f'{lesion}.*')
        shutil.rmtree(folder)
    errors = run(idrid.COLLECTION, raw, tmp_path / 'out', workers=1).errors
    assert any('none has masks of EX' in error for error in errors)


def test_links_out_of_the_raw_folder(tmp_path, monkeypatch):
    raw = raw_trees.make_drive(tmp_path / 'raw')
    shutil.move(raw / IMAGE, tmp_path / 'elsewhere.tif')
    (raw / IMAGE).symlink_to(tmp_path / 'elsewhere.tif')
    for prepare in (partial(run, drive.COLLECTION),
                    lambda *a: idrid_vessels.prepare(tmp_path, *a)):
        with pytest.raises(RefusedError, match='leads out of.*MBOS_ALLOW_L'):
            prepare(raw, tmp_path / 'out')
    assert not (tmp_path / 'out').exists()
    monkeypatch.setenv('MBOS_ALLOW_LINKS', str(tmp_path))
    summary = run(drive.COLLECTION, raw, tmp_path / 'out', workers=1)
    assert summary.ok and summary.splits['train'].prepared == 2


def test_links_within_the_raw_folder(tmp_path):
    """Also ones that lead in circles, and a raw folder that is a link; names
    that cannot be printed are refused."""
    raw = raw_trees.make_drive(tmp_path / 'raw')
    shutil.copy(raw / IMAGE, raw / 'training/images/23\n_training.tif')
    shutil.move(raw / 'training', raw / 'part1')
    (raw / 'training').symlink_to('part1')
    for name in 'abc':
        (raw / 'part1/images' / name).symlink_to('.')
    (tmp_path / 'link').symlink_to(raw)
    summary = run(
        drive.COLLECTION, tmp_path / 'link', tmp_path / 'out', workers=1)
    assert summary.splits['train'].prepared == 2
    error, = summary.errors
    assert r"'23\n_training.tif'" in error
