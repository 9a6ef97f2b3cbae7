"""Variants, ablations, as-released and light configs: each is built, steps."""
import glob
import os.path as osp

import pytest
import torch
from mmcv import Config
from mmcv.runner import build_optimizer
from mmseg.datasets.pipelines import Compose
from mmseg.models import build_segmentor

from mbos.apis import load_config, member_datasets
from mbos.config import plain
from mbos.tasks import build_tasks
from tests.tiny_runs import ROOT
from tests.utils import make_meta, stack_planes, tiny_model_cfg


def find(pattern):
    return sorted(glob.glob(str(ROOT / 'configs' / pattern)))


STAGE1, = find('_multi_task_/*40k*refuge.py')
STAGE2, = find('_multi_gan_/*size16.py')
RELEASED = find('_multi_*/*_as_released.py')
VARIANTS = find('variants/*.py')
LIGHT = find('light/*.py')
ALL = {'generator', 'discriminators', 'auxiliary_discriminators'}
TRUTH, PSEUDO = {'loss_truth'}, {'loss_pseudo'}
GAME = {'loss_adv', 'loss_disc_source', 'loss_disc_target'}
LOADING = ['LoadImageFromFile', 'LoadPlanes', 'Resize', 'RandomCrop']


def each(paths):
    return pytest.mark.parametrize('path', paths, ids=osp.basename)


def shrink(cfg):
    """The config's model at a few thousand weights, all else as it is."""
    model, tiny = cfg.model.copy(), tiny_model_cfg()
    model.pretrained, model.backbone = None, tiny.backbone
    for name in ('decode_head', 'auxiliary_head'):
        head = tiny[name].head
        model[name].head.update(
            in_channels=head.in_channels, channels=head.channels)
    if model.decode_head.get('cross_task_attention'):
        model.decode_head.cross_task_attention.window_size = 4
    if model.get('discriminator'):
        model.discriminator.channels = 2
    return model


def batch(cfg, size=64):
    """A random image of each training set, with its planes."""
    names = [task.name for task in build_tasks(cfg.model.tasks)]
    metas, labels = [], []
    for member in member_datasets(cfg.data.train):
        truth, pseudo = (
            list(member.get(key) or {}) for key in ('ann_dirs', 'pseudo_dirs'))
        weights = member.get('weights')
        metas.append(make_meta(member.name, names, truth, pseudo, weights))
        drawn = torch.randint(0, 2, (len(names), size, size)).numpy()
        planes = {t: p for t, p in zip(names, drawn) if t in truth + pseudo}
        labels.append(stack_planes(names, size, size, **planes))
    img = torch.randn(len(metas), 3, size, size)
    return dict(img=img, img_metas=metas, labels=torch.stack(labels))


def step(cfg, model_cfg=None, least=0.9):
    """Build, initialise and train one iteration; returns the model, the names
    of its losses without their head, and of its optimizers. At ``least`` that
    share of the weights moves.
    """
    torch.manual_seed(0)
    model = build_segmentor(model_cfg or shrink(cfg))
    model.init_weights()
    optimizers = build_optimizer(model, plain(cfg.optimizer))
    if not isinstance(optimizers, dict):
        optimizers = dict(generator=optimizers)
    before = [p.detach().clone() for p in model.parameters()]
    losses = model.train().train_step(
        batch(cfg), backward=lambda loss: loss.backward())['losses']
    for optimizer in optimizers.values():
        optimizer.step()
    moved = [not torch.equal(a, b) for a, b in zip(before, model.parameters())]
    assert all(torch.isfinite(v) for v in losses.values())
    assert all(torch.isfinite(p).all() for p in model.parameters())
    # biases of keys have no effect on a softmax, dead paths do not train
    assert sum(moved) > least * len(moved)
    names = {name.split('.', 1)[1] for name in losses if 'loss' in name}
    return model, names, set(optimizers)


def kinds(losses):
    """Names of losses without task and dataset."""
    return {name.partition('.')[0] for name in losses}


@each(VARIANTS)
def test_variants_step(path):
    name = osp.basename(path).removesuffix('.py')
    model, losses, optimizers = step(load_config(path))
    single = name.startswith('single_task')
    terms = TRUTH if single else TRUTH | PSEUDO | GAME
    terms -= dict(
        without_adversarial=GAME, without_pseudo_labels=PSEUDO).get(
            name, set())  # yapf: disable
    assert kinds(losses) == terms
    assert optimizers == (ALL if GAME <= terms else {'generator'})
    attention = model.decode_head.cross_task_attention
    assert (attention is None) == (single or name == 'without_xta')
    if single:
        assert list(model.tasks) == [name.rpartition('_')[2]]
    if name == 'xta_block_per_pair':
        assert len(attention.blocks) == 6


@each(VARIANTS + RELEASED + LIGHT)
def test_data_sets_know_the_models_tasks(path):
    cfg = load_config(path)
    tasks = {t.name for t in build_tasks(cfg.model.tasks)}
    for member in [
            *member_datasets(cfg.data.train), *cfg.data.val.datasets,
            cfg.data.test, *cfg.test_sets.values()
    ]:
        Compose(plain(member.pipeline))
        folders = {**member.get('ann_dirs', {}),
                   **member.get('pseudo_dirs', {})}  # yapf: disable
        assert set(folders) and set(folders) <= tasks
        # images and labels come from the same collection
        paths = [e if isinstance(e, str) else e['path']
                 for e in folders.values()]  # yapf: disable
        assert {p.split('/')[0]
                for p in paths} == {member.img_dir.split('/')[0]}


def test_stage2_starts_from_stage1():
    cfg, stage1 = load_config('stage2_from_stage1'), load_config(STAGE1)
    assert cfg.load_from == osp.join(stage1.work_dir, 'iter_40000.pth')
    assert stage1.runner.max_iters == 40000


