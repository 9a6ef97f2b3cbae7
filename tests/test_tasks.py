"""Tasks: labels to targets, probabilities to labels, canonical order."""
import pytest
import torch

from mbos.tasks import BUILTIN_TASKS, Task, build_task, build_tasks

SPOTS = Task('spot', ('a', 'b', 'c'))
SHELLS = Task('shell', ('outer', 'middle', 'inner'), nested=True)


def mask_of(task, letters):
    """Which classes begin with one of the letters."""
    return torch.tensor([c[0] in letters for c in task.classes])


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
    # batches, and other ignore values
    targets, valid = task.encode(labels.expand(2, 5, 1, 6), ignore_index=3)
    assert torch.equal(targets, same.expand(2, 5, 3, 1, 6))
    assert torch.equal(valid[1, 4, 2], labels != 3)
    undone = task.decode(same.float())
    assert undone.dtype == torch.uint8
    assert undone.tolist() == [[0, 1, 2, 3, 0, 0]]


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
    targets, valid = task.encode(
        torch.tensor([labels], dtype=torch.uint8), known=mask_of(task, known))
    found = torch.where(valid, targets.int(), 2)[:, 0].tolist()
    assert [''.join('01?'[i] for i in channel)
            for channel in found] == expected


def test_encode_planes_of_different_classes_together():
    labels = torch.tensor([[[0, 2]], [[0, 2]]], dtype=torch.uint8)
    known = torch.tensor([[True] * 3, [False, True, False]])
    _, valid = SPOTS.encode(labels, known=known)
    assert valid[:, :, 0].int().tolist() == [[[1, 1]] * 3,
                                             [[0, 1], [1, 1], [0, 1]]]
    # published: ignored pixels are background, of some classes, too
    labels = torch.tensor([[0, 255]], dtype=torch.uint8)
    targets, valid = SHELLS.encode(
        labels, ignore_index=None, known=mask_of(SHELLS, 'o'))
    assert valid.all() and not targets.any()


def test_parts_of_a_task():
    part = SHELLS.part(['inner', 'outer'])
    assert part.classes == ('outer', 'inner') and part.nested
    assert SHELLS.part(['middle']) == Task('shell', ('middle', ))
    assert SPOTS.part(('a', 'b', 'c')) is SPOTS
    palette = BUILTIN_TASKS['lesion'].palette
    assert BUILTIN_TASKS['lesion'].part(['HE']).palette == palette[1:2]
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


@pytest.mark.parametrize(
    'task, threshold, pixels, expected',
    [
        # the most probable class, where any exceeds the threshold strictly
        (SPOTS, 0.5, ['671', '432', '551', '721'], [2, 0, 0, 1]),
        (SPOTS, 0.35, ['671', '432', '551', '721'], [2, 1, 1, 1]),
        # 0.55 is b at 0.5; where b must exceed 0.6, a, above 0.3, is left
        (SPOTS, dict(a=0.3, b=0.6), ['460', '470', '290'], [1, 2, 2]),
        (SPOTS, dict(b=0.6), ['460', '470', '290'], [0, 2, 2]),
        # the innermost class, even where an outer one is improbable
        (SHELLS, 0.5, ['911', '981', '116', '917', '555'], [1, 2, 3, 3, 0]),
        (SHELLS, dict(outer=0.8, middle=0.7), ['910', '960', '780'], [1, 1, 2
                                                                      ]),
    ])
def test_decode_by_hand(task, threshold, pixels, expected):
    """Pixels are tenths of the probabilities of their classes."""
    prob = torch.tensor([list(map(int, pixel)) for pixel in pixels]) / 10
    assert task.decode(prob.T[:, None], threshold).tolist() == [expected]


def test_tasks_from_configs():
    assert build_task('odoc') is BUILTIN_TASKS['odoc']
    assert build_task(SPOTS) is SPOTS
    made = build_task(
        dict(name='spot', classes=['a', 'b'], palette=[[1, 2, 3], [4, 5, 6]]))
    assert made == Task('spot', ('a', 'b')) and made.num_classes == 2
    assert made.palette == ((1, 2, 3), (4, 5, 6))
    assert build_task(made.as_config()).palette == made.palette
    cfgs = [SPOTS, 'odoc', SHELLS, 'vessel']
    for some in (cfgs, cfgs[::-1], cfgs[2:] + cfgs[:2]):
        assert [task.name for task in build_tasks(some)
                ] == ['vessel', 'odoc', 'shell', 'spot']


@pytest.mark.parametrize('make, message', [
    (lambda: Task('a b', ('x', )), 'not usable'),
    (lambda: Task('a', ()), '1 to 254'),
    (lambda: Task('a', 'disc'), '1 to 254'),
    (lambda: Task('a', ('x', 'x')), 'different'),
    (lambda: Task('a', ('x', 'y'), palette=[(0, 0, 0)]), '1 colours'),
    (lambda: build_task('fovea'), 'vessel, lesion, odoc'),
    (lambda: build_tasks('vessel'), 'Expected a list'),
    (lambda: build_tasks(['vessel', 'odoc', 'vessel']), 'listed twice'),
    (lambda: SPOTS.part('a'), "'spot' has the classes a, b"),
    (lambda: SPOTS.part(['a', 'd']), "'spot' has the classes a, b"),
    (lambda: SPOTS.part(['a', 'a']), "'spot' has the classes a, b"),
    (lambda: SPOTS.thresholds(dict(d=0.5)), "has no class 'd'"),
    (lambda: SPOTS.thresholds(dict(a=1.0)), 'spot.a is 1.0, expected'),
    (lambda: SPOTS.thresholds(-0.1), 'spot.a is -0.1, expected'),
    (lambda: SPOTS.thresholds(dict(a='x')), "spot.a is 'x', expected"),
    (lambda: SPOTS.decode(torch.zeros(2, 4, 4)), '3 classes'),
])
def test_what_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
