"""Both segmentors: batches, groups, orders, and inference.

What holds for stage 1 must hold for stage 2, so most tests run on both.
"""
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mbos.tasks import BUILTIN_TASKS
from tests.utils import make_meta, stack_planes, tiny_model

FOUR = ('vessel', 'lesion', 'odoc', 'spot')
SPOT = dict(name='spot', classes=('spot', ))
CLASSES = dict(vessel=1, lesion=4, odoc=2, spot=1)
BOTH = pytest.mark.parametrize('adversarial', [False, True])


def network(tasks, adversarial, seed=0, **kwargs):
    torch.manual_seed(seed)
    described = [SPOT if t == 'spot' else t for t in tasks]
    if adversarial:
        kwargs.update(
            window=8,
            adversarial=True,
            discriminator=dict(type='PatchDiscriminator', channels=4))
    else:
        kwargs['type'] = 'MultiTaskSegmentor'
    model = tiny_model(tasks=described, **kwargs)
    return model.double().train()


def sample(seed, dataset, tasks, truth=(), pseudo=(), size=(32, 32)):
    rng = np.random.default_rng(seed)
    planes = {
        t: rng.integers(0, CLASSES[t] + 1, size)
        for t in (*truth, *pseudo)
    }
    for plane in planes.values():
        plane[:3] = 255
    weights = {t: 2.0 for t in pseudo[:1]}
    return (torch.from_numpy(rng.normal(size=(3, *size))),
            make_meta(dataset, tasks, truth, pseudo,
                      weights), stack_planes(tasks, *size, **planes))


def samples(tasks, adversarial, image=0, size=(32, 32)):
    """One image of each dataset; each labels a task of its own."""
    out = [
        sample([image, i], f'{t}_set', tasks, truth=[t], size=size)
        for i, t in enumerate(tasks)
    ]
    if adversarial and len(tasks) > 1:
        out += [
            sample([image, 9, i],
                   f'{t}_set',
                   tasks,
                   pseudo=[o for o in tasks if o != t],
                   size=size) for i, t in enumerate(tasks)
        ]
    return out


def join(items):
    images, metas, labels = zip(*items)
    if len({i.shape for i in images}) == 1:
        images, labels = torch.stack(images), torch.stack(labels)
    return dict(img=images, img_metas=list(metas), labels=labels)


def run(model, items):
    """Losses and gradients of one batch."""
    model.zero_grad()
    step = model.train_step(join(items), backward=lambda x: x.backward())
    return with_gradients(model, step['losses'])


def with_gradients(model, losses):
    grads = {n: p.grad for n, p in model.named_parameters()}
    return ({k: v.item() for k, v in losses.items()},
            {n: g.clone() for n, g in grads.items()
             if g is not None})  # yapf: disable


def assert_same(actual, expected, tolerance=1e-5):
    losses, grads = actual
    assert losses == pytest.approx(expected[0], rel=tolerance)
    assert grads.keys() == expected[1].keys()
    # gradients that cancel but for rounding have no scale of their own
    floor = 1e-9 * max(g.norm() for g in grads.values())
    for name, grad in grads.items():
        error = (grad - expected[1][name]).norm()
        assert error <= tolerance * expected[1][name].norm() + floor, name


def mean(results):
    """Mean of losses and gradients of several runs."""
    losses, grads = zip(*results)
    n = len(results)
    assert all(x.keys() == losses[0].keys() for x in losses)
    return ({k: sum(x[k] for x in losses) / n
             for k in losses[0]},
            {k: sum(x[k] for x in grads) / n
             for k in grads[0]})  # yapf: disable


@BOTH
@pytest.mark.parametrize('number', [1, 3])
def test_two_images_per_dataset_equal_one_by_one(number, adversarial):
    tasks = FOUR[:number]
    model = network(tasks, adversarial)
    model.train_cfg['images_per_pass'] = 100
    singles = [samples(tasks, adversarial, image) for image in (0, 1)]
    # both images of a dataset side by side
    batch = [item for pair in zip(*singles) for item in pair]
    expected = mean([run(model, items) for items in singles])
    assert_same(run(model, batch), expected)

    model.eval()
    with torch.no_grad():
        together = model.encode_decode(join(batch)['img'], [])
        alone = [model.encode_decode(b[0][None], []) for b in batch]
    assert torch.allclose(together, torch.cat(alone), rtol=1e-5, atol=1e-9)


