"""Variants and the as-released configs: each is built and steps once."""
import glob
import os.path as osp

import pytest
import torch
from mmcv import Config
from mmcv.runner import build_optimizer
from mmcv.utils import build_from_cfg
from mmseg.datasets import PIPELINES
from mmseg.models import build_segmentor

import mbos  # noqa: F401
from mbos.apis import load_config
from mbos.checkpoints.loading import checkpoint_meta, load_weights
from mbos.config import plain
from mbos.datasets.as_released import set_arguments
from mbos.datasets.label_folder import path_of
from mbos.tasks import build_tasks
from tests.utils import make_meta, stack_planes, tiny_model_cfg

ROOT = osp.dirname(osp.dirname(__file__))
STAGE1 = glob.glob(osp.join(ROOT, 'configs/_multi_task_/*40k*refuge.py'))[0]
STAGE2 = glob.glob(osp.join(ROOT, 'configs/_multi_gan_/*size16.py'))[0]
RELEASED = sorted(
    glob.glob(osp.join(ROOT, 'configs/_multi_*/*_as_released.py')))
VARIANTS = sorted(glob.glob(osp.join(ROOT, 'configs/variants/*.py')))


def variant(name):
    return load_config(osp.join(ROOT, f'configs/variants/{name}.py'))


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
        labels.append(
            stack_planes(
                names, size, size,
                **{t: torch.randint(0, 2, (size, size)).numpy()
                   for t in truth + pseudo}))  # yapf: disable
    return dict(
        img=torch.randn(len(metas), 3, size, size),
        img_metas=metas,
        labels=torch.stack(labels))


def step(cfg):
    """Build, initialise and train one iteration.

    Returns:
        tuple: The model, its losses and the names of its optimizers.
    """
    torch.manual_seed(0)
    model = build_segmentor(shrink(cfg))
    model.init_weights()
    optimizers = build_optimizer(model, plain(cfg.optimizer))
    if not isinstance(optimizers, dict):
        optimizers = dict(generator=optimizers)
    before = [p.detach().clone() for p in model.parameters()]
    outputs = model.train().train_step(
        batch(cfg), backward=lambda loss: loss.backward())
    for optimizer in optimizers.values():
        optimizer.step()
    moved = [not torch.equal(a, b) for a, b in zip(before, model.parameters())]
    assert all(torch.isfinite(v) for v in outputs['losses'].values())
    assert all(torch.isfinite(p).all() for p in model.parameters())
    # biases of keys have no effect on a softmax, dead paths do not train
    assert sum(moved) > 0.9 * len(moved)
    return model, set(outputs['losses']), set(optimizers)


ALL = {'generator', 'discriminators', 'auxiliary_discriminators'}


def kinds(losses):
    """The loss terms' names without head, task and dataset."""
    return {name.split('.')[1] for name in losses if 'loss' in name}


TRUTH, PSEUDO = {'loss_truth'}, {'loss_pseudo'}
GAME = {'loss_adv', 'loss_disc_source', 'loss_disc_target'}


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
    cfg = variant(name)
    model, losses, named = step(cfg)
    assert kinds(losses) == terms
    assert named == optimizers
    attention = model.decode_head.cross_task_attention
    if name.startswith('single_task'):
        task = name.rpartition('_')[2]
        assert list(model.tasks) == [task]
        assert losses == {f'{h}.loss_truth.{task}' for h in ('decode', 'aux')}
    elif name == 'xta_block_per_pair':
        assert len(attention.blocks) == 6
    elif name == 'without_xta':
        assert attention is None
    else:
        assert attention.share_block


def test_every_variant_is_tested():
    mark = test_variants_step.pytestmark[0]
    tested = {case[0] for case in mark.args[1]}
    assert {osp.splitext(osp.basename(f))[0] for f in VARIANTS} == tested


