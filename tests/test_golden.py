"""The published release's numbers (see ``tests/data/golden/README.md``).

In float64 everything must agree to 1e-6, which shows that the computation is
the same; in float32 by the README's tolerances, which shows that nothing in it
needs more precision. Gradients jump at the kinks of ReLU and LeakyReLU, so the
float32 runs that train take the sides of their float64 twins
(``tests/sides.py``).
"""
import os.path as osp
from collections import Counter

import numpy as np
import pytest
import torch
from mmcv import Config
from mmcv.runner import build_optimizer
from mmseg.models import build_segmentor

from mbos.accelerate import accelerate
from mbos.metrics.report import compute
from mbos.metrics.sums import update
from mbos.models import BinaryLoss
from mbos.models.multi_task_segmentor import total_loss
from mbos.tasks import BUILTIN_TASKS, Task
from .golden import (ROOT, assert_close, assert_scalar, check_gradients,
                     check_steps, image, load, load_release, release_norms,
                     tolerance_of)
from .sides import Sides
from .utils import TASKS, make_meta, stack_planes, tiny_model

STAGE1_CONFIG = (
    'configs/_multi_task_/upernet_swin_tiny_patch4_window7_512x512_40k_multi_'
    'pretrain_224x224_1K_group_idrid_ddr_refuge.py')
STAGE2_CONFIG = (
    'configs/_multi_gan_/gan_bdice_vessel_lesion_OD_idrid_ddr_refuge_semi_OD_'
    '0.1_0.05_60k_128_group_window_size16.py')
STAGE1_CASES = pytest.mark.parametrize('name',
                                       ['stage1_tiny', 'stage1_tiny_rect'])
GAN_CASES = pytest.mark.parametrize(
    'name, key, window', [('gan_tiny', 'gan_tiny_window8', 8),
                          ('gan_tiny_window16', 'gan_tiny_window16', 16)])
KERNELS = pytest.mark.parametrize(
    'kernels', [lambda model: model, accelerate], ids=['plain', 'accelerated'])
PRECISIONS = pytest.mark.parametrize('dtype', [torch.float64, torch.float32])


def check_imposed(sides):
    """Hardly any input lay on the other side, and all of those at 0."""
    assert sides.total > 0
    assert sides.moved <= 1e-5 * sides.total
    assert sides.largest <= 1e-4


# ---- stage 1


def stage1_model(data, dtype, kernels):
    model = load_release(tiny_model(), 'stage1_tiny', int(data['seed']))
    return kernels(model.to(dtype))


@torch.no_grad()
def check_logits(model, data, prefix, dtype):
    img = image(data['eval/img'], dtype)
    logits = model.eval().split(model.encode_decode(img, []))
    for task in TASKS:
        assert_close(logits[task], data[f'{prefix}/logits_{task}'],
                     tolerance_of(dtype))


@KERNELS
@PRECISIONS
@STAGE1_CASES
def test_stage1_logits(name, dtype, kernels):
    data = load(name)
    check_logits(stage1_model(data, dtype, kernels), data, 'eval', dtype)


@KERNELS
@STAGE1_CASES
def test_stage1_losses_and_gradients(name, kernels):
    data, sides = load(name), Sides()
    for dtype, meet in ((torch.float64, sides.note), (torch.float32,
                                                      sides.impose)):
        model = stage1_model(data, dtype, kernels)
        meet(model)
        check_stage1_training(model, data, dtype)
    check_imposed(sides)


def check_stage1_training(model, data, dtype):
    img = image(data['train/imgs'], dtype)
    metas = [make_meta(f'{t}_dataset', truth=[t]) for t in TASKS]
    labels = torch.stack([
        stack_planes(TASKS, *img.shape[2:], **{t: data[f'train/label_{t}'][0]})
        for t in TASKS
    ])
    model.train().zero_grad()
    losses, tolerance = model(img, metas, labels=labels), tolerance_of(dtype)
    for index, task in enumerate(TASKS):
        for prefix in ('decode', 'aux'):
            assert_scalar(losses[f'{prefix}.loss_truth.{task}'],
                          data[f'train/log/{prefix}.loss_task{index}'],
                          tolerance)
    assert_scalar(total_loss(losses), data['train/log/loss'], tolerance)

    total_loss(losses).backward()
    grads = {n: p.grad for n, p in model.named_parameters()}
    check_gradients(release_norms(grads, 'stage1_tiny'), data, dtype)


# ---- stage 2