def only(item, task, *classes):
    """A sample whose plane labels only some classes of a task."""
    img, meta, labels = item
    index = list(meta['planes']).index(task)
    described = BUILTIN_TASKS[task]
    labels = labels.clone()
    values = torch.from_numpy(described.part_values(classes))
    kept = torch.tensor([0] + [c + 1 for c in described.channels(classes)])
    part = values[labels[index].long()].long()
    labels[index] = torch.where(part == 255, part, kept[part % 255])
    planes = {t: dict(plane) for t, plane in meta['planes'].items()}
    planes[task]['classes'] = classes
    return img, dict(meta, planes=planes), labels


@BOTH
@pytest.mark.parametrize('limit', [1, 2, 'auto'])
def test_images_per_pass_changes_nothing(limit, adversarial):
    """Nor do unequal sizes, which pass in groups, or planes of some classes.
    """
    tasks = FOUR[:3]
    model = network(tasks, adversarial)
    batch = samples(tasks, adversarial) + samples(tasks, adversarial, 1,
                                                  (32, 64))
    batch += [
        only(
            sample([7, i], f'part{i}', tasks, truth=['lesion', 'odoc']),
            'lesion', 'HE', 'MA') for i in range(2)
    ]
    batch += [only(samples(tasks, adversarial, 1)[2], 'odoc', 'disc')]
    model.train_cfg['images_per_pass'] = 100
    expected = run(model, batch)
    model.train_cfg['images_per_pass'] = limit
    assert_same(run(model, batch), expected)


def test_classes_without_truth_are_hidden_from_the_game():
    """The discriminators see discs; no cup of theirs has a gradient."""
    tasks = FOUR[:3]
    model = network(tasks, True)
    batch = [
        only(item, 'odoc', 'disc')
        if 'odoc_set' == item[1]['dataset'] else item
        for item in samples(tasks, False)
    ]
    for _, meta, _ in batch:
        meta['planes']['odoc']['learnt'] = ('disc', )
    seen = []

    def note(module, inputs):
        seen.append(inputs[0].detach())

    model.discriminators['odoc'].register_forward_pre_hook(note)
    losses, _ = run(model, batch)
    assert 'decode.loss_adv.odoc.on_vessel_set' in losses
    prob = torch.cat(seen)
    assert prob[:, 0].all() and not prob[:, 1].any()


@BOTH
def test_order_of_tasks_and_datasets_changes_nothing(adversarial):
    model = network(FOUR, adversarial)
    order = ('spot', 'odoc', 'vessel', 'lesion')
    other = network(order, adversarial, seed=1)
    other.load_state_dict(model.state_dict())
    batch = samples(FOUR, adversarial)
    # the same images with their planes and their datasets in another order
    moved = [(img, dict(meta, planes={t: meta['planes'][t]
                                      for t in order}),
              torch.stack([labels[FOUR.index(t)] for t in order]))
             for img, meta, labels in batch[::-1]]
    assert_same(run(other, moved), run(model, batch))
    img = batch[0][0][None]
    meta = [dict(ori_shape=(32, 32, 3), img_shape=(32, 32, 3), flip=False)]
    with torch.no_grad():
        ours = model.eval().simple_test(img, meta)[0]
        theirs = other.eval().simple_test(img, meta)[0]
    for task in FOUR:
        np.testing.assert_allclose(theirs[task], ours[task], rtol=1e-5)


def test_stage1_only_trains_decoders_of_labelled_tasks():
    model = network(FOUR[:3], False)
    losses, grads = run(model, samples(FOUR[:3], False)[:1])
    assert set(losses) == {f'{h}.loss_truth.vessel' for h in ('decode', 'aux')}
    heads = {n.split('.')[2] for n in grads if '.heads.' in n}
    assert heads == {'vessel'}


def test_planes_of_other_tasks_are_refused():
    model = network(FOUR[:3], False)
    with pytest.raises(ValueError, match="'vessel_set' has label planes of"):
        run(model, samples(FOUR[:2], False))


# ---- stage 2 alone


def test_generator_and_discriminators_do_not_train_each_other():
    tasks = FOUR[:2]
    model = network(tasks, True)
    batch = samples(tasks, True)
    losses = model(**join(batch))
    parts = dict(
        generator=[k for k in losses if 'loss' in k and '_disc_' not in k],
        discriminator=[k for k in losses if 'loss_disc' in k])
    for part, names in parts.items():
        model.zero_grad()
        sum(losses[k] for k in names).backward(retain_graph=True)
        touched = {
            'discriminator' if 'discriminators' in n else 'generator'
            for n, p in model.named_parameters() if p.grad is not None
        }
        assert touched == {part}
    assert all(p.requires_grad for p in model.discriminators.parameters())
    for judge in model.discriminators.values():  # takes all for source
        judge.convs[-1].weight.data.zero_()
        judge.convs[-1].bias.data.fill_(1)
    losses = model(**join(batch))
    assert losses['decode.disc_acc_source.vessel'] == 1
    assert losses['decode.disc_acc_target.vessel'] == 0


