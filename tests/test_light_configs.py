"""The light configs: splits, data, and a step of each stage."""
import numpy as np
import pytest
import torch
from mmcv.runner import build_optimizer
from mmseg.datasets import build_dataset
from mmseg.models import build_segmentor
from PIL import Image

from mbos.apis import load_config, member_datasets
from mbos.config import plain
from mbos.datasets.loader import collate_samples
from mbos.io.labels import save_labels
from tests.tiny_runs import ROOT

LIGHT = ROOT / 'configs/light'
IMAGES = dict(light_stage1=4, light_stage2=5, light_healthy=4)
"""dict[str, int]: Images of an iteration, by config."""


def light(name):
    return load_config(str(LIGHT / f'{name}.py'))


def stems(split):
    """Lines of a split file, given by its path or its name."""
    return (LIGHT / 'splits' / split).read_text().split()


@pytest.mark.parametrize('collection, photographs, patient', [
    ('idrid', 54, slice(None)),
    ('drive', 20, slice(None)),
    ('hrf', 36, slice(None)),
    ('chase_db1', 14, slice(0, -1)),
    ('drishti_gs', 50, slice(None)),
])
def test_splits(collection, photographs, patient):
    """All of a collection's training photographs, each eye on one side."""
    train, val = (
        stems(f'{collection}_{part}.txt') for part in ('train', 'val'))
    assert len({*train, *val}) == len(train) + len(val) == photographs
    assert not {s[patient] for s in train} & {s[patient] for s in val}
    if collection == 'idrid':  # those with vessels, and those without
        with_vessels, without, vessel_val = (
            stems(f'idrid_{part}.txt')
            for part in ('vessel_train', 'no_vessel_train', 'vessel_val'))
        assert sorted(with_vessels + without) == sorted(train)
        assert set(vessel_val) <= set(val)
        assert len(with_vessels) + len(vessel_val) == 32


@pytest.mark.parametrize('name', IMAGES)
def test_sides_are_apart(name):
    """Nothing that is trained on is validated or tested on."""
    cfg = light(name)
    trained, validated = (
        {(m.img_dir, stem) for m in sets for stem in stems(m.split)}
        for sets in (member_datasets(cfg.data.train), cfg.data.val.datasets)
    )  # yapf: disable
    assert trained and validated and not trained & validated
    for key, test in cfg.test_sets.items():
        if key.endswith('_val'):  # the validation photographs, by name
            scored = {(test.img_dir, stem) for stem in stems(test.split)}
            assert scored <= validated
        else:
            assert test.img_dir not in {f for f, _ in trained | validated}


@pytest.fixture(scope='module')
def photographs(tmp_path_factory):
    """An image of 96x96 in place of each, with all planes."""
    root = tmp_path_factory.mktemp('data')
    rng = np.random.default_rng(0)
    for member in (m for name in IMAGES
                   for m in member_datasets(light(name).data.train)):
        (root / member.img_dir).mkdir(parents=True, exist_ok=True)
        folders = {**member.ann_dirs, **member.get('pseudo_dirs', {})}
        for stem in stems(member.split):
            pixels = rng.integers(0, 256, (96, 96, 3), np.uint8)
            Image.fromarray(pixels).save(root / member.img_dir / f'{stem}.jpg')
            for task, entry in folders.items():
                path = entry if isinstance(entry, str) else entry.path
                highest = 4 if task == 'lesion' else 1
                plane = rng.integers(0, highest + 1, (96, 96), np.uint8)
                save_labels(root / path / f'{stem}.png', plane)
    return str(root)


def fit(cfg, root):
    """The config on the images of 96x96, in crops of 64x64."""
    for member in member_datasets(cfg.data.train):
        member.data_root = root
        for step in member.pipeline:
            if step.type == 'LoadRandomCrop':
                step.img_scale, step.crop_size = (96, 96), (64, 64)
            elif step.type == 'Pad':
                step.size = (64, 64)
    cfg.model.pretrained = None
    return cfg


@pytest.mark.parametrize('name, images', IMAGES.items())
def test_a_step(name, images, photographs):
    cfg = fit(light(name), photographs)
    joint = build_dataset(cfg.data.train)
    torch.manual_seed(0)
    model = build_segmentor(cfg.model)
    model.init_weights()
    check_untrained(model)
    optimizers = build_optimizer(model, plain(cfg.optimizer))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    found = set()
    for index in range(images):  # until all that take turns were there
        samples = collate_samples([joint[index]])
        batch = {key: value.data[0] for key, value in samples.items()}
        assert len(batch['img']) == images
        losses = model.train().train_step(
            batch, backward=lambda loss: loss.backward())['losses']
        assert all(torch.isfinite(v) for v in losses.values())
        found |= {loss.split('.', 1)[1] for loss in losses}
    for optimizer in (optimizers.values() if isinstance(optimizers, dict) else
                      [optimizers]):  # yapf: disable
        optimizer.step()
    still = {k for k, v in model.named_parameters()
             if torch.equal(v, before[k])}  # yapf: disable
    # biases of keys have no effect on a softmax
    assert len(still) < 0.02 * len(before)
    assert {f'loss_truth.{t}' for t in ('vessel', 'lesion', 'odoc')} <= found
    if name == 'light_stage2':
        assert {f'loss_pseudo.vessel.on_{d}' for d in ('idrid', 'drishti_gs')
                } | {'loss_pseudo.lesion.on_hrf', 'loss_adv.vessel.on_idrid',
                     'loss_disc_source.lesion'} <= found  # yapf: disable


@torch.no_grad()
def check_untrained(model):
    """Foreground is rare: a probability of 0.02, so that empty maps stand for
    background.
    """
    image = torch.randn(1, 3, 64, 64)
    logits = model.eval().encode_decode(image, [dict(ori_shape=(64, 64, 3))])
    assert logits.shape == (1, 7, 64, 64) and (logits.sigmoid() < 0.1).all()
    features = model.extract_feat(image)
    assert [f.shape[-1] for f in features] == [32, 16, 8, 4, 2]
