"""Names and shapes of released checkpoints, both ways."""
import pytest
import torch

from mbos.checkpoints.foreign_state import summarize
from mbos.checkpoints.release_layout import (check_release_tasks, from_release,
                                             in_release_order,
                                             is_release_state, to_release)
from mbos.tasks import build_tasks
from tests.released import is_dead, released, shapes
from tests.utils import TASKS, tiny_model

LAYOUTS = ('stage1', 'stage1_tiny', 'gan', 'gan_tiny_window8',
           'gan_tiny_window16')


@pytest.mark.parametrize('layout', LAYOUTS)
def test_round_trip_is_exact_but_for_dead_copies(layout):
    state, tasks = released(layout), build_tasks(TASKS)
    ours, dropped = from_release(state, tasks)
    back, refilled = to_release(ours, tasks)
    dead = {name for name in state if is_dead(name)}
    assert set(dropped) == dead
    assert set(refilled) == dead
    assert {
        n: tuple(v.shape)
        for n, v in back.items()
    } == {
        n: tuple(s)
        for n, s in shapes(layout).items()
    }
    assert all(torch.equal(back[n], state[n]) for n in set(state) - dead)
    again, _ = from_release(back, tasks)
    assert again.keys() == ours.keys()
    assert all(torch.equal(again[n], ours[n]) for n in ours)


def test_dead_copies_hold_what_the_first_pair_does():
    state, tasks = released('gan_tiny_window8'), build_tasks(TASKS)
    back, _ = to_release(from_release(state, tasks)[0], tasks)
    head = 'generator.decode_head.attn.'
    for pair in range(1, 6):
        for name in ('w_msa.{}.kv.weight', 'norm2.{}.bias',
                     'ffn.{}.layers.0.0.weight'):
            assert torch.equal(back[head + name.format(pair)],
                               state[head + name.format(0)])
    # Swin's index: rows of equal offset, (2 * 8 - 1)^2 = 225 offsets
    index = back[head + 'w_msa.3.relative_position_index']
    assert index[0, 0] == index[9, 9] == 112
    assert index[0, 63] == 0 and index[63, 0] == 224
    assert index[0, 1] == 111 and index[0, 8] == 112 - 15


@pytest.mark.parametrize('window, adversarial, layout', [
    (None, False, 'stage1_tiny'),
    (16, True, 'gan_tiny_window16'),
])
def test_our_networks_have_the_released_shapes(window, adversarial, layout):
    model = tiny_model(window=window, adversarial=adversarial)
    state, _ = to_release(model.state_dict(), list(model.tasks.values()))
    assert {n: list(v.shape) for n, v in state.items()} == shapes(layout)


def test_each_task_gets_its_own_share():
    state = {'decode_head.fpn_convs.0.conv.weight': torch.arange(6.)}
    ours, _ = from_release(state, build_tasks(TASKS))
    assert {
        n: v.tolist()
        for n, v in ours.items()
    } == {
        'decode_head.heads.vessel.fpn_convs.0.conv.weight': [0, 1],
        'decode_head.heads.lesion.fpn_convs.0.conv.weight': [2, 3],
        'decode_head.heads.odoc.fpn_convs.0.conv.weight': [4, 5]
    }


@pytest.mark.parametrize('layout', ['stage1_tiny', 'gan_tiny_window8'])
def test_the_order_of_a_config_does_not_matter(layout):
    """The release numbers vessel, lesion, odoc; configs may list otherwise."""
    state, order = released(layout), ['odoc', 'vessel', 'lesion']
    expected, _ = from_release(state, build_tasks(TASKS))
    check_release_tasks(state, build_tasks(order))
    ours, _ = from_release(state, build_tasks(order))
    assert all(torch.equal(v, expected[n]) for n, v in ours.items())
    back, _ = to_release(ours, build_tasks(order))
    same, _ = to_release(ours, build_tasks(TASKS))
    assert back.keys() == same.keys() == state.keys()
    assert all(torch.equal(v, same[n]) for n, v in back.items())


def test_other_tasks_keep_their_order():
    tasks = build_tasks(['odoc', 'vessel'])
    assert in_release_order(tasks) == list(tasks)
    assert [t.name
            for t in in_release_order(build_tasks(TASKS[::-1]))] == list(TASKS)


def test_release_is_recognised_by_its_names():
    assert is_release_state(released('stage1_tiny'))
    assert is_release_state(released('gan_tiny_window8'))
    assert not is_release_state(tiny_model(adversarial=True).state_dict())


@pytest.mark.parametrize('tasks, found', [
    (['vessel', 'lesion'], r'3 tasks with \[1, 4, 2\] channels, the config 2'),
    (['vessel', 'odoc',
      dict(name='x', classes=['a', 'b', 'c', 'd'])
      ], r'\(vessel 1, odoc 2, x 4\)'),
])
def test_other_task_lists_are_refused(tasks, found):
    with pytest.raises(ValueError, match=found):
        check_release_tasks(released('gan_tiny_window8'), build_tasks(tasks))


def test_undivisible_tensors_are_refused():
    with pytest.raises(ValueError, match='cannot be shared by 3 tasks'):
        from_release({'decode_head.bottleneck.conv.weight': torch.zeros(4)},
                     build_tasks(TASKS))


def test_to_release_refuses_what_the_release_lacks():
    tasks = build_tasks(TASKS)
    name = 'decode_head.cross_task_attention.blocks.vessel_from_odoc.q.bias'
    with pytest.raises(ValueError, match='one per pair'):
        to_release({name: torch.zeros(1)}, tasks)
    state = tiny_model().state_dict()
    del state['decode_head.heads.odoc.bottleneck.conv.weight']
    with pytest.raises(ValueError, match='lacks decode_head.heads.odoc.bott'):
        to_release(state, tasks)


def test_summary_folds_numbers():
    names = ['a.0.w', 'a.1.w', 'norm.bias', 'a.12.w', 'a.0.1.w']
    assert summarize(names) == 'a.*.w (3), norm.bias, a.0.1.w'
