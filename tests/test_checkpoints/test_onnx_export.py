"""ONNX graphs: the same probabilities, for any number and size of images."""
import json

import numpy as np
import pytest
import torch

from mbos.apis import PredictionSettings
from mbos.checkpoints import onnx_export
from mbos.checkpoints.loading import checkpoint_meta
from tests.utils import tiny_model, tiny_model_cfg

onnx = pytest.importorskip('onnx')
onnxruntime = pytest.importorskip('onnxruntime')

MEAN, STD = (95.523, 57.776, 25.422), (58.273, 35.645, 16.790)


def randomize(model, seed=0):
    """Weights that make every part of the network matter."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        spread = 0.2 if parameter.dim() > 1 else 0.5
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data += spread * noise
    return model.eval()


@pytest.fixture(scope='module', params=[None, 8], ids=['stage1', 'xta'])
def exported(request, tmp_path_factory):
    model = randomize(tiny_model(window=request.param))
    path = str(tmp_path_factory.mktemp('onnx') / 'model.onnx')
    onnx_export.export_onnx(model, path, MEAN, STD, dict(made_by='a test'))
    return model, path


@pytest.mark.parametrize('shape', [(1, 64, 64), (3, 96, 128), (2, 70, 101),
                                   (1, 33, 250)])
def test_same_probabilities(exported, shape):
    model, path = exported
    assert onnx_export.largest_difference(model, path, MEAN, STD, shape) < 1e-5


def test_outputs_differ_between_images_and_tasks(exported):
    """The comparison would notice a graph that ignores its input."""
    model, path = exported
    session = onnxruntime.InferenceSession(
        path, providers=['CPUExecutionProvider'])
    rng = np.random.default_rng(0)
    image = rng.uniform(0, 255, (2, 3, 64, 64)).astype(np.float32)
    outputs = dict(
        zip(model.tasks, session.run(list(model.tasks), {'image': image})))
    assert {
        k: v.shape[1]
        for k, v in outputs.items()
    } == dict(
        vessel=1, lesion=4, odoc=2)
    for prob in outputs.values():
        assert prob.min() >= 0 and prob.max() <= 1 and prob.std() > 1e-3
        assert np.abs(prob[0] - prob[1]).max() > 1e-3


def test_metadata(exported):
    _, path = exported
    props = {p.key: p.value for p in onnx.load(path).metadata_props}
    assert json.loads(props['mbos']) == dict(made_by='a test')


def test_nothing_is_left_of_a_failed_export(tmp_path, monkeypatch):
    model = tiny_model()
    monkeypatch.setattr(
        torch.onnx, 'export',
        lambda *a, **k: open(a[2], 'w').write('half') and 1 / 0)
    with pytest.raises(ZeroDivisionError):
        onnx_export.export_onnx(model, str(tmp_path / 'a.onnx'), MEAN, STD, {})
    assert not list(tmp_path.iterdir())


def test_tool(tool, tmp_path, capsys):
    """From a checkpoint alone; the metadata hold the preprocessing."""
    model = randomize(tiny_model(window=8))
    cfg = tiny_model_cfg(window=8)
    settings = PredictionSettings(
        pipeline=[
            dict(
                type='MultiScaleFlipAug',
                img_scale=(64, 64),
                transforms=[
                    dict(type='Normalize', mean=MEAN, std=STD, to_rgb=True)
                ])
        ],
        thresholds=dict(lesion=0.3))
    meta = dict(
        checkpoint_meta(model, json.loads(json.dumps(cfg)), settings), iter=3)
    torch.save(
        dict(state_dict=model.state_dict(), meta=meta), tmp_path / 'a.pth')
    assert tool('export_onnx.py', 'a.pth', 'out/a.onnx') is None
    said = capsys.readouterr().out
    assert 'largest difference of a probability' in said
    props = {p.key: p.value for p in onnx.load('out/a.onnx').metadata_props}
    described = json.loads(props['mbos'])
    assert described['image_scale'] == [64, 64]
    assert described['thresholds'] == dict(vessel=0.5, lesion=0.3, odoc=0.5)
    tasks = described['tasks']
    assert tasks['lesion']['classes'] == ['EX', 'HE', 'SE', 'MA']
    assert tasks['odoc']['nested'] and not tasks['vessel']['nested']
    assert 'must end in .onnx' in tool('export_onnx.py', 'a.pth', 'a.pt')


def test_tool_refuses_a_graph_that_differs(tool, tmp_path, monkeypatch):
    """A wrong file must not stay behind, nor take a good one's place."""
    model = tiny_model()
    cfg = json.loads(json.dumps(tiny_model_cfg()))
    torch.save(
        dict(state_dict=model.state_dict(), meta=checkpoint_meta(model, cfg)),
        tmp_path / 'a.pth')
    (tmp_path / 'a.onnx').write_text('the last one')
    monkeypatch.setattr(onnx_export, 'largest_difference', lambda *a, **k: 0.1)
    assert 'differs from the network by 1.0e-01' in tool(
        'export_onnx.py', 'a.pth', 'a.onnx')
    assert (tmp_path / 'a.onnx').read_text() == 'the last one'
    assert len(list(tmp_path.iterdir())) == 2
