"""The published release's numbers (see ``tests/data/golden/README.md``).

The weights follow from a rule over the release's parameter names and are
loaded through the converter that users' released checkpoints go through.
"""
import json
import os
import os.path as osp
import zlib

import numpy as np
import pytest
import torch
from mmcv import Config
from mmcv.runner import build_optimizer
from mmseg.models import build_segmentor

from mbos.core.metric_report import compute
from mbos.core.metrics import update
from mbos.core.release_checkpoint import from_release
from mbos.core.tasks import BUILTIN_TASKS, Task, build_tasks
from mbos.datasets.label_io import as_binary
from mbos.models import BinaryLoss
from mbos.models.multi_task_segmentor import total_loss
from .utils import TASKS, make_meta, stack_planes, tiny_model

ROOT = osp.dirname(osp.dirname(__file__))
GOLDEN = os.environ.get('MBOS_GOLDEN', osp.join(ROOT, 'tests/data/golden'))
STAGE1_CONFIG = (
    'configs/_multi_task_/upernet_swin_tiny_patch4_window7_512x512_40k_multi_'
    'pretrain_224x224_1K_group_idrid_ddr_refuge.py')
STAGE2_CONFIG = (
    'configs/_multi_gan_/gan_bdice_vessel_lesion_OD_idrid_ddr_refuge_semi_OD_'
    '0.1_0.05_60k_128_group_window_size16.py')
GAN_CASES = [('gan_tiny', 'gan_tiny_window8', 8),
             ('gan_tiny_window16', 'gan_tiny_window16', 16)]


def load(name):
    with np.load(osp.join(GOLDEN, f'{name}.npz')) as data:
        return dict(data)


def release_state(key, seed):
    """The release's state dict by the README's rule."""
    with open(osp.join(GOLDEN, 'state_dict_shapes.json')) as file:
        shapes = json.load(file)[key]
    state = {}
    for name, shape in shapes.items():
        if name.endswith('relative_position_index'):
            continue
        rng = np.random.Generator(
            np.random.PCG64([seed, zlib.crc32(name.encode())]))
        u = 2 * rng.random(shape) - 1
        is_table = name.endswith('relative_position_bias_table')
        if len(shape) > 1 and not is_table:
            value = u * np.sqrt(3 / np.prod(shape[1:]))
        elif name.endswith('weight'):
            value = 1 + 0.1 * u
        else:
            value = 0.1 * u
        state[name] = torch.from_numpy(value.astype(np.float32))
    return state


def load_release(model, key, seed):
    state, _ = from_release(release_state(key, seed), build_tasks(TASKS))
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(n.endswith('relative_position_index') for n in missing)
    return model


def assert_close(actual, expected, tolerance=1e-4):
    actual = np.asarray(actual.detach() if hasattr(actual, 'detach')
                        else actual, dtype=np.float64)  # yapf: disable
    assert actual.shape == expected.shape
    error = np.abs(actual - expected).max()
    assert error <= tolerance * np.abs(expected).max(), error


def assert_scalar(actual, expected, name=''):
    assert float(actual) == pytest.approx(float(expected), rel=1e-4), name


def release_norms(values, key):
    """Norms of our tensors, gathered under the release's names."""
    norms = {}
    for name in release_state(key, 0):
        ours, _ = from_release({name: torch.zeros(_shape(key, name))},
                               build_tasks(TASKS))
        parts = [values[n] for n in ours if values.get(n) is not None]
        norms[name] = float(
            np.sqrt(sum(float(p.double().norm())**2 for p in parts)))
    return norms


_SHAPES = {}


def _shape(key, name):
    if key not in _SHAPES:
        with open(osp.join(GOLDEN, 'state_dict_shapes.json')) as file:
            _SHAPES[key] = json.load(file)[key]
    return _SHAPES[key][name]


def image(array):
    return torch.from_numpy(array.astype(np.float32))


# ---- stage 1


@pytest.fixture(scope='module', params=['stage1_tiny', 'stage1_tiny_rect'])
def stage1(request):
    data = load(request.param)
    model = load_release(tiny_model(), 'stage1_tiny', int(data['seed']))
    return model, data


def test_stage1_logits(stage1):
    model, data = stage1
    model.eval()
    with torch.no_grad():
        logits = model.split(model.encode_decode(image(data['eval/img']), []))
    for task in TASKS:
        assert_close(logits[task], data[f'eval/logits_{task}'])


def test_stage1_losses_and_gradients(stage1):
    model, data = stage1
    img = image(data['train/imgs'])
    metas = [make_meta(f'{t}_dataset', truth=[t]) for t in TASKS]
    labels = torch.stack([
        stack_planes(TASKS, *img.shape[2:], **{t: data[f'train/label_{t}'][0]})
        for t in TASKS
    ])
    model.train().zero_grad()
    losses = model(img, metas, labels=labels)
    for index, task in enumerate(TASKS):
        for prefix in ('decode', 'aux'):
            assert_scalar(losses[f'{prefix}.loss_truth.{task}'],
                          data[f'train/log/{prefix}.loss_task{index}'])
    assert_scalar(total_loss(losses), data['train/log/loss'])

    total_loss(losses).backward()
    grads = {n: p.grad for n, p in model.named_parameters()}
    norms = release_norms(grads, 'stage1_tiny')
    check_norms(norms, data, 'train/gradnorm/', 1e-4, 1e-6)