def gan_batch(data):
    """The six images of the golden training step."""
    pseudo = dict(
        vessel_dataset=('lesion', 'odoc'),
        lesion_dataset=('vessel', 'odoc'),
        odoc_dataset=('vessel', ))
    images, metas, labels = [], [], []

    def add(key, meta, tasks):
        images.append(image(data[f'{key}/img'][0]))
        metas.append(meta)
        planes = {task: np.squeeze(data[f'{key}/{name}'])
                  for task, name in tasks.items()}  # yapf: disable
        labels.append(stack_planes(TASKS, *images[-1].shape[1:], **planes))

    for task in TASKS:
        name = f'{task}_dataset'
        add(f'train/{name}', make_meta(name, truth=[task]), {task: 'label'})
    for name, tasks in pseudo.items():
        weights = dict(lesion=2.0) if name == 'vessel_dataset' else None
        add(f'train/{name}_pseudo',
            make_meta(name, pseudo=tasks, weights=weights),
            {task: f'label_{task}'
             for task in tasks})
    return dict(
        img=torch.stack(images), img_metas=metas, labels=torch.stack(labels))


def published_loss_names():
    """Our names of the release's loss terms."""
    names = {}
    pseudo = [('lesion', 'odoc'), ('vessel', 'odoc'), ('vessel', )]
    for i, task in enumerate(TASKS):
        others = [t for t in TASKS if t != task]
        for head, aux in (('decode', ''), ('aux', '_aux')):
            names[f'loss_gen_task{aux}_{i + 1}'] = (
                f'{head}.loss_truth.{task}')
            names[f'loss_disc{aux}_source_{i}'] = (
                f'{head}.loss_disc_source.{task}')
            for j, other in enumerate(others):
                names[f'loss_gen_target{aux}_{i}_{j}'] = (
                    f'{head}.loss_adv.{task}.on_{other}_dataset')
                names[f'loss_disc{aux}_target_{i}_{j + 1}'] = (
                    f'{head}.loss_disc_target.{task}.on_{other}_dataset')
            for m, other in enumerate(pseudo[i]):
                names[f'loss_gen_task_{i + 1}{aux}_semi_{m + 1}'] = (
                    f'{head}.loss_pseudo.{other}.on_{task}_dataset')
    return names


def gan_model(key, window, seed, kernels):
    model = tiny_model(window=window, adversarial=True)
    return kernels(load_release(model, key, seed))


@KERNELS
@PRECISIONS
@GAN_CASES
def test_gan_logits_and_verdicts(name, key, window, dtype, kernels):
    data, tolerance = load(name), tolerance_of(dtype)
    model = gan_model(key, window, int(data['seed']), kernels)
    model, img = model.eval().to(dtype), image(data['eval/img'], dtype)
    with torch.no_grad():
        features = model.extract_feat(img)
        for prefix, head, discriminators in (('', model.decode_head,
                                              model.discriminators),
                                             ('aux_', model.auxiliary_head,
                                              model.auxiliary_discriminators)):
            for task, logits in head(features).items():
                logits = resized(logits, img)
                assert_close(logits, data[f'eval/{prefix}logits_{task}'],
                             tolerance)
                assert_close(discriminators[task](logits.sigmoid()),
                             data[f'eval/{prefix}disc_{task}'], tolerance)


def resized(logits, img):
    return torch.nn.functional.interpolate(
        logits, img.shape[2:], mode='bilinear')


@pytest.mark.parametrize('images_per_pass, kernels', [(4, lambda model: model),
                                                      (1, accelerate)])
@GAN_CASES
def test_gan_training(name, key, window, images_per_pass, kernels):
    """Every loss term, gradient norm, step length and the logits after."""
    data, sides = load(name), Sides()
    for dtype, meet in ((torch.float64, sides.note), (torch.float32,
                                                      sides.impose)):
        model = gan_model(key, window, int(data['seed']), kernels)
        model = model.train().to(dtype)
        model.train_cfg['images_per_pass'] = images_per_pass
        meet(model)
        train_gan(model, data, key, dtype)
        check_logits(model, data, 'after_3_steps', dtype)
    check_imposed(sides)


def train_gan(model, data, key, dtype):
    """Three steps, compared with the golden file where it has values."""
    batch = gan_batch(data)
    batch['img'] = batch['img'].to(dtype)
    start, walked = parameters(model), Counter()
    optimizers = build_optimizer(
        model,
        Config.fromfile(osp.join(ROOT, STAGE2_CONFIG)).optimizer)
    for step in (1, 2, 3):
        for optimizer in optimizers.values():
            optimizer.zero_grad()
        outputs = model.train_step(batch, backward=lambda x: x.backward())
        if step == 1:
            check_gan_losses(outputs['losses'], data, tolerance_of(dtype))
            grads = {n: p.grad for n, p in model.named_parameters()}
            check_gradients(release_norms(grads, key), data, dtype)
        before = parameters(model)
        for optimizer in optimizers.values():
            optimizer.step()
        walked.update(release_norms(change(model, before), key))
        if step in (1, 3):
            check_steps(
                release_norms(change(model, start), key), walked,
                release_norms(start, key), data, step, dtype)


