"""Raw trees that somebody else packed: bombs, links, pipes, odd names."""
import gzip
import os
import shutil

import numpy as np
import pytest
import raw_trees

from mbos.io import RefusedError
from prepare_dataset import drive, idrid_vessels, stare
from prepare_dataset.errors import PrepareError
from prepare_dataset.labels import open_image
from tests.bombs import BOMBS, ppm

IMAGE = 'training/images/21_training.tif'


@pytest.fixture
def raw(tmp_path):
    return raw_trees.make_drive(tmp_path / 'raw')


def test_bombs(raw, tmp_path):
    """Named; the other photograph is prepared."""
    (raw / IMAGE).write_bytes(BOMBS['tif'](60000, 60000))
    summary = drive.prepare(raw, tmp_path / 'out', workers=1)
    error, = summary.errors
    assert error.startswith(f'{raw / IMAGE}: its header claims')
    assert summary.splits['train'].prepared == 1
    assert not list((tmp_path / 'out').rglob('*21*'))


def test_packed_bombs(tmp_path):
    """Neither the claim nor what unpacks to more than claimed is believed."""
    path = tmp_path / 'im0001.ppm.gz'
    path.write_bytes(gzip.compress(ppm(60000, 60000)))
    with pytest.raises(RefusedError, match='its header claims'):
        open_image(path)
    content = ppm(4, 2) + b'\7' * 24 + b'\0' * 10**7
    path.write_bytes(gzip.compress(content))
    assert np.array(open_image(path)).shape == (2, 4, 3)
    # a TIFF may have its header at any place: all of it would be unpacked
    path.write_bytes(gzip.compress(BOMBS['tif'](4, 2)))
    with pytest.raises(PrepareError, match='cannot be read'):
        open_image(path)


def test_packed_pipe(tmp_path):
    os.mkfifo(tmp_path / 'im0001.ppm.gz')
    with pytest.raises(RefusedError, match='but a pipe'):
        open_image(tmp_path / 'im0001.ppm.gz')


def test_links_out_of_the_raw_folder(raw, tmp_path, monkeypatch):
    shutil.move(raw / IMAGE, tmp_path / 'elsewhere.tif')
    (raw / IMAGE).symlink_to(tmp_path / 'elsewhere.tif')
    with pytest.raises(PrepareError, match='leads out of.*MBOS_ALLOW_LINKS'):
        drive.prepare(raw, tmp_path / 'out', workers=1)
    assert not (tmp_path / 'out').exists()
    with pytest.raises(PrepareError, match='leads out of'):
        idrid_vessels.prepare(tmp_path, raw, tmp_path / 'out')
    monkeypatch.setenv('MBOS_ALLOW_LINKS', str(tmp_path))
    summary = drive.prepare(raw, tmp_path / 'out', workers=1)
    assert summary.ok and summary.splits['train'].prepared == 2


def test_links_within_the_raw_folder(raw, tmp_path):
    """Also ones that lead in circles, and a raw folder that is a link."""
    shutil.move(raw / 'training', raw / 'part1')
    (raw / 'training').symlink_to('part1')
    for name in 'abc':
        (raw / 'part1/images' / name).symlink_to('.')
    (tmp_path / 'link').symlink_to(raw)
    summary = drive.prepare(tmp_path / 'link', tmp_path / 'out', workers=1)
    assert summary.splits['train'].prepared == 2


def test_pipes_and_odd_names(raw, tmp_path):
    (raw / IMAGE).unlink()
    os.mkfifo(raw / IMAGE)
    shutil.copy(raw / 'training/images/22_training.tif',
                raw / 'training/images/23\n_training.tif')
    summary = drive.prepare(raw, tmp_path / 'out', workers=1)
    assert sorted('but a pipe' in e for e in summary.errors) == [False, True]
    assert any(r"'23\n_training.tif'" in e for e in summary.errors)
    assert summary.splits['train'].prepared == 1


def test_gzip_of_a_collection(tmp_path):
    folder = tmp_path / 'STARE'
    for name in ('stare-images/im0001', 'labels-ah/im0001.ah'):
        (folder / name).parent.mkdir(parents=True)
        (folder / f'{name}.ppm.gz').write_bytes(
            gzip.compress(ppm(60000, 60000)))
    summary = stare.prepare(folder, tmp_path / 'out', workers=1)
    error, = summary.errors
    assert 'im0001.ppm.gz: its header claims' in error