def check_norms(norms, data, prefix, relative, absolute):
    names = [k for k in data if k.startswith(prefix)]
    assert names
    for key in names:
        expected = float(data[key])
        actual = norms[key[len(prefix):]]
        assert abs(actual - expected) <= relative * expected + absolute, key


# ---- stage 2


def gan_batch(data):
    """The six images of the golden training step."""
    planes = dict(
        vessel_dataset=('lesion', 'odoc'),
        lesion_dataset=('vessel', 'odoc'),
        odoc_dataset=('vessel', ))
    images, metas, labels = [], [], []
    for task in TASKS:
        key = f'train/{task}_dataset'
        images.append(image(data[f'{key}/img'][0]))
        metas.append(make_meta(f'{task}_dataset', truth=[task]))
        labels.append(
            stack_planes(TASKS, *images[-1].shape[1:],
                         **{task: np.squeeze(data[f'{key}/label'])}))
    for name, tasks in planes.items():
        key = f'train/{name}_pseudo'
        images.append(image(data[f'{key}/img'][0]))
        weights = dict(lesion=2.0) if name == 'vessel_dataset' else None
        metas.append(make_meta(name, pseudo=tasks, weights=weights))
        labels.append(
            stack_planes(
                TASKS, *images[-1].shape[1:],
                **{t: np.squeeze(data[f'{key}/label_{t}'])
                   for t in tasks}))  # yapf: disable
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


def gan_model(key, window, seed):
    return load_release(tiny_model(window=window, adversarial=True), key, seed)


@pytest.mark.parametrize('name, key, window', GAN_CASES)
def test_gan_logits_and_verdicts(name, key, window):
    data = load(name)
    model = gan_model(key, window, int(data['seed'])).eval()
    with torch.no_grad():
        img = image(data['eval/img'])
        features = model.extract_feat(img)
        for prefix, head, discriminators in (('', model.decode_head,
                                              model.discriminators),
                                             ('aux_', model.auxiliary_head,
                                              model.auxiliary_discriminators)):
            for task, logits in head(features).items():
                logits = torch.nn.functional.interpolate(
                    logits, img.shape[2:], mode='bilinear')
                assert_close(logits, data[f'eval/{prefix}logits_{task}'])
                assert_close(discriminators[task](logits.sigmoid()),
                             data[f'eval/{prefix}disc_{task}'])


@pytest.mark.parametrize('images_per_pass, dtype', [
    (1, torch.float32),
    (4, torch.float32),
    (6, torch.float64),
])
@pytest.mark.parametrize('name, key, window', GAN_CASES)
def test_gan_training(name, key, window, images_per_pass, dtype):
    """Every loss term, gradient norm, step length and the logits after.

    The step lengths of the third step are compared in float64 only: rounding
    puts some discriminator activations on the other side of zero.
    """
    data = load(name)
    model = gan_model(key, window, int(data['seed'])).train().to(dtype)
    model.train_cfg['images_per_pass'] = images_per_pass
    batch = gan_batch(data)
    batch['img'] = batch['img'].to(dtype)
    start = {n: p.detach().clone() for n, p in model.named_parameters()}
    optimizers = build_optimizer(
        model,
        Config.fromfile(osp.join(ROOT, STAGE2_CONFIG)).optimizer)

    for step in (1, 2, 3):
        for optimizer in optimizers.values():
            optimizer.zero_grad()
        outputs = model.train_step(batch, backward=lambda x: x.backward())
        if step == 1:
            check_gan_losses(outputs['losses'], data)
            grads = {n: p.grad for n, p in model.named_parameters()}
            check_norms(
                release_norms(grads, key), data, 'train/gradnorm/', 1e-4, 1e-6)
        for optimizer in optimizers.values():
            optimizer.step()
        prefix = f'after_{step}_step{"s" if step > 1 else ""}/delta_norm/'
        if step == 1 or (step == 3 and dtype == torch.float64):
            moved = {n: p - start[n] for n, p in model.named_parameters()}
            check_norms(release_norms(moved, key), data, prefix, 1e-3, 1e-9)
    model.eval()
    with torch.no_grad():
        img = image(data['eval/img']).to(dtype)
        logits = model.split(model.encode_decode(img, []))
    for task in TASKS:
        assert_close(logits[task], data[f'after_3_steps/logits_{task}'])


