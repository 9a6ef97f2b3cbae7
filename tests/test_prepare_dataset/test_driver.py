"""Restarting, sizes, processes and the command line."""
import os
import subprocess
import sys

import numpy as np
import pytest
import raw_trees
from PIL import Image
from raw_trees import read

from mbos.io import RefusedError
from prepare_dataset import ddr, drive, driver, reta
from prepare_dataset.cli import main
from prepare_dataset.driver import run

FOLDER = 'DRIVE-FOVCrop-padding/train'


@pytest.fixture
def raw(tmp_path):
    return raw_trees.make_drive(tmp_path / 'raw', range(21, 25))


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob('*')) if path.is_file()
    }


def test_photograph_is_turned_upright_with_its_mask(tmp_path):
    raw = raw_trees.make_reta(tmp_path / 'raw')
    path = raw / 'train/IDRiD_01.jpg'
    with Image.open(path) as image:
        image.load()
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(path, exif=exif, quality=100)
    assert run(reta.COLLECTION, raw, tmp_path / 'out', workers=1).ok
    with Image.open(tmp_path / 'out/RETA/train/images/IDRiD_01.jpg') as out:
        assert out.getexif().get(0x0112) is None
        upright = np.rot90(np.array(image), -1)
        assert np.abs(np.array(out, int) - upright).mean() < 2
    mask = read(raw / 'train_masks/IDRiD_01_vessel.png') > 0
    np.testing.assert_array_equal(
        read(tmp_path / 'out/RETA/train/ann/IDRiD_01.png'), np.rot90(mask, -1))


def test_second_run_skips_and_force_writes_again(raw, tmp_path):
    out = tmp_path / 'out'
    given = contents(raw)
    run(drive.COLLECTION, raw, out, workers=1)
    before = contents(out)
    mark = out / FOLDER / 'ann/21_training.png'
    os.utime(mark, (1, 1))
    summary = run(drive.COLLECTION, raw, out, workers=1)
    assert summary.splits['train'].skipped == 4
    assert mark.stat().st_mtime == 1
    summary = run(drive.COLLECTION, raw, out, workers=2, force=True)
    assert summary.splits['train'].prepared == 4
    assert mark.stat().st_mtime > 1
    assert contents(out) == before  # whatever the number of processes
    # an interrupted run is completed, and what is there is kept
    base = out / FOLDER
    mine = base / 'ann/22_training.png'
    raw_trees.save(mine, np.ones((85, 85), np.uint8))
    before[str(mine.relative_to(out))] = mine.read_bytes()
    (base / 'images/22_training.tif').unlink()
    (base / 'geometry.csv').unlink()
    # Left behind by a process that was killed; no process has this id.
    (base / 'images/22_training.tif.99999999.tmp').write_bytes(b'half')
    assert run(drive.COLLECTION, raw, out, workers=1).ok
    assert contents(out) == before
    # nothing is written elsewhere
    assert contents(raw) == given
    assert {p.name for p in tmp_path.iterdir()} == {'raw', 'out'}


@pytest.mark.parametrize('option, sides', [(None, (64, 85, 85)),
                                           (0, (85, 85, 85)),
                                           (70, (70, 70, 70))])
def test_training_splits_are_scaled_by_default(tmp_path, monkeypatch, option,
                                               sides):
    assert driver.MAX_SIDE == dict(train=2048)
    monkeypatch.setitem(driver.MAX_SIDE, 'train', 64)
    raw = raw_trees.make_ddr(tmp_path / 'raw')
    assert run(
        ddr.COLLECTION, raw, tmp_path / 'out', workers=1, max_side=option).ok
    for split, side in zip(('train', 'val', 'test'), sides):
        for path in (tmp_path / 'out').glob(f'*/{split}/*/*.*'):
            assert read(path).shape[:2] == (side, side)


@pytest.mark.parametrize('out, given, text', [
    ('raw/prepared', dict(), 'inside the raw folder'),
    ('out', dict(splits=['test']), 'nothing of DRIVE found'),
    ('out', dict(max_side=31), 'at least 32, or 0'),
])
def test_what_cannot_be_prepared_at_all(raw, tmp_path, out, given, text):
    with pytest.raises(RefusedError, match=text):
        run(drive.COLLECTION, raw, tmp_path / out, **given)


@pytest.mark.parametrize('raw_name, out, code, said', [
    ('raw', 'out', 0, '4 photographs found, 20 expected'),
    ('none', 'out', 1, 'none: is not a folder'),
    ('raw', 'file', 1, 'Not a directory'),
    ('raw', 'file/below', 1, 'Not a directory'),
    ('raw', 'blocked', 1, '21_training.tif: not prepared'),
])
def test_exit_codes(raw, tmp_path, capsys, monkeypatch, raw_name, out, code,
                    said):
    (tmp_path / 'file').write_text('x')
    images = tmp_path / 'blocked' / FOLDER / 'images'
    images.parent.mkdir(parents=True)
    images.write_text('in the way')
    monkeypatch.setattr(
        sys, 'argv',
        ['drive', str(tmp_path / raw_name),
         str(tmp_path / out)])
    with pytest.raises(SystemExit) as ended:
        main(drive.COLLECTION, '')
    assert ended.value.code == code
    shown = capsys.readouterr()
    assert said in shown.out + shown.err
    assert 'Errno' not in shown.out + shown.err
    assert shown.err.startswith('Error: ') == (code > 0 and out != 'blocked')


def test_preparing_imports_neither_torch_nor_mmcv():
    code = ('import sys, prepare_dataset.check, prepare_dataset.folder; '
            'print(sorted({"mmcv", "mbos.models", "torch"} & {*sys.modules}))')
    shown = subprocess.check_output([sys.executable, '-c', code], text=True)
    assert shown == '[]\n'
