"""ONNX graphs give the same probabilities as the network."""
import json

import numpy as np
import pytest
import torch
from mmseg.models import build_segmentor

from mbos.apis import PredictionSettings, load_model
from mbos.checkpoints.loading import checkpoint_meta
from tests.utils import tiny_model_cfg

onnx = pytest.importorskip('onnx')
onnxruntime = pytest.importorskip('onnxruntime')
onnx_export = pytest.importorskip('mbos.checkpoints.onnx_export')

NORMALIZE = dict(
    type='Normalize',
    mean=(95.523, 57.776, 25.422),
    std=(58.273, 35.645, 16.790),
    to_rgb=True)
SCALED = dict(
    type='MultiScaleFlipAug', img_scale=(64, 64), transforms=[NORMALIZE])
SETTINGS = PredictionSettings([SCALED], thresholds=dict(lesion=0.3))
RESNET = dict(
    type='ResNet', depth=18, base_channels=12, norm_cfg=dict(type='BN'))


def network_cfg(backbone=None):
    cfg = tiny_model_cfg(window=8)
    if backbone:
        cfg['backbone'] = dict(backbone)
    return json.loads(json.dumps(cfg))


def network(cfg):
    """With weights that make every part matter."""
    model = build_segmentor(cfg)
    model.settings = SETTINGS
    torch.manual_seed(0)
    for parameter in model.parameters():
        spread = 0.2 if parameter.dim() > 1 else 0.5
        parameter.data += spread * torch.randn_like(parameter)
    return model.eval()


def metadata(path):
    props = {p.key: p.value for p in onnx.load(path).metadata_props}
    return json.loads(props['mbos'])


def compare(model, path, *shape):
    """The graph's probabilities, each compared with the network's."""
    rng = np.random.default_rng(0)
    image = rng.uniform(0, 255, shape).astype(np.float32)
    session = onnxruntime.InferenceSession(
        path, providers=['CPUExecutionProvider'])
    found = session.run(list(model.tasks), {'image': image})
    mean, std = (
        torch.tensor(NORMALIZE[k]).view(1, 3, 1, 1) for k in ('mean', 'std'))
    with torch.no_grad():
        expected = model.encode_decode((torch.tensor(image) - mean) / std,
                                       None).sigmoid()
    for prob, value in zip(found, model.split(expected).values(), strict=True):
        np.testing.assert_allclose(prob, value, atol=1e-5)
        assert prob.std() > 1e-3
        assert shape[0] == 1 or np.abs(prob[0] - prob[1]).max() > 1e-3


def test_any_number_and_size_of_images(tmp_path):
    model, path = network(network_cfg(RESNET)), str(tmp_path / 'a.onnx')
    assert onnx_export.export_onnx(model, path) < 1e-5
    for shape in ((1, 64, 64), (3, 96, 128), (2, 70, 101), (1, 33, 250)):
        compare(model, path, shape[0], 3, *shape[1:])


@pytest.mark.slow
def test_the_network_that_comes_with_the_package(tmp_path):
    """At the size it is used at, where maps have millions of values."""
    model = load_model(device='cpu')
    path = str(tmp_path / 'light.onnx')
    onnx_export.export_onnx(model, path)
    network = onnx_export.ProbabilityNetwork(model)
    shape = (1, 3, 1152, 1152)
    assert onnx_export.largest_difference(network, path, shape) < 1e-4


def test_tool(tool, tmp_path, capsys, monkeypatch):
    """From a checkpoint alone; the metadata hold the preprocessing."""
    cfg = network_cfg()
    model = network(cfg)
    meta = checkpoint_meta(model, cfg, SETTINGS)
    torch.save(dict(state_dict=model.state_dict(), meta=meta), 'a.pth')
    command = 'export_onnx.py', 'a.pth', 'a.onnx', '--size', 70, 101
    assert tool(*command) is None
    assert 'largest difference of a probability' in capsys.readouterr().out
    compare(model, 'a.onnx', 1, 3, 70, 101)
    described = metadata('a.onnx')
    assert described['image_scale'] == [64, 64]
    assert described['thresholds'] == dict(vessel=0.5, lesion=0.3, odoc=0.5)
    tasks = described['tasks']
    assert tasks['lesion']['classes'] == ['EX', 'HE', 'SE', 'MA']
    assert tasks['odoc']['nested'] and not tasks['vessel']['nested']
    assert tool('export_onnx.py', 'a.pth', 'a.pt') == 2
    # nothing takes the place of a good file
    before = (tmp_path / 'a.onnx').read_bytes()
    monkeypatch.setattr(onnx_export, 'largest_difference', lambda *args: 0.1)
    assert 'differs by 1.0e-01' in tool(*command)
    assert (tmp_path / 'a.onnx').read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 2