@each(find('ablation/*.py'))
def test_ablations_hide_vessels_and_discs_of_idrid(path):
    """And both stages together have as many iterations as one."""
    cfg = load_config(path)
    labels = [(member.name, set(member.get('ann_dirs') or ()))
              for member in member_datasets(cfg.data.train)]
    assert set().union(*(tasks for _, tasks in labels)) == set(cfg.model.tasks)
    assert all(tasks <= {'lesion'} for name, tasks in labels
               if name == 'idrid')
    hidden = [s for s in cfg.test_sets.values() if 'lesion' not in s.ann_dirs]
    assert [s.name for s in hidden].count('idrid') == 2
    assert cfg.runner.max_iters == (300 if 'stage2' in path else 600)


# ---- the published behaviour


def steps(dataset, name):
    return [step for step in dataset.pipeline if step.type == name]


@each(RELEASED)
def test_as_released(path):
    cfg, stage2 = load_config(path), 'gan' in osp.basename(path)
    model, losses, _ = step(cfg)
    for head in (model.decode_head, model.auxiliary_head):
        assert head.drop_whole_tasks
        assert head.loss_decode.ignore_index is None
    assert kinds(losses) == (TRUTH | PSEUDO | GAME if stage2 else TRUTH)
    if stage2:
        assert model.decode_head.cross_task_attention.share_block
    for member in cfg.data.train.datasets:
        assert [p.seg_pad_val for p in steps(member, 'Pad')] == [0]
        labelled = bool(member.get('ann_dirs'))
        # all of the image is decoded and resized
        names = [s.type for s in member.pipeline if s.type != 'LabelBorder']
        assert names[:4] == LOADING
        flip, = steps(member, 'IndependentFlip')
        if labelled:  # none takes effect, or the vertical one
            assert flip.prob_horizontal == 0
            assert flip.prob_vertical == (0.5 if stage2 else 0)
        borders = steps(member, 'LabelBorder')
        assert len(borders) == (labelled and member.name == 'refuge')
        for kind in ('ColorJitter', 'RandomGrayscale'):
            orders = [s.channel_order for s in steps(member, kind)]
            assert orders == ([] if labelled else ['bgr'])
    validated = list(cfg.data.val.datasets)
    assert all(
        member.ignore_index is None
        for member in [*validated, *cfg.test_sets.values(), cfg.data.test])
    assert [m.img_dir.split('/')[1] for m in validated
            if m.name != 'stare'] == ['test'] * 3


@each(RELEASED)
def test_as_released_is_the_published_config_otherwise(path):
    published = load_config(path.replace('_as_released', ''))
    released = load_config(path)
    assert published.keys() == released.keys()
    # no checkpoint is chosen on test images
    assert published.evaluation.pop('save_best') == 'mDice'
    assert released.evaluation.pop('save_best') is None
    for key in set(published) - {'model', 'data', 'test_sets', 'work_dir'}:
        assert released[key] == published[key], key
    # nothing but plain values, so that the copy in the work folder reads
    again = Config.fromstring(released.pretty_text, '.py')
    assert again.data == released.data


@each([STAGE1, STAGE2])
def test_published_configs_load_no_more_than_the_crop(path):
    """The same draws as in the as-released ones, from the same numbers."""
    published = load_config(path)
    released = load_config(path.replace('.py', '_as_released.py'))
    pairs = zip(published.data.train.datasets, released.data.train.datasets)
    for member, whole_member in pairs:
        load = member.pipeline[0]
        assert load.type == 'LoadRandomCrop'
        assert load.get('reduced_decoding', True)
        resize, = steps(whole_member, 'Resize')
        crop, = steps(whole_member, 'RandomCrop')
        assert load.img_scale == resize.img_scale == (1024, 1024)
        assert load.ratio_range == resize.ratio_range == (0.5, 2.0)
        assert load.crop_size == crop.crop_size == (512, 512)


# ---- the light configs


def stems(split):
    """Lines of a split file, given by its path or its name."""
    return (ROOT / 'configs/light/splits' / split).read_text().split()


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


@each(LIGHT)
def test_sides_are_apart(path):
    """Nothing that is trained on is validated or tested on."""
    cfg = load_config(path)
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


@pytest.mark.parametrize('name, images', [('light_stage1', 4),
                                          ('light_stage2', 5),
                                          ('light_healthy', 4)])
def test_light_step(name, images):
    cfg = load_config(name)
    assert len(cfg.data.train.datasets) == images, 'of an iteration'
    cfg.model.pretrained = None
    model, losses, _ = step(cfg, cfg.model, 0.98)
    features = model.extract_feat(torch.randn(1, 3, 64, 64))
    assert [f.shape[-1] for f in features] == [32, 16, 8, 4, 2]
    assert {f'loss_truth.{t}' for t in ('vessel', 'lesion', 'odoc')} <= losses
    if name == 'light_stage2':
        assert {f'loss_pseudo.vessel.on_{d}' for d in ('idrid', 'drishti_gs')
                } | {'loss_pseudo.lesion.on_hrf', 'loss_adv.vessel.on_idrid',
                     'loss_disc_source.lesion'} <= losses  # yapf: disable


@torch.no_grad()
def test_untrained_light_network():
    """Foreground is rare: a probability of 0.02, so that empty maps stand for
    background."""
    cfg = load_config('light_stage2')
    cfg.model.pretrained = None
    model = build_segmentor(cfg.model)
    model.init_weights()
    image = torch.randn(1, 3, 64, 64)
    logits = model.eval().encode_decode(image, [dict(ori_shape=(64, 64, 3))])
    assert logits.shape == (1, 7, 64, 64) and (logits.sigmoid() < 0.1).all()
