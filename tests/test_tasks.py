"""Tasks: labels to targets, probabilities to labels, canonical order."""
from itertools import combinations

import pytest
import torch

from mbos.tasks import (BUILTIN_TASKS, IGNORE_INDEX, Task, build_task,
                        build_tasks)

SPOTS = Task('spot', ('a', 'b', 'c'))
SHELLS = Task('shell', ('outer', 'middle', 'inner'), nested=True)


def test_builtin_tasks_are_the_published_ones():
    assert IGNORE_INDEX == 255
    assert {
        name: task.classes
        for name, task in BUILTIN_TASKS.items()
    } == {
        'vessel': ('vessel', ),
        'lesion': ('EX', 'HE', 'SE', 'MA'),
        'odoc': ('disc', 'cup')
    }
    assert [t.name for t in BUILTIN_TASKS.values() if t.nested] == ['odoc']
    assert all(
        len(task.palette) == task.num_classes
        for task in BUILTIN_TASKS.values())


@pytest.mark.parametrize(
    'task, expected', [
        (SPOTS, [[0, 1, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0], [0, 0, 0, 1, 0, 0]]),
        (SHELLS, [[0, 1, 1, 1, 0, 0], [0, 0, 1, 1, 0, 0], [0, 0, 0, 1, 0, 0]]),
    ],
    ids=['exclusive', 'nested'])
def test_encode_by_hand(task, expected):
    # A value beyond the classes is background; 255 is not valid.
    labels = torch.tensor([[0, 1, 2, 3, 9, 255]], dtype=torch.uint8)
    targets, valid = task.encode(labels)
    assert targets.dtype == valid.dtype == torch.bool
    assert targets.shape == valid.shape == (3, 1, 6)
    assert targets.int()[:, 0].tolist() == expected
    assert valid.int()[:, 0].tolist() == [[1, 1, 1, 1, 1, 0]] * 3
    same, everywhere = task.encode(labels, ignore_index=None)
    assert torch.equal(same, targets) and everywhere.all()


def test_encode_takes_batches_and_other_ignore_values():
    labels = torch.randint(0, 4, (2, 5, 6, 7), dtype=torch.uint8)
    targets, valid = SHELLS.encode(labels, ignore_index=3)
    assert targets.shape == (2, 5, 3, 6, 7)
    assert valid.shape == (2, 5, 3, 6, 7)
    assert torch.equal(valid[:, :, 1], labels != 3)
    assert torch.equal(targets[1, 2], SHELLS.encode(labels[1, 2])[0])


@pytest.mark.parametrize(
    'task, known, labels, expected',
    [
        # only b is labelled: elsewhere a and c are unknown, on b they are not
        (SPOTS, 'b', [0, 2, 255], ['?0?', '01?', '?0?']),
        (SPOTS, 'ac', [0, 1, 3, 255], ['010?', '?00?', '001?']),
        (SPOTS, 'abc', [0, 1, 2, 3], ['0100', '0010', '0001']),
        # outside the outer shell nothing is, inside it nothing is known
        (SHELLS, 'o', [0, 1, 255], ['01?', '0??', '0??']),
        # inside the middle shell is inside the outer one
        (SHELLS, 'm', [0, 2, 255], ['?1?', '01?', '0??']),
        (SHELLS, 'i', [0, 3, 255], ['?1?', '?1?', '01?']),
        (SHELLS, 'oi', [0, 1, 3, 255], ['011?', '0?1?', '001?']),
        (SHELLS, 'mi', [0, 2, 3, 255], ['?11?', '011?', '001?']),
        (SHELLS, 'omi', [0, 1, 2, 3], ['0111', '0011', '0001']),
    ])
def test_encode_some_classes_by_hand(task, known, labels, expected):
    """Targets of the channels: 0 and 1 where they are known, ? where not."""
    mask = torch.tensor([c[0] in known for c in task.classes])
    targets, valid = task.encode(
        torch.tensor([labels], dtype=torch.uint8), known=mask)
    for channel, text in enumerate(expected):
        assert valid[channel, 0].tolist() == [c != '?' for c in text]
        assert (targets & valid)[channel,
                                 0].tolist() == [c == '1' for c in text]


