"""ONNX graphs: the same probabilities, for any number and size of images."""
import json

import numpy as np
import pytest
import torch

from mbos.apis import PredictionSettings, load_model
from mbos.checkpoints import onnx_export
from mbos.checkpoints.loading import checkpoint_meta
from tests.utils import tiny_model, tiny_model_cfg

onnx = pytest.importorskip('onnx')
onnxruntime = pytest.importorskip('onnxruntime')

SETTINGS = PredictionSettings(
    pipeline=[
        dict(
            type='MultiScaleFlipAug',
            img_scale=(64, 64),
            transforms=[
                dict(
                    type='Normalize',
                    mean=(95.523, 57.776, 25.422),
                    std=(58.273, 35.645, 16.790),
                    to_rgb=True)
            ])
    ],
    thresholds=dict(lesion=0.3))


def network(window=None):
    """With weights that make every part matter."""
    model = tiny_model(window=window)
    model.settings = SETTINGS
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        spread = 0.2 if parameter.dim() > 1 else 0.5
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data += spread * noise
    return model.eval()


def metadata(path):
    props = {p.key: p.value for p in onnx.load(path).metadata_props}
    return json.loads(props['mbos'])


@pytest.fixture(scope='module', params=[None, 8], ids=['stage1', 'xta'])
def exported(request, tmp_path_factory):
    model = network(request.param)
    path = str(tmp_path_factory.mktemp('onnx') / 'model.onnx')
    onnx_export.export_onnx(model, path, dict(made_by='a test'), check=False)
    return model, path


@pytest.mark.parametrize('shape', [(1, 64, 64), (3, 96, 128), (2, 70, 101),
                                   (1, 33, 250)])
def test_same_probabilities(exported, shape):
    model, path = exported
    assert onnx_export.largest_difference(model, path, shape) < 1e-5


def test_outputs_differ_between_images_and_tasks(exported):
    """The comparison would notice a graph that ignores its input."""
    model, path = exported
    session = onnxruntime.InferenceSession(
        path, providers=['CPUExecutionProvider'])
    rng = np.random.default_rng(0)
    image = rng.uniform(0, 255, (2, 3, 64, 64)).astype(np.float32)
    outputs = session.run(list(model.tasks), {'image': image})
    assert [prob.shape[1] for prob in outputs] == [1, 4, 2]
    for prob in outputs:
        assert prob.min() >= 0 and prob.max() <= 1 and prob.std() > 1e-3
        assert np.abs(prob[0] - prob[1]).max() > 1e-3
    assert metadata(path) == dict(made_by='a test')


@pytest.mark.slow
def test_the_network_that_comes_with_the_package(tmp_path):
    model = load_model(device='cpu')
    path = str(tmp_path / 'light.onnx')
    assert onnx_export.export_onnx(model, path, {}) < onnx_export.TOLERANCE


@pytest.fixture
def checkpoint(tmp_path):
    model = network(window=8)
    cfg = json.loads(json.dumps(tiny_model_cfg(window=8)))
    meta = checkpoint_meta(model, cfg, SETTINGS)
    torch.save(
        dict(state_dict=model.state_dict(), meta=meta), tmp_path / 'a.pth')


def test_tool(tool, checkpoint, capsys):
    """From a checkpoint alone; the metadata hold the preprocessing."""
    assert tool('export_onnx.py', 'a.pth', 'out/a.onnx') is None
    said = capsys.readouterr().out
    assert 'largest difference of a probability' in said
    described = metadata('out/a.onnx')
    assert described['image_scale'] == [64, 64]
    assert described['thresholds'] == dict(vessel=0.5, lesion=0.3, odoc=0.5)
    tasks = described['tasks']
    assert tasks['lesion']['classes'] == ['EX', 'HE', 'SE', 'MA']
    assert tasks['odoc']['nested'] and not tasks['vessel']['nested']
    assert 'must end in .onnx' in tool('export_onnx.py', 'a.pth', 'a.pt')


@pytest.mark.parametrize('broken, message', [
    ('largest_difference', 'differs from the network by 1.0e-01'),
    ('_write', 'cannot be exported'),
])
def test_nothing_takes_the_place_of_a_good_file(tool, checkpoint, tmp_path,
                                                monkeypatch, broken, message):

    def fail(*args, **_):
        if broken == 'largest_difference':
            return 0.1
        with open(args[1], 'w') as file:
            file.write('half')
        raise AssertionError('an operator')

    (tmp_path / 'a.onnx').write_text('the last one')
    monkeypatch.setattr(onnx_export, broken, fail)
    assert message in tool('export_onnx.py', 'a.pth', 'a.onnx')
    assert (tmp_path / 'a.onnx').read_text() == 'the last one'
    assert len(list(tmp_path.iterdir())) == 2
