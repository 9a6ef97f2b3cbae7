"""Prediction in ONNX Runtime: as in torch, and started without it."""
import subprocess
import sys

import numpy as np
import pytest
import torch

from mbos.checkpoints.loading import checkpoint_meta
from mbos.checkpoints.onnx_export import write_prediction_graph
from mbos.checkpoints.settings import PredictionSettings
from mbos.commands import predict as command
from mbos.inference.onnx_predictor import OnnxPredictor, graph_of
from mbos.inference.prediction import PredictionOptions
from mbos.inference.predictor import Predictor, load_model
from tests.test_inference.test_predictor import (photograph, pipeline, save,
                                                 settings)
from tests.utils import tiny_model, tiny_model_cfg

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')


@pytest.fixture(scope='module')
def network(tmp_path_factory):
    """A checkpoint, its network, and its graph."""
    folder = tmp_path_factory.mktemp('network')
    torch.manual_seed(0)
    model = tiny_model()
    for head in model.decode_head.heads.values():
        torch.nn.init.normal_(head.conv_seg.weight)
    meta = checkpoint_meta(model,
                           tiny_model_cfg().to_dict(),
                           settings(thresholds=dict(vessel=0.4)))
    checkpoint = save(folder / 'a.pth', model, meta)
    loaded = load_model(checkpoint, device='cpu')
    graph = str(folder / 'a.onnx')
    write_prediction_graph(loaded, graph)
    return checkpoint, loaded, graph


@pytest.mark.parametrize('options', [{}, dict(flip=True), dict(crop='pad')])
def test_as_in_torch(network, options):
    _, model, graph = network
    options = PredictionOptions(**options)
    images = [photograph(), photograph(90, 140)]
    sides = []
    for predictor in (Predictor(model, options), OnnxPredictor(graph,
                                                               options)):
        sides.append([predictor.predict(image) for image in images])
    assert list(model.tasks) == list(sides[1][0].labels)
    for ours, theirs in zip(*sides):
        for name in model.tasks:
            np.testing.assert_allclose(
                theirs.probabilities[name],
                ours.probabilities[name],
                atol=1e-4)
            assert np.mean(theirs.labels[name] != ours.labels[name]) < 1e-3


@pytest.mark.parametrize('options', [
    dict(mode='slide'),
    dict(scales=(0.5, 1.0)),
    dict(window=64),
    dict(crop='none')
])
def test_what_needs_torch_says_so(network, options):
    with pytest.raises(ValueError, match='--backend torch'):
        OnnxPredictor(network[2], PredictionOptions(**options))


def test_pipelines_that_need_torch(network):
    model = network[1]
    steps = pipeline()
    steps[1]['transforms'].append(dict(type='Pad', size_divisor=32))
    before, model.settings = model.settings, PredictionSettings(steps)
    try:
        with pytest.raises(ValueError, match='Pad.*--backend torch'):
            write_prediction_graph(model, 'never.onnx')
    finally:
        model.settings = before


def test_graphs_are_made_once(network, tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    made = []

    def write(path):
        made.append(path)
        with open(path, 'w') as file:
            file.write('graph')

    def fail(path):
        raise ValueError('unknown operator')

    first = graph_of(network[0], '', write)
    assert graph_of(network[0], '', write) == first
    assert graph_of(network[0], 'a config', write) != first
    assert len(made) == 2
    with pytest.raises(ValueError, match='unknown operator'):
        graph_of(network[0], 'another', fail)
    assert sorted(p.suffix for p in tmp_path.rglob('*.*')) == 2 * ['.onnx']


def test_command(network, tmp_path, monkeypatch):
    """The second run imports neither torch nor mmseg."""
    from PIL import Image
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    eye = tmp_path / 'eye.png'
    Image.fromarray(photograph()).save(eye)
    arguments = [network[0], str(eye), '--backend', 'onnxruntime', '--out']
    assert command.main([*arguments, str(tmp_path / 'first')]) == 0
    script = ('import sys; from mbos.commands.predict import main; '
              'status = main(sys.argv[1:]); '
              'print(status, {"torch", "mmseg", "mmcv"} & set(sys.modules))')
    done = subprocess.run(
        [sys.executable, '-c', script, *arguments,
         str(tmp_path / 'second')],
        capture_output=True,
        text=True)
    assert done.stdout.splitlines()[-1] == '0 set()', done.stderr
    for out in ('first', 'second'):
        assert (tmp_path / out / 'labels/odoc/eye.png').is_file()