def parameters(model):
    return {n: p.detach().clone() for n, p in model.named_parameters()}


def change(model, before):
    return {n: p.detach() - before[n] for n, p in model.named_parameters()}


def check_gan_losses(losses, data, tolerance):
    names = published_loss_names()
    terms = {k.split('/')[-1] for k in data if k.startswith('train/log/loss_')}
    assert terms == set(names)
    for theirs, ours in names.items():
        assert_scalar(losses[ours], data[f'train/log/{theirs}'], tolerance,
                      ours)
    # what the release logs last and calls the loss
    last = sum(v for k, v in losses.items() if k.startswith('aux.loss_disc'))
    assert_scalar(last, data['train/log/loss'], tolerance)
    trained = {k for k in losses if 'loss' in k}
    assert trained == set(names.values())


# ---- published configs, at full width, from the config files


@pytest.mark.parametrize('config, key', [
    (STAGE1_CONFIG, 'stage1'),
    (STAGE2_CONFIG, 'gan'),
])
def test_published_configs(config, key):
    data = load('published_configs')
    cfg = Config.fromfile(osp.join(ROOT, config))
    cfg.model.pretrained = None
    model = load_release(build_segmentor(cfg.model), key, int(data['seed']))
    check_published(model.eval().double(), key, data, torch.float64)
    for dtype in (torch.float64, torch.float32):
        check_published(accelerate(model.to(dtype)), key, data, dtype)


@torch.no_grad()
def check_published(model, key, data, dtype):
    img, compared = image(data['img'], dtype), set()
    features = model.extract_feat(img)
    for prefix, head in model.dense_heads.items():
        prefix = 'aux_' if prefix == 'aux' else ''
        if f'{key}/{prefix}logits_vessel' not in data:
            continue
        for task, logits in head(features).items():
            found = f'{key}/{prefix}logits_{task}'
            assert_close(
                resized(logits, img), data[found], tolerance_of(dtype))
            compared.add(found)
    assert compared == {name for name in data if name.startswith(f'{key}/')}


# ---- losses


@PRECISIONS
@pytest.mark.parametrize('case',
                         sorted({k.split('/')[0]
                                 for k in load('losses')}))
def test_losses(case, dtype):
    data = load('losses')
    _, *mode, channels, _, smooth = case.split('_')
    task = dict(C1='vessel', C4='lesion', C2='odoc')[channels]
    loss = BinaryLoss(
        mode='_'.join(mode),
        smooth=float(smooth[len('smooth'):]),
        loss_weight=0.7,
        ignore_index=None)
    logits = torch.from_numpy(data[f'{case}/logits']).to(dtype)
    logits.requires_grad_()
    labels = torch.from_numpy(data[f'{case}/label'])
    value = loss(logits, labels, BUILTIN_TASKS[task]).mean()
    value.backward()
    tolerance = tolerance_of(dtype)
    assert_scalar(value, data[f'{case}/loss'], tolerance)
    assert_close(logits.grad, data[f'{case}/grad'], tolerance)


# ---- metrics

GOLDEN_NAMES = dict(
    vessel=dict(
        auc='AUC', se='Sensitivity@Otsu', sp='Specificity@Otsu',
        ppv='PPV@Otsu', ACC='Accuracy'),
    lesion=dict(
        se='Sensitivity', sp='PPV', dice='Dice', auc_roc='AUC', mae='MAE'),
    odoc={})  # yapf: disable
"""dict: Names of the golden file, and ours where they differ."""


@pytest.mark.parametrize('ignore_index', [255, None])
@pytest.mark.parametrize('name', [*GOLDEN_NAMES, 'od'])
def test_published_figures_are_those_of_the_release(name, ignore_index):
    """And of masks that have the disc alone."""
    golden, disc_only = load('metrics'), name == 'od'
    source = 'odoc' if disc_only else name
    task = Task('odoc', ('disc', )) if disc_only else BUILTIN_TASKS[name]
    sums = []
    while f'{source}/{len(sums)}/prob' in golden:
        prob, labels = (
            golden[f'{source}/{len(sums)}/{part}']
            for part in ('prob', 'label'))
        if disc_only:
            prob, labels = prob[:1], (labels > 0).astype(np.uint8)
        sums.append(update(prob, labels, task, ignore_index=ignore_index))
    table, checked = compute(sums, task)['published'], set()
    for key, expected in golden.items():
        if not key.startswith(f'{name}/ref/'):
            continue
        metric = key.split('/')[-1]
        metric = GOLDEN_NAMES[source].get(metric, metric)
        checked.add(metric)
        row = table[metric]
        found = [row.get('background', expected[0])]
        found += [row[c] for c in task.classes]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert checked and (disc_only or checked == set(table))