def test_one_task_has_no_game_and_no_attention():
    model = network(('odoc', ), True)
    losses, grads = run(model, samples(('odoc', ), True))
    assert set(losses) == {f'{h}.loss_truth.odoc' for h in ('decode', 'aux')}
    assert not any('discriminators' in n for n in grads)


# ---- inference


def whole(model, img, size):
    """Probabilities of an image, from its logits."""
    with torch.no_grad():
        features = model.extract_feat(img)
        logits = torch.cat(list(model.decode_head(features).values()), 1)
    logits = F.interpolate(
        logits, img.shape[2:], mode='bilinear', align_corners=False)
    return F.interpolate(
        logits, size, mode='bilinear', align_corners=False).sigmoid()[0]


def meta_of(img, size, flip=None):
    return [
        dict(
            img_shape=(*img.shape[2:], 3),
            ori_shape=(*size, 3),
            flip=flip is not None,
            flip_direction=flip)
    ]


def side_by_side(result):
    return torch.from_numpy(np.concatenate(list(result.values())))


@BOTH
@torch.no_grad()
def test_whole_inference_of_rectangles(adversarial):
    """Images of a batch may have unequal original sizes."""
    model = network(FOUR[:3], adversarial).eval()
    img = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    sizes = [(50, 83), (32, 64)]
    results = model.simple_test(img, [meta_of(img, s)[0] for s in sizes])
    for result, image, size in zip(results, img, sizes):
        assert {t: v.shape for t, v in result.items()} == {
            t: (CLASSES[t], *size) for t in FOUR[:3]}  # yapf: disable
        assert all(v.dtype == np.float32 for v in result.values())
        expected = whole(model, image[None], size).float()
        assert torch.allclose(side_by_side(result), expected, atol=1e-6)


@BOTH
@pytest.mark.parametrize('mode', ['whole', 'slide'])
@torch.no_grad()
def test_wanted_tasks_alone(adversarial, mode):
    model = network(FOUR[:3], adversarial).eval()
    model.test_cfg.update(mode=mode, crop_size=(64, 64), stride=(32, 32))
    img = torch.randn(1, 3, 64, 96, dtype=torch.float64)
    everything, = model.simple_test(img, meta_of(img, (50, 83)))
    if not adversarial:  # cross-task attention reads the maps of all tasks
        model.decode_head.heads['vessel'].forward = None
        model.decode_head.heads['vessel']._forward_feature = None
    found, = model.simple_test(
        img, meta_of(img, (50, 83)), tasks=['odoc', 'lesion'])
    assert list(found) == ['lesion', 'odoc']
    for task, prob in found.items():
        np.testing.assert_array_equal(prob, everything[task])


@pytest.mark.parametrize('direction, axis', [('horizontal', 2),
                                             ('vertical', 1)])
@torch.no_grad()
def test_augmentations_are_undone_and_averaged(direction, axis):
    model = network(FOUR[:3], True).eval()
    small = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    large = torch.randn(1, 3, 96, 64, dtype=torch.float64)
    size = (40, 56)
    result, = model.aug_test(
        [small, large],
        [meta_of(small, size),
         meta_of(large, size, direction)])
    expected = (whole(model, small, size) +
                whole(model, large, size).flip(dims=(axis, ))) / 2
    assert torch.allclose(side_by_side(result), expected.float(), atol=1e-6)


@torch.no_grad()
def test_sliding_windows_are_averaged():
    model = network(FOUR[:3], False).eval()
    model.test_cfg.update(mode='slide', crop_size=(64, 64), stride=(32, 48))
    img = torch.randn(1, 3, 96, 80, dtype=torch.float64)
    total, count = torch.zeros(7, 96, 80), torch.zeros(96, 80)
    # the last column of windows is moved inside: 0 and 80 - 64
    for top, left in product((0, 32), (0, 16)):
        box = (..., slice(top, top + 64), slice(left, left + 64))
        total[box] += model.encode_decode(img[box], [])[0]
        count[box] += 1
    result, = model.simple_test(img, meta_of(img, (96, 80)))
    expected = (total / count).sigmoid()
    assert torch.allclose(side_by_side(result), expected, atol=1e-6)
