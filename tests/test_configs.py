"""Variants, ablations and the as-released configs: each is built and steps."""
import glob
import os.path as osp

import pytest
import torch
from mmcv import Config
from mmcv.runner import build_optimizer
from mmcv.utils import build_from_cfg
from mmseg.datasets import PIPELINES
from mmseg.models import build_segmentor

from mbos.apis import load_config, member_datasets
from mbos.checkpoints.loading import checkpoint_meta, load_weights
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
ALL = {'generator', 'discriminators', 'auxiliary_discriminators'}
TRUTH, PSEUDO = {'loss_truth'}, {'loss_pseudo'}
GAME = {'loss_adv', 'loss_disc_source', 'loss_disc_target'}
LOADING = ['LoadImageFromFile', 'LoadPlanes', 'Resize', 'RandomCrop']


def each(paths):
    return pytest.mark.parametrize('path', paths, ids=osp.basename)


def variant(name):
    return load_config(str(ROOT / f'configs/variants/{name}.py'))


def shrink(cfg):
    """The config's model at a few thousand weights, all else as it is."""
    model, tiny = cfg.model.copy(), tiny_model_cfg()
    model.pretrained = None
    model.backbone = tiny.backbone
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
    for member in cfg.data.train.datasets:
        truth = list(member.get('ann_dirs') or {})
        pseudo = list(member.get('pseudo_dirs') or {})
        metas.append(
            make_meta(member.name, names, truth, pseudo,
                      member.get('weights')))
        planes = {
            task: torch.randint(0, 2, (size, size)).numpy()
            for task in truth + pseudo
        }
        labels.append(stack_planes(names, size, size, **planes))
    return dict(
        img=torch.randn(len(metas), 3, size, size),
        img_metas=metas,
        labels=torch.stack(labels))


def step(cfg):
    """Build, initialise and train one iteration.

    Returns:
        tuple: The model, the names of its losses without task and dataset, and
        of its optimizers.
    """
    torch.manual_seed(0)
    model = build_segmentor(shrink(cfg))
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
    assert sum(moved) > 0.9 * len(moved)
    return model, {name.split('.')[1]
                   for name in losses if 'loss' in name}, set(optimizers)


@pytest.mark.parametrize('name, terms, optimizers', [
    ('xta_block_per_pair', TRUTH | PSEUDO | GAME, ALL),
    ('without_xta', TRUTH | PSEUDO | GAME, ALL),
    ('without_adversarial', TRUTH | PSEUDO, {'generator'}),
    ('without_pseudo_labels', TRUTH | GAME, ALL),
    ('stage2_from_stage1', TRUTH | PSEUDO | GAME, ALL),
    ('single_task_vessel', TRUTH, {'generator'}),
    ('single_task_lesion', TRUTH, {'generator'}),
    ('single_task_odoc', TRUTH, {'generator'}),
])
def test_variants_step(name, terms, optimizers):
    model, losses, named = step(variant(name))
    assert losses == terms
    assert named == optimizers
    attention = model.decode_head.cross_task_attention
    if name.startswith('single_task'):
        assert list(model.tasks) == [name.rpartition('_')[2]]
    elif name == 'xta_block_per_pair':
        assert len(attention.blocks) == 6
    else:
        assert (attention is None) == (name == 'without_xta')


def test_every_variant_is_tested():
    tested = {case[0] for case in test_variants_step.pytestmark[0].args[1]}
    assert {osp.splitext(osp.basename(f))[0] for f in VARIANTS} == tested


@each(VARIANTS + RELEASED)
def test_data_sets_know_the_models_tasks(path):
    cfg = load_config(path)
    tasks = {t.name for t in build_tasks(cfg.model.tasks)}
    for member in [
            *cfg.data.train.datasets, *cfg.data.val.datasets, cfg.data.test,
            *cfg.test_sets.values()
    ]:
        folders = {**member.get('ann_dirs', {}),
                   **member.get('pseudo_dirs', {})}  # yapf: disable
        assert set(folders) and set(folders) <= tasks
        # images and labels come from the same collection
        paths = [e if isinstance(e, str) else e['path']
                 for e in folders.values()]  # yapf: disable
        assert {path.split('/')[0]
                for path in paths} == {member.img_dir.split('/')[0]}


def test_stage2_starts_from_stage1(tmp_path):
    cfg, stage1 = variant('stage2_from_stage1'), load_config(STAGE1)
    assert cfg.load_from == osp.join(stage1.work_dir, 'iter_40000.pth')
    assert stage1.runner.max_iters == 40000
    source = build_segmentor(shrink(stage1))
    path = str(tmp_path / 'iter_40000.pth')
    torch.save(
        dict(state_dict=source.state_dict(),
             meta=checkpoint_meta(source, None)), path)  # yapf: disable
    model = build_segmentor(shrink(cfg))
    load_weights(model, path, allow_missing=True)
    loaded = model.state_dict()
    assert all(
        torch.equal(loaded[n], v) for n, v in source.state_dict().items())


@each(find('ablation/*.py'))
def test_ablations_hide_vessels_and_discs_of_idrid(path):
    """And both stages together have as many iterations as one."""
    cfg = load_config(path)
    members = member_datasets(cfg.data.train)
    tasks = {name for m in members for name in m.get('ann_dirs') or ()}
    assert tasks == set(cfg.model.tasks)
    assert all(
        set(member.get('ann_dirs') or ()) <= {'lesion'} for member in members
        if member.name == 'idrid')
    hidden = [s for s in cfg.test_sets.values() if 'lesion' not in s.ann_dirs]
    assert [s.name for s in hidden].count('idrid') == 2
    assert cfg.runner.max_iters == (300 if 'stage2' in path else 600)


# ---- the published behaviour


@each(RELEASED)
def test_as_released_steps(path):
    model, losses, _ = step(load_config(path))
    for head in (model.decode_head, model.auxiliary_head):
        assert head.drop_whole_tasks
        assert head.loss_decode.ignore_index is None
    stage2 = 'gan' in osp.basename(path)
    assert losses == (TRUTH | PSEUDO | GAME if stage2 else TRUTH)
    if stage2:
        assert model.decode_head.cross_task_attention.share_block


def steps(dataset, name):
    return [step for step in dataset.pipeline if step.type == name]


@pytest.mark.parametrize('path, flips', [
    (RELEASED[0], 'published_vertical_only'),
    (RELEASED[1], 'published_cancelling'),
])
def test_as_released_data(path, flips):
    cfg = load_config(path)
    for member in cfg.data.train.datasets:
        assert [p.seg_pad_val for p in steps(member, 'Pad')] == [0]
        labelled = bool(member.get('ann_dirs'))
        # all of the image is decoded and resized
        names = [s.type for s in member.pipeline if s.type != 'LabelBorder']
        assert names[:4] == LOADING
        flip, = steps(member, 'IndependentFlip')
        assert flip.get('mode', 'independent') == (
            flips if labelled else 'independent')
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
    for dataset in released.data.train.datasets:
        for transform in dataset.pipeline:
            build_from_cfg(plain(transform), PIPELINES)


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