def check_gan_losses(losses, data):
    names = published_loss_names()
    terms = {k.split('/')[-1] for k in data if k.startswith('train/log/loss_')}
    assert terms == set(names)
    for theirs, ours in names.items():
        assert_scalar(losses[ours], data[f'train/log/{theirs}'], ours)
    trained = {k for k in losses if 'loss' in k}
    assert trained == set(names.values())


# ---- published configs, at full width, from the config files


@pytest.mark.parametrize('config, key, published', [
    (STAGE1_CONFIG, 'stage1', 'stage1'),
    (STAGE2_CONFIG, 'gan', 'gan'),
])
def test_published_configs(config, key, published):
    data = load('published_configs')
    cfg = Config.fromfile(osp.join(ROOT, config))
    cfg.model.pretrained = None
    model = load_release(build_segmentor(cfg.model), key,
                         int(data['seed'])).eval()
    img = image(data['img'])
    with torch.no_grad():
        features = model.extract_feat(img)
        for prefix, head in model.dense_heads.items():
            prefix = 'aux_' if prefix == 'aux' else ''
            if f'{published}/{prefix}logits_vessel' not in data:
                continue
            for task, logits in head(features).items():
                logits = torch.nn.functional.interpolate(
                    logits, img.shape[2:], mode='bilinear')
                assert_close(logits,
                             data[f'{published}/{prefix}logits_{task}'])


# ---- losses


def loss_cases():
    return sorted({k.split('/')[0] for k in load('losses')})


@pytest.mark.parametrize('case', loss_cases())
def test_losses(case):
    data = load('losses')
    _, *mode, channels, kind, smooth = case.split('_')
    task = {
        ('C1', 'plain'): 'vessel',
        ('C4', 'plain'): 'lesion',
        ('C2', 'odoc'): 'odoc'
    }[channels, kind]
    loss = BinaryLoss(
        mode='_'.join(mode),
        smooth=float(smooth[len('smooth'):]),
        loss_weight=0.7,
        ignore_index=None)
    logits = torch.from_numpy(data[f'{case}/logits'].astype(
        np.float64)).requires_grad_()
    labels = torch.from_numpy(data[f'{case}/label'])
    value = loss(logits, labels, BUILTIN_TASKS[task]).mean()
    value.backward()
    assert_scalar(value, data[f'{case}/loss'])
    assert_close(logits.grad, data[f'{case}/grad'], 1e-5)


# ---- metrics

# Names of the golden file, and ours where they differ.
GOLDEN_NAMES = {
    'vessel':
    dict(
        auc='AUC',
        se='Sensitivity@Otsu',
        sp='Specificity@Otsu',
        ppv='PPV@Otsu',
        ACC='Accuracy'),
    'lesion':
    dict(se='Sensitivity', sp='PPV', dice='Dice', auc_roc='AUC', mae='MAE'),
    'odoc': {},
}


@pytest.fixture(scope='module')
def golden():
    return load('metrics')


def golden_sums(golden, name, **kwargs):
    task = BUILTIN_TASKS[name]
    count = sum(
        key.startswith(f'{name}/') and key.endswith('/prob') for key in golden)
    assert count > 0
    return [
        update(golden[f'{name}/{i}/prob'], golden[f'{name}/{i}/label'], task,
               **kwargs) for i in range(count)
    ]


@pytest.mark.parametrize('ignore_index', [255, None])
@pytest.mark.parametrize('name', list(GOLDEN_NAMES))
def test_published_figures_are_those_of_the_release(golden, name,
                                                    ignore_index):
    task = BUILTIN_TASKS[name]
    sums = golden_sums(golden, name, ignore_index=ignore_index)
    table = compute(sums, task)['published']
    checked = set()
    for key, expected in golden.items():
        if not key.startswith(f'{name}/ref/'):
            continue
        metric = key.split('/')[-1]
        row = table[GOLDEN_NAMES[name].get(metric, metric)]
        checked.add(GOLDEN_NAMES[name].get(metric, metric))
        ours = [row[c] for c in task.classes]
        np.testing.assert_allclose(ours, expected[1:], rtol=0, atol=1e-5)
        if 'background' in row:
            np.testing.assert_allclose(
                row['background'], expected[0], rtol=0, atol=1e-5)
    assert checked == set(table)


def test_disc_only_masks_give_the_figures_of_the_release(golden):
    images = sorted({
        key.split('/')[1]
        for key in golden if key.startswith('odoc/') and 'ref' not in key
    })
    probs = [golden[f'odoc/{i}/prob'][0] for i in images]
    masks = [as_binary(golden[f'odoc/{i}/label']) for i in images]
    disc = Task('odoc', ('disc', ))
    sums = [update(p[None], m, disc) for p, m in zip(probs, masks)]
    table = compute(sums, disc)['published']
    for metric in ('IoU', 'Dice'):
        ours = [table[metric]['background'], table[metric]['disc']]
        np.testing.assert_allclose(
            ours, golden[f'od/ref/{metric}'], rtol=0, atol=1e-5)
