"""The network that comes with the package."""
from pathlib import Path

import numpy as np
import pytest

from mbos import zoo
from mbos.apis import file_sha256, load_model, predict
from tests.tiny_runs import run_tool

PHOTOGRAPHS = Path(__file__).resolve().parents[1] / 'demo/photographs'
# Centre and vertical diameter of the discs in IDRiD's own masks, in pixels
DISCS = {'IDRiD_01': (3245, 1399, 549), 'IDRiD_47': (2712, 1208, 661)}


@pytest.fixture(scope='module')
def network():
    return load_model(device='cpu')


def test_names(monkeypatch, tmp_path):
    assert zoo.DEFAULT in zoo.NETWORKS
    assert Path(zoo.checkpoint_path('fundus-light')).is_file()
    assert zoo.checkpoint_path('iter_4.pth') == 'iter_4.pth'
    for misspelt in ('fundus-lihgt', 'fundus_light', 'Fundus-Light'):
        with pytest.raises(FileNotFoundError, match='mean fundus-light?'):
            load_model(misspelt)
    monkeypatch.chdir(tmp_path)
    Path('fundus-light').touch()  # a file of the user's goes first
    assert zoo.checkpoint_path('fundus-light') == 'fundus-light'


@pytest.mark.parametrize('name', zoo.NETWORKS)
def test_card_and_size(name):
    path = zoo.checkpoint_path(name)
    assert Path(path).stat().st_size <= 16e6
    text = Path(zoo.card_path(name)).read_text()
    assert file_sha256(path) in text and 'not a medical device' in text


@pytest.mark.parametrize('name', DISCS)
def test_finds_what_is_in_photographs(network, name):
    result = predict(network, PHOTOGRAPHS / f'{name}.jpg', probabilities=False)
    shape = (2848, 4288)
    shapes = {task: plane.shape for task, plane in result.labels.items()}
    assert shapes == dict(vessel=shape, lesion=shape, odoc=shape)
    x, y, diameter = DISCS[name]
    rows, columns = np.nonzero(result.labels['odoc'])
    assert np.hypot(columns.mean() - x, rows.mean() - y) < diameter / 10
    assert abs(np.ptp(rows) + 1 - diameter) < diameter / 8
    view = np.count_nonzero(result.field_of_view.mask)
    assert 0.06 < np.count_nonzero(result.labels['vessel']) / view < 0.14
    assert {1, 2} <= set(np.unique(result.labels['lesion']))  # EX and HE


def test_command_without_a_checkpoint(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    assert not run_tool(monkeypatch, 'predict.py',
                        PHOTOGRAPHS / 'IDRiD_01.jpg', '--out', 'out',
                        '--no-overlays', '--no-gallery', '--device', 'cpu')
    assert 'Network fundus-light, which comes with MBOS' in (
        capsys.readouterr().out)
    assert (tmp_path / 'out/labels/odoc/IDRiD_01.png').is_file()
