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


@pytest.mark.parametrize('window, layout', [(None, 'stage1_tiny'),
                                            (16, 'gan_tiny_window16')])
def test_our_networks_have_the_released_shapes(window, layout):
    model = tiny_model(window=window, adversarial=window is not None)
    assert not is_release_state(model.state_dict())
    state = to_release(model.state_dict(), list(model.tasks.values()))
    assert is_release_state(state)
    alive = {n: s for n, s in shapes(layout).items() if not is_dead(n)}
    assert {n: list(v.shape) for n, v in state.items()} == alive


def test_each_task_gets_its_own_share():
    """In the order of the release, however a config lists them."""
    state = {'decode_head.fpn_convs.0.conv.weight': torch.arange(6.)}
    for tasks in (TASKS, TASKS[::-1]):
        ours, _ = from_release(state, build_tasks(tasks))
        shares = {n.split('.')[2]: v.tolist() for n, v in ours.items()}
        assert shares == dict(vessel=[0, 1], lesion=[2, 3], odoc=[4, 5])


def test_other_task_lists_are_refused():
    tasks = build_tasks(['vessel', 'odoc', dict(name='x', classes=[*'abcd'])])
    with pytest.raises(ValueError, match=r'\[1, 4, 2\].*odoc 2, x 4'):
        check_release_tasks(released('gan_tiny_window8'), tasks, 'a.pth')


def test_to_release_refuses_attention_that_the_release_lacks():
    name = 'decode_head.cross_task_attention.blocks.vessel_from_odoc.q.bias'
    with pytest.raises(ValueError, match='one per pair'):
        to_release({name: torch.zeros(1)}, build_tasks(TASKS))


@pytest.mark.parametrize('layout', ['stage1_tiny', 'gan_tiny_window8'])
def test_tool(tool, tmp_path, capsys, layout):
    """There and back; what is not converted leaves nothing."""
    name = 'convert_pssnet_checkpoint.py'
    cfg = config_of(tmp_path, TASKS, 'gan' in layout)
    if 'gan' in layout:
        cfg['model']['discriminator']['channels'] = 64
    config = '--config', write_config(tmp_path / 'config.py', cfg)
    state = OrderedDict(released(layout))
    content = dict(state_dict=state, meta=dict(iter=7), optimizer=dict(a={}))
    torch.save(content, 'released.pth')
    assert tool(name, 'released.pth', 'ours.pth', *config) is None
    assert 'left out: optimizer, meta.iter' in capsys.readouterr().out
    found = torch.load('ours.pth', weights_only=True)
    expected, _ = from_release(state, build_tasks(TASKS))
    assert found['state_dict'].keys() == expected.keys()
    assert all(
        torch.equal(v, expected[n]) for n, v in found['state_dict'].items())
    assert [t['name'] for t in found['meta']['mbos_tasks']] == list(TASKS)

    # our file describes its network itself
    assert tool(name, 'ours.pth', 'back.pth', '--to-release') is None
    back = torch.load('back.pth', weights_only=True)['state_dict']
    assert back.keys() == {n for n in state if not is_dead(n)}
    assert all(torch.equal(value, state[n]) for n, value in back.items())

    refused = [('asked for already', ('out.pth', '--to-release')),
               ('the same file', (os.path.abspath('released.pth'), )),
               # the published config is wider
               ('of another size', ('out.pth', ))]  # yapf: disable
    for said, arguments in refused:
        assert said in tool(name, 'released.pth', *arguments)
    state.popitem()
    torch.save(content, 'released.pth')
    assert 'released.pth' in tool(name, 'released.pth', 'out.pth', *config)
    assert not os.path.exists('out.pth')