@pytest.mark.parametrize('task', [SPOTS, SHELLS], ids=lambda task: task.name)
def test_what_is_known_is_true(task):
    """Whatever the classes: nothing known contradicts the whole truth."""
    whole = torch.randint(0, 4, (1, 200), dtype=torch.uint8)
    truth, _ = task.encode(whole)
    for size in (1, 2, 3):
        for classes in combinations(task.classes, size):
            mask = torch.tensor([c in classes for c in task.classes])
            level = (truth & mask[:, None, None]) * torch.arange(1, 4).view(
                3, 1, 1)
            targets, valid = task.encode(
                level.amax(0).to(torch.uint8), known=mask)
            assert not ((targets != truth) & valid).any()
            assert valid[mask].all()


def test_encode_planes_of_different_classes_together():
    labels = torch.tensor([[[0, 2]], [[0, 2]]], dtype=torch.uint8)
    known = torch.tensor([[True] * 3, [False, True, False]])
    _, valid = SPOTS.encode(labels, known=known)
    assert valid[:, :, 0].int().tolist() == [[[1, 1]] * 3,
                                             [[0, 1], [1, 1], [0, 1]]]


def test_published_ignoring_is_background_of_some_classes_too():
    labels = torch.tensor([[0, 255]], dtype=torch.uint8)
    outer = torch.tensor([True, False, False])
    targets, valid = SHELLS.encode(labels, ignore_index=None, known=outer)
    assert valid.all() and not targets.any()


def test_parts_of_a_task():
    part = SHELLS.part(['inner', 'outer'])
    assert part.classes == ('outer', 'inner') and part.nested
    assert SHELLS.part(['middle']) == Task('shell', ('middle', ))
    assert SPOTS.part(('a', 'b', 'c')) is SPOTS
    palette = BUILTIN_TASKS['lesion'].palette
    assert BUILTIN_TASKS['lesion'].part(['HE']).palette == palette[1:2]
    assert SPOTS.channels(['c', 'a']) == [0, 2]
    # labels 0 to 3 and 255 of the task, in the part
    labels = [0, 1, 2, 3, 255]
    assert SPOTS.part_values(['a', 'c'])[labels].tolist() == [0, 1, 0, 2, 255]
    assert SHELLS.part_values(
        part.classes)[labels].tolist() == [0, 1, 1, 2, 255]


@pytest.mark.parametrize(
    'task, known, labels, probs, expected',
    [
        # on a spot that is labelled nothing else is; elsewhere the most
        # probable one, but never a labelled class
        (SPOTS, 'b', [2, 0, 0, 0], [(.9, .9, .9), (.8, .9, .7), (.1, .9, .4),
                                    (.6, .2, .7)], [2, 1, 0, 3]),
        # nothing outside the outer shell; inside it, what is predicted
        (SHELLS, 'o', [0, 1, 1, 1], [(.9, .9, .9), (.1, .2, .1), (.1, .9, .4),
                                     (.1, .1, .9)], [0, 1, 2, 3]),
        # the middle shell is never left, nor entered from outside
        (SHELLS, 'm', [2, 2, 0, 0], [(.1, .1, .1), (.1, .1, .9), (.9, .9, .9),
                                     (.2, .9, .9)], [2, 3, 1, 0]),
        (SHELLS, 'i', [3, 0, 0, 0], [(.1, .1, .1), (.9, .9, .9), (.9, .1, .9),
                                     (.1, .1, .9)], [3, 2, 1, 0]),
    ])
def test_completed_labels_by_hand(task, known, labels, probs, expected):
    classes = [c for c in task.classes if c[0] in known]
    prob = torch.tensor(probs).T[:, None]
    plane = torch.tensor([labels], dtype=torch.uint8)
    completed = task.complete(prob, plane, classes)
    assert task.decode(completed).tolist() == [expected]
    # pixels of 255 say nothing
    nothing = torch.full_like(plane, 255)
    assert torch.equal(task.complete(prob, nothing, classes), prob)


@pytest.mark.parametrize('classes', ['a', ['a', 'd'], ['a', 'a'], []])
def test_wrong_classes_are_refused(classes):
    with pytest.raises(ValueError, match="Task 'spot' has the classes a, b"):
        SPOTS.part(classes)


@pytest.mark.parametrize('task', [SPOTS, SHELLS], ids=lambda task: task.name)
def test_decode_undoes_encode(task):
    labels = torch.arange(4, dtype=torch.uint8).reshape(2, 2)
    decoded = task.decode(task.encode(labels)[0].float())
    assert decoded.dtype == torch.uint8
    assert torch.equal(decoded, labels)


