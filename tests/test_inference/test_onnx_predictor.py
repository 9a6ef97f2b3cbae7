"""Prediction in ONNX Runtime: as in torch, and started without it."""
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mbos.checkpoints.onnx_export import write_prediction_graph
from mbos.checkpoints.settings import PredictionSettings
from mbos.commands import predict as command
from mbos.inference.onnx_predictor import OnnxPredictor, graph_of
from mbos.inference.prediction import PredictionOptions
from mbos.inference.predictor import Predictor, load_model
from tests.test_inference.test_predictor import (photograph, pipeline,
                                                 save_network)

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')


@pytest.fixture(scope='module')
def network(tmp_path_factory):
    """A checkpoint, its network, and its graph."""
    folder = tmp_path_factory.mktemp('network')
    _, path = save_network(folder / 'a.pth', thresholds=dict(vessel=0.4))
    loaded = load_model(path, device='cpu')
    write_prediction_graph(loaded, str(folder / 'a.onnx'))
    return path, loaded, str(folder / 'a.onnx')


@pytest.mark.parametrize('options', [{}, dict(crop='pad')])
def test_as_in_torch(network, options):
    _, model, graph = network
    options = PredictionOptions(**options)
    torchs, onnxs = Predictor(model, options), OnnxPredictor(graph, options)
    for image in (photograph(), photograph(90, 140)):
        ours, theirs = torchs.predict(image), onnxs.predict(image)
        assert list(model.tasks) == list(theirs.labels)
        for name in model.tasks:
            pair = theirs.probabilities[name], ours.probabilities[name]
            np.testing.assert_allclose(*pair, atol=1e-4)
            assert np.mean(theirs.labels[name] != ours.labels[name]) < 1e-3


def test_what_needs_torch(network, monkeypatch):
    for options in (dict(mode='slide'), dict(scales=(0.5, 1)), dict(flip=True),
                    dict(window=64), dict(crop='none')):
        with pytest.raises(ValueError, match='--backend torch'):
            OnnxPredictor(network[2], PredictionOptions(**options))
    steps = pipeline()
    steps[1]['transforms'].append(dict(type='Pad', size_divisor=32))
    monkeypatch.setattr(network[1], 'settings', PredictionSettings(steps))
    with pytest.raises(ValueError, match='Pad.*--backend torch'):
        write_prediction_graph(network[1], 'never.onnx')


def test_command(network, tmp_path, monkeypatch):
    """The second run imports neither torch nor mmseg; a config's graph is
    another one."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    eye = tmp_path / 'eye.png'
    Image.fromarray(photograph()).save(eye)
    arguments = [network[0], str(eye), '--backend', 'onnxruntime', '--out']
    assert command.main([*arguments, str(tmp_path / 'first')]) == 0
    script = ('import sys; from mbos.commands.predict import main; '
              'status = main(sys.argv[1:]); '
              'print(status, {"torch", "mmseg", "mmcv"} & set(sys.modules))')
    program = [sys.executable, '-c', script, *arguments, tmp_path / 'second']
    done = subprocess.run(program, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == '0 set()', done.stderr
    assert len(list(tmp_path.glob('*/labels/odoc/eye.png'))) == 2
    made, = (tmp_path / 'cache').rglob('*.onnx')
    other = graph_of(network[0], 'a config', lambda path: Path(path).touch())
    assert other != str(made)
