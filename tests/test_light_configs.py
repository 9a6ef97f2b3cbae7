"""The light configs: splits, data, and a step of each stage."""
import glob
import os.path as osp

import numpy as np
import pytest
import torch
from mmcv.runner import build_optimizer
from mmseg.datasets import build_dataset
from mmseg.models import build_segmentor
from PIL import Image

import mbos  # noqa: F401
from mbos.apis import load_config
from mbos.config import member_datasets
from mbos.datasets import collate_samples
from mbos.engine.train import plain
from mbos.io.labels import save_labels

ROOT = osp.dirname(osp.dirname(__file__))
SPLITS = osp.join(ROOT, 'configs/light/splits')
STAGES = ['light_stage1', 'light_stage2', 'light_healthy']


def light(name):
    return load_config(osp.join(ROOT, f'configs/light/{name}.py'))


def stems(path):
    with open(path) as file:
        return file.read().split()


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
        stems(f'{SPLITS}/{collection}_{part}.txt')
        for part in ('train', 'val'))
    assert len({*train, *val}) == len(train) + len(val) == photographs
    assert not {s[patient] for s in train} & {s[patient] for s in val}


def test_splits_of_idrid_by_label():
    with_vessels, without, vessel_val = (
        set(stems(f'{SPLITS}/idrid_{part}.txt'))
        for part in ('vessel_train', 'no_vessel_train', 'vessel_val'))
    assert with_vessels | without == set(stems(f'{SPLITS}/idrid_train.txt'))
    assert not with_vessels & without
    assert vessel_val <= set(stems(f'{SPLITS}/idrid_val.txt'))
    assert len(with_vessels) + len(vessel_val) == 32


@pytest.mark.parametrize('name', STAGES)
def test_sides_are_apart(name):
    """Nothing that is trained on is validated or tested on."""
    cfg = light(name)
    sides = [
        {(m.img_dir, stem) for m in sets for stem in stems(m.split)}
        for sets in (member_datasets(cfg.data.train), cfg.data.val.datasets)
    ]  # yapf: disable
    assert sides[0] and sides[1] and not sides[0] & sides[1]
    trained = {folder for folder, _ in sides[0] | sides[1]}
    for key, test in cfg.test_sets.items():
        if key.endswith('_val'):  # the validation photographs, by name
            scored = {(test.img_dir, stem) for stem in stems(test.split)}
            assert scored <= sides[1]
        else:
            assert test.img_dir not in trained


@pytest.fixture(scope='module')
def photographs(tmp_path_factory):
    """An image of 96x96 in place of each, with all planes."""
    root = tmp_path_factory.mktemp('data')
    rng = np.random.default_rng(0)
    members = [
        m for name in STAGES for m in member_datasets(light(name).data.train)
    ]
    members += light('light_stage2').data.val.datasets
    for member in members:
        for stem in stems(member.split):
            image = root / member.img_dir / f'{stem}.jpg'
            image.parent.mkdir(parents=True, exist_ok=True)
            if not image.exists():
                pixels = rng.integers(0, 256, (96, 96, 3), np.uint8)
                Image.fromarray(pixels).save(image)
            folders = {**member.ann_dirs, **member.get('pseudo_dirs', {})}
            for task, entry in folders.items():
                path = entry if isinstance(entry, str) else entry.path
                highest = 4 if task == 'lesion' else 1
                plane = rng.integers(0, highest + 1, (96, 96), np.uint8)
                save_labels(str(root / path / f'{stem}.png'), plane)
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


@pytest.mark.parametrize('name, images', [(STAGES[0], 4), (STAGES[1], 5),
                                          (STAGES[2], 4)])
def test_a_step(name, images, photographs):
    cfg = fit(light(name), photographs)
    joint = build_dataset(cfg.data.train)
    torch.manual_seed(0)
    model = build_segmentor(cfg.model)
    model.init_weights()
    optimizers = build_optimizer(model, plain(cfg.optimizer))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    found = set()
    for index in range(images):  # until all that take turns were there
        batch = collate_samples([joint[index]])
        assert len(batch['img'].data[0]) == images
        outputs = model.train().train_step(
            {
                k: v.data[0]
                for k, v in batch.items()
            },
            backward=lambda loss: loss.backward())
        assert all(torch.isfinite(v) for v in outputs['losses'].values())
        found |= {name.split('.', 1)[1] for name in outputs['losses']}
    for optimizer in (optimizers.values() if isinstance(optimizers, dict) else
                      [optimizers]):  # yapf: disable
        optimizer.step()
    still = {k for k, v in model.named_parameters()
             if torch.equal(v, before[k])}  # yapf: disable
    # biases of keys have no effect on a softmax
    assert len(still) < 0.02 * len(before)
    truth = {f'loss_truth.{task}' for task in ('vessel', 'lesion', 'odoc')}
    assert truth <= found
    if name == STAGES[1]:
        assert {f'loss_pseudo.vessel.on_{d}' for d in ('idrid', 'drishti_gs')
                } | {'loss_pseudo.lesion.on_hrf', 'loss_adv.vessel.on_idrid',
                     'loss_disc_source.lesion'} <= found  # yapf: disable


def test_turns_with_healthy_eyes():
    """As many of HRF as before, split by health, each seen half as often."""
    members = member_datasets(light('light_healthy').data.train)
    hrf = [m for m in members if m.name == 'hrf']
    healthy, = (m for m in hrf if 'lesion' in m.ann_dirs)
    assert all(stem.endswith('_h') for stem in stems(healthy.split))
    assert sorted(s for m in hrf for s in stems(m.split)) == sorted(
        stems(f'{SPLITS}/hrf_train.txt'))


def test_foreground_is_rare_at_the_start():
    """A probability of 0.02, so that empty maps stand for background."""
    cfg = light('light_stage1')
    cfg.model.pretrained = None
    model = build_segmentor(cfg.model)
    model.init_weights()
    with torch.no_grad():
        prob = model.eval().encode_decode(
            torch.randn(1, 3, 64, 64), [dict(ori_shape=(64, 64, 3))])
    assert (prob.sigmoid() < 0.1).all()
    assert prob.shape == (1, 7, 64, 64)
    features = model.extract_feat(torch.randn(1, 3, 64, 64))
    assert [f.shape[-1] for f in features] == [32, 16, 8, 4, 2]


def test_every_light_config_is_tested():
    paths = glob.glob(osp.join(ROOT, 'configs/light/*.py'))
    assert {osp.splitext(osp.basename(p))[0] for p in paths} == set(STAGES)