def test_decode_exclusive_classes_by_hand():
    prob = torch.tensor([
        [0.6, 0.4, 0.5, 0.7],
        [0.7, 0.3, 0.5, 0.2],
        [0.1, 0.2, 0.1, 0.1],
    ]).view(3, 1, 4)
    # The most probable class, where any exceeds the threshold strictly.
    assert SPOTS.decode(prob).tolist() == [[2, 0, 0, 1]]
    assert SPOTS.decode(prob, threshold=0.35).tolist() == [[2, 1, 1, 1]]


def test_decode_nested_classes_by_hand():
    prob = torch.tensor([
        [0.9, 0.9, 0.1, 0.9, 0.5],
        [0.1, 0.8, 0.1, 0.1, 0.5],
        [0.1, 0.1, 0.6, 0.7, 0.5],
    ]).view(3, 1, 5)
    # The innermost class wins even where an outer one is improbable.
    assert SHELLS.decode(prob).tolist() == [[1, 2, 3, 3, 0]]


def test_decode_refuses_other_channel_counts():
    with pytest.raises(ValueError, match='3 classes'):
        SPOTS.decode(torch.zeros(2, 4, 4))


def test_build_task_from_all_kinds():
    assert build_task('odoc') is BUILTIN_TASKS['odoc']
    assert build_task(SPOTS) is SPOTS
    made = build_task(
        dict(name='spot', classes=['a', 'b'], palette=[[1, 2, 3], [4, 5, 6]]))
    assert made.classes == ('a', 'b')
    assert made.palette == ((1, 2, 3), (4, 5, 6))
    assert not made.nested and made.num_classes == 2


def test_order_of_tasks_does_not_depend_on_the_config():
    expected = ['vessel', 'odoc', 'shell', 'spot']
    cfgs = [SPOTS, 'odoc', SHELLS, 'vessel']
    for some in (cfgs, cfgs[::-1], cfgs[2:] + cfgs[:2]):
        assert [task.name for task in build_tasks(some)] == expected


@pytest.mark.parametrize('cfg, message', [
    (dict(name='a b', classes=('x', )), 'not usable'),
    (dict(name='', classes=('x', )), 'not usable'),
    (dict(name='a', classes=()), '1 to 254'),
    (dict(name='a', classes='disc'), '1 to 254'),
    (dict(name='a', classes=('x', 'x')), 'different'),
    (dict(name='a', classes=('x', 'y'), palette=[(0, 0, 0)]), '1 colours'),
    ('fovea', 'vessel, lesion, odoc'),
])
def test_unusable_tasks_are_refused(cfg, message):
    with pytest.raises(ValueError, match=message):
        build_task(cfg)


@pytest.mark.parametrize('cfgs, message', [
    ([], 'Expected a list'),
    ('vessel', 'Expected a list'),
    (['vessel', 'odoc', 'vessel'], 'listed twice'),
])
def test_unusable_lists_are_refused(cfgs, message):
    with pytest.raises(ValueError, match=message):
        build_tasks(cfgs)


def test_thresholds_by_class():
    lesion = Task('lesion', ('EX', 'HE'))
    prob = torch.tensor([[0.40, 0.40, 0.2], [0.55, 0.65, 0.9]])[:, None]
    # 0.55 is HE at 0.5; where HE must exceed 0.6, EX, above 0.3, is left
    assert lesion.decode(prob, 0.5).tolist() == [[2, 2, 2]]
    assert lesion.decode(prob, dict(EX=0.3, HE=0.6)).tolist() == [[1, 2, 2]]
    assert lesion.decode(prob, dict(HE=0.6)).tolist() == [[0, 2, 2]]
    odoc = Task('odoc', ('disc', 'cup'), nested=True)
    prob = torch.tensor([[0.9, 0.9, 0.7], [0.1, 0.6, 0.8]])[:, None]
    assert odoc.decode(prob, dict(disc=0.8, cup=0.7)).tolist() == [[1, 1, 2]]


@pytest.mark.parametrize('given, message', [
    (dict(HE=0.5, MA=0.5), "has no class 'MA'"),
    (dict(EX=1.0), 'lesion.EX is 1.0, expected'),
    (-0.1, 'lesion.EX is -0.1, expected'),
    (dict(EX='x'), "lesion.EX is 'x', expected"),
])
def test_thresholds_that_are_none(given, message):
    with pytest.raises(ValueError, match=message):
        Task('lesion', ('EX', 'HE')).thresholds(given)
