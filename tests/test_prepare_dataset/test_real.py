"""Real photographs, where MBOS_REAL_DATA names their folder."""
import os
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from raw_trees import read

from prepare_dataset import drishti_gs, drive, idrid
from prepare_dataset.record import read_geometry

REAL = Path(os.environ.get('MBOS_REAL_DATA', '/nonexistent'))


def needs(name):
    return pytest.mark.skipif(
        not (REAL / name).is_dir(), reason=f'MBOS_REAL_DATA has no {name}')


def some(name, folder, *stems):
    """A raw folder with a few of the photographs; all would take minutes."""
    for path in (REAL / name).rglob('*'):
        number = re.search(r'\d+', path.stem)
        if path.is_file() and number and number[0] in stems:
            copy = folder / path.relative_to(REAL / name)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
    return folder


@needs('DRIVE')
def test_drive_vessels_survive_the_crop(tmp_path):
    raw = some('DRIVE', tmp_path / 'raw', '01', '02', '03')
    summary = drive.prepare(raw, tmp_path, splits=['test'])
    assert summary.ok
    base = tmp_path / 'DRIVE-FOVCrop-padding/test'
    rows = read_geometry(base)
    assert len(rows) == summary.splits['test'].found
    for name, geometry in rows.items():
        number = name.split('_')[0]
        truth = read(raw / f'test/1st_manual/{number}_manual1.gif') > 0
        restored = geometry.restore(read(base / f'ann/{name}.png'))
        assert np.count_nonzero(truth != restored) <= 1
        # The camera's field of view is 540 pixels wide.
        assert abs(geometry.prepared_width - 540) <= 5


@needs('IDRiD')
def test_every_micro_aneurysm_survives_the_default_size(tmp_path):
    raw = some('IDRiD', tmp_path / 'raw', '03', '54')
    given = dict(workers=1, splits=['train'])
    assert idrid.prepare(raw, tmp_path / 'small', **given).ok
    assert idrid.prepare(raw, tmp_path / 'full', max_side=0, **given).ok
    ann = 'IDRiD-FOVCrop-padding/train/ann'
    for path in sorted((tmp_path / 'small' / ann).iterdir()):
        small, full = read(path), read(tmp_path / 'full' / ann / path.name)
        assert small.shape == (2048, 2048) and full.shape[0] > 3400
        for value in np.unique(full)[1:]:
            before, after = (np.uint8(x == value) for x in (full, small))
            count, parts = cv2.connectedComponents(before, connectivity=8)
            back = cv2.resize(
                after, full.shape, interpolation=cv2.INTER_NEAREST_EXACT)
            assert len(np.setdiff1d(parts[back > 0], 0)) == count - 1
            assert abs(after.mean() / before.mean() - 1) < 0.02


@needs('Drishti-GS_small')
def test_dark_photographs_keep_their_whole_retina(tmp_path):
    raw = some('Drishti-GS_small', tmp_path / 'raw', '002', '004', '018')
    assert drishti_gs.prepare(raw, tmp_path, splits=['train']).ok
    base = tmp_path / 'Drishti-GS-FOVCrop-padding/train'
    rows = read_geometry(base)
    # At the published threshold the box of 002 loses 167 of 1000 columns.
    assert rows['drishtiGS_002'].box_width == 1000
    assert rows['drishtiGS_018'].box_width == 1000
    for name, geometry in rows.items():
        inside = read(base / f'fov/{name}.png').mean()
        assert 0.70 < inside < 0.76
        labels = read(base / f'ann/{name}.png')
        assert np.unique(labels).tolist() == [0, 1, 2]
