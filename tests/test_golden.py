"""The published release's numbers (see ``tests/data/golden/README.md``).

In float64 everything agrees to 1e-6, which shows that the computation is the
same; in float32 losses and logits agree to 1e-4. ``MBOS_TEST_DEVICE=cuda``
compares on a GPU, where nothing is accelerated (``-k 'plain or losses'``).
"""
import os.path as osp

import numpy as np
import pytest
import torch
from mmcv import Config
from mmcv.runner import build_optimizer
from mmseg.models import build_segmentor

from mbos.accelerate import accelerate
from mbos.metrics.sums import update
from mbos.metrics.tables import compute
from mbos.models import BinaryLoss
from mbos.models.multi_task_segmentor import total_loss
from mbos.tasks import BUILTIN_TASKS, Task
from .golden import (DEVICE, ROOT, TOLERANCES, assert_close, check_norms,
                     image, load, load_release)
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
PRECISIONS = pytest.mark.parametrize('dtype', TOLERANCES, ids=str)


@torch.no_grad()
def check_logits(model, data, prefix, dtype):
    img = image(data['eval/img'], dtype)
    logits = model.eval().split(model.encode_decode(img, []))
    for task in TASKS:
        assert_close(logits[task], data[f'{prefix}/logits_{task}'], dtype)


def gradients(model):
    return {n: p.grad for n, p in model.named_parameters()}


# ---- stage 1


@KERNELS
@PRECISIONS
@STAGE1_CASES
def test_stage1(name, dtype, kernels):
    """Logits, losses and gradients."""
    data = load(name)
    model = kernels(load_release(tiny_model(), 'stage1_tiny', data, dtype))
    check_logits(model, data, 'eval', dtype)
    img = image(data['train/imgs'], dtype)
    metas = [make_meta(f'{t}_dataset', truth=[t]) for t in TASKS]
    labels = torch.stack([
        stack_planes(TASKS, *img.shape[2:], **{t: data[f'train/label_{t}'][0]})
        for t in TASKS
    ])
    losses = model.train()(img, metas, labels=labels.to(DEVICE))
    for index, task in enumerate(TASKS):
        for prefix in ('decode', 'aux'):
            assert_close(losses[f'{prefix}.loss_truth.{task}'],
                         data[f'train/log/{prefix}.loss_task{index}'], dtype)
    assert_close(total_loss(losses), data['train/log/loss'], dtype)
    if dtype == torch.float64:
        total_loss(losses).backward()
        check_norms(gradients(model), 'stage1_tiny', data, 'train/gradnorm/')


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
        img=torch.stack(images),
        img_metas=metas,
        labels=torch.stack(labels).to(DEVICE))


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


@KERNELS
@PRECISIONS
@GAN_CASES
def test_gan_logits_and_verdicts(name, key, window, dtype, kernels):
    data, model = load(name), tiny_model(window=window, adversarial=True)
    model = kernels(load_release(model, key, data, dtype)).eval()
    img = image(data['eval/img'], dtype)
    heads = [('', model.decode_head, model.discriminators),
             ('aux_', model.auxiliary_head, model.auxiliary_discriminators)]
    with torch.no_grad():
        features = model.extract_feat(img)
        for prefix, head, discriminators in heads:
            for task, logits in head(features).items():
                logits = resized(logits, img)
                assert_close(logits, data[f'eval/{prefix}logits_{task}'],
                             dtype)
                assert_close(discriminators[task](logits.sigmoid()),
                             data[f'eval/{prefix}disc_{task}'], dtype)


def resized(logits, img):
    return torch.nn.functional.interpolate(
        logits, img.shape[2:], mode='bilinear')


@pytest.mark.parametrize(
    'images_per_pass, kernels', [(4, lambda model: model), (1, accelerate)],
    ids=['plain', 'accelerated'])
@PRECISIONS
@GAN_CASES
def test_gan_training(name, key, window, images_per_pass, kernels, dtype):
    """Every loss term, gradient norm, step length and the logits after."""
    data, model = load(name), tiny_model(window=window, adversarial=True)
    model = kernels(load_release(model, key, data, dtype)).train()
    model.train_cfg['images_per_pass'] = images_per_pass
    batch = gan_batch(data)
    batch['img'] = batch['img'].to(dtype)
    config = Config.fromfile(osp.join(ROOT, STAGE2_CONFIG))
    optimizers = build_optimizer(model, config.optimizer).values()
    start = {n: p.detach().clone() for n, p in model.named_parameters()}
    for step in (1, 2, 3):
        for optimizer in optimizers:
            optimizer.zero_grad()
        outputs = model.train_step(batch, backward=lambda x: x.backward())
        if step == 1:
            check_gan_losses(outputs['losses'], data, dtype)
            if dtype == torch.float32:
                return
            check_norms(gradients(model), key, data, 'train/gradnorm/')
        for optimizer in optimizers:
            optimizer.step()
        if step in (1, 3):
            moved = {
                n: p.detach() - start[n]
                for n, p in model.named_parameters()
            }
            prefix = f'after_{step}_step{"s" * (step > 1)}/delta_norm/'
            check_norms(moved, key, data, prefix)
    check_logits(model, data, 'after_3_steps', dtype)


def check_gan_losses(losses, data, dtype):
    names = published_loss_names()
    terms = {k.split('/')[-1] for k in data if k.startswith('train/log/loss_')}
    assert terms == set(names)
    for theirs, ours in names.items():
        assert_close(losses[ours], data[f'train/log/{theirs}'], dtype, ours)
    # what the release logs last and calls the loss
    last = sum(v for k, v in losses.items() if k.startswith('aux.loss_disc'))
    assert_close(last, data['train/log/loss'], dtype)
    assert {k for k in losses if 'loss' in k} == set(names.values())


# ---- published configs, at full width, from the config files


@pytest.mark.parametrize('config, key', [
    (STAGE1_CONFIG, 'stage1'),
    (STAGE2_CONFIG, 'gan'),
])
def test_published_configs(config, key):
    data = load('published_configs')
    cfg = Config.fromfile(osp.join(ROOT, config))
    cfg.model.pretrained = None
    model = load_release(build_segmentor(cfg.model), key, data).eval()
    check_published(model.double(), key, data, torch.float64)
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
            assert_close(resized(logits, img), data[found], dtype)
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
    logits = torch.from_numpy(data[f'{case}/logits']).to(DEVICE, dtype)
    logits.requires_grad_()
    labels = torch.from_numpy(data[f'{case}/label']).to(DEVICE)
    value = loss(logits, labels, BUILTIN_TASKS[task]).mean()
    value.backward()
    assert_close(value, data[f'{case}/loss'], dtype)
    assert_close(logits.grad, data[f'{case}/grad'], dtype)


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
        row = {c: cell['value'] for c, cell in table[metric].items()}
        found = [row.get('background', expected[0])]
        found += [row[c] for c in task.classes]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert checked and (disc_only or checked == set(table))