@pytest.mark.parametrize('path', VARIANTS + RELEASED, ids=osp.basename)
def test_data_sets_know_the_models_tasks(path):
    cfg = load_config(path)
    tasks = {t.name for t in build_tasks(cfg.model.tasks)}
    sets = list(cfg.data.train.datasets) + list(cfg.data.val.datasets)
    for member in sets + [cfg.data.test] + list(cfg.test_sets.values()):
        folders = {**member.get('ann_dirs', {}),
                   **member.get('pseudo_dirs', {})}  # yapf: disable
        assert set(folders) and set(folders) <= tasks
        # images and labels come from the same collection
        for entry in folders.values():
            first = path_of(entry).split('/')[0]
            assert first == member.img_dir.split('/')[0]
    assert set(cfg.data.test.ann_dirs) <= tasks


def test_stage2_starts_from_stage1(tmp_path):
    cfg = variant('stage2_from_stage1')
    stage1 = load_config(STAGE1)
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


# ---- the published behaviour


@pytest.mark.parametrize('path', RELEASED, ids=osp.basename)
def test_as_released_steps(path):
    cfg = load_config(path)
    model, losses, _ = step(cfg)
    for head in (model.decode_head, model.auxiliary_head):
        assert head.drop_whole_tasks
        assert head.loss_decode.ignore_index is None
    stage2 = 'gan' in osp.basename(path)
    assert kinds(losses) == (TRUTH | PSEUDO | GAME if stage2 else TRUTH)
    if stage2:
        assert model.decode_head.cross_task_attention.share_block


PLAIN_LOADING = ['LoadImageFromFile', 'LoadPlanes', 'Resize', 'RandomCrop']


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
        assert [
            step.type for step in member.pipeline if step.type != 'LabelBorder'
        ][:4] == PLAIN_LOADING
        flip, = steps(member, 'IndependentFlip')
        assert flip.get('mode', 'independent') == (
            flips if labelled else 'independent')
        borders = steps(member, 'LabelBorder')
        assert len(borders) == (labelled and member.name == 'refuge')
        for kind in ('ColorJitter', 'RandomGrayscale'):
            orders = [s.channel_order for s in steps(member, kind)]
            assert orders == ([] if labelled else ['bgr'])
    tested = list(cfg.data.val.datasets) + list(cfg.test_sets.values())
    assert all(member.ignore_index is None
               for member in tested + [cfg.data.test])
    assert [
        m.img_dir.split('/')[1] for m in cfg.data.val.datasets
        if m.name != 'stare'
    ] == ['test'] * 3


@pytest.mark.parametrize('path', RELEASED, ids=osp.basename)
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


@pytest.mark.parametrize('path', [STAGE1, STAGE2], ids=osp.basename)
def test_published_configs_load_no_more_than_the_crop(path):
    """The same draws as in the as-released ones, from the same numbers."""
    published = load_config(path)
    released = load_config(path.replace('.py', '_as_released.py'))
    pairs = zip(published.data.train.datasets, released.data.train.datasets)
    for member, plain_member in pairs:
        load = member.pipeline[0]
        assert load.type == 'LoadRandomCrop'
        assert load.get('reduced_decoding', True)
        resize, = steps(plain_member, 'Resize')
        crop, = steps(plain_member, 'RandomCrop')
        assert (resize.img_scale, resize.ratio_range) == ((1024, 1024), (0.5,
                                                                         2.0))
        assert load.img_scale == resize.img_scale
        assert load.ratio_range == resize.ratio_range
        assert load.crop_size == crop.crop_size == (512, 512)


def test_arguments_are_set_by_type_everywhere():
    cfg = dict(
        a=[dict(type='X', k=1), (dict(type='Y'), )], b=dict(type='X', n=None))
    assert set_arguments(cfg, dict(X=dict(k=2))) == dict(
        a=[dict(type='X', k=2), (dict(type='Y'), )],
        b=dict(type='X', n=None, k=2))
    assert cfg['a'][0]['k'] == 1
