"""Names and shapes of released checkpoints, both ways."""
import os
from collections import OrderedDict

import pytest
import torch

from mbos.checkpoints.release_layout import (check_release_tasks, from_release,
                                             is_release_state, to_release)
from mbos.tasks import build_tasks
from tests.released import is_dead, released, shapes
from tests.tiny_runs import config_of, write_config
from tests.utils import TASKS, tiny_model

LAYOUTS = ('stage1', 'stage1_tiny', 'gan', 'gan_tiny_window8',
           'gan_tiny_window16')


@pytest.mark.parametrize('layout', LAYOUTS)
def test_round_trip_is_exact_but_for_dead_copies(layout):
    state, tasks = released(layout), build_tasks(TASKS)
    ours, dropped = from_release(state, tasks)
    back = to_release(ours, tasks)
    dead = {name for name in state if is_dead(name)}
    assert set(dropped) == dead and set(back) == set(state) - dead
    assert all(torch.equal(value, state[n]) for n, value in back.items())


@pytest.mark.parametrize('window, adversarial, layout', [
    (None, False, 'stage1_tiny'),
    (16, True, 'gan_tiny_window16'),
])
def test_our_networks_have_the_released_shapes(window, adversarial, layout):
    model = tiny_model(window=window, adversarial=adversarial)
    assert not is_release_state(model.state_dict())
    state = to_release(model.state_dict(), list(model.tasks.values()))
    assert is_release_state(state)
    assert {
        n: list(v.shape)
        for n, v in state.items()
    } == {
        n: shape
        for n, shape in shapes(layout).items() if not is_dead(n)
    }


def test_each_task_gets_its_own_share():
    """In the order of the release, however a config lists them."""
    state = {'decode_head.fpn_convs.0.conv.weight': torch.arange(6.)}
    for tasks in (TASKS, TASKS[::-1]):
        ours, _ = from_release(state, build_tasks(tasks))
        assert {
            n.split('.')[2]: v.tolist()
            for n, v in ours.items()
        } == dict(
            vessel=[0, 1], lesion=[2, 3], odoc=[4, 5])
    ours, _ = from_release(state, build_tasks(['odoc', 'vessel']))
    assert list(ours) == [
        f'decode_head.heads.{task}.fpn_convs.0.conv.weight'
        for task in ('vessel', 'odoc')
    ]


@pytest.mark.parametrize('tasks, found', [
    (['vessel', 'lesion'], r'3 tasks with \[1, 4, 2\] channels, the config 2'),
    (['vessel', 'odoc',
      dict(name='x', classes=['a', 'b', 'c', 'd'])
      ], r'\(vessel 1, odoc 2, x 4\)'),
])
def test_other_task_lists_are_refused(tasks, found):
    with pytest.raises(ValueError, match=found):
        check_release_tasks(
            released('gan_tiny_window8'), build_tasks(tasks), 'a.pth')


def test_to_release_refuses_attention_that_the_release_lacks():
    name = 'decode_head.cross_task_attention.blocks.vessel_from_odoc.q.bias'
    with pytest.raises(ValueError, match='one per pair'):
        to_release({name: torch.zeros(1)}, build_tasks(TASKS))


@pytest.fixture(params=['stage1_tiny', 'gan_tiny_window8'])
def files(request, tmp_path):
    """A released state dict, the file of it, and the command that reads it."""
    adversarial = 'gan' in request.param
    cfg = config_of(tmp_path, TASKS, adversarial)
    if adversarial:
        cfg['model']['discriminator']['channels'] = 64
    config = write_config(tmp_path / 'config.py', cfg)
    state = OrderedDict(released(request.param))
    content = dict(state_dict=state, meta=dict(iter=7), optimizer=dict(a={}))
    torch.save(content, tmp_path / 'released.pth')
    return state, content, ('convert_pssnet_checkpoint.py', 'released.pth',
                            'ours.pth', '--config', config)


def test_converting_there_and_back(files, tool, capsys):
    state, _, command = files
    assert tool(*command) is None
    assert 'left out: optimizer, meta.iter' in capsys.readouterr().out
    content = torch.load('ours.pth', weights_only=True)
    expected, _ = from_release(state, build_tasks(TASKS))
    assert content['state_dict'].keys() == expected.keys()
    assert all(
        torch.equal(v, expected[n]) for n, v in content['state_dict'].items())
    assert [t['name'] for t in content['meta']['mbos_tasks']] == list(TASKS)

    # our file describes its network itself
    assert tool(command[0], 'ours.pth', 'back.pth', '--to-release') is None
    returned = torch.load('back.pth', weights_only=True)['state_dict']
    alive = {name for name in state if not is_dead(name)}
    assert returned.keys() == alive
    assert all(torch.equal(returned[n], state[n]) for n in alive)


def test_what_is_not_converted(files, tool):
    state, content, command = files
    name, given, out, *config = command
    assert 'asked for already' in tool(*command, '--to-release')
    assert 'the same file' in tool(name, given, os.path.abspath(given))
    # the published config is wider
    assert 'of another size' in tool(name, given, out)
    state.popitem()
    torch.save(content, given)
    assert given in tool(*command)
    assert not os.path.exists(out)
