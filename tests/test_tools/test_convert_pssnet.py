"""The command that converts released checkpoints, and back."""
import os
from collections import OrderedDict

import pytest
import torch
from mmcv import Config

from mbos.checkpoints.release_layout import from_release
from mbos.commands.convert_checkpoint import main
from mbos.tasks import build_tasks
from tests.released import is_dead, released
from tests.utils import TASKS, tiny_model_cfg

LAYOUTS = dict(stage1_tiny=None, gan_tiny_window8=8)


@pytest.fixture(params=LAYOUTS)
def files(request, tmp_path):
    """A released file and the config of its network."""
    window = LAYOUTS[request.param]
    config = tmp_path / 'config.py'
    model = tiny_model_cfg(window=window, adversarial=window is not None)
    data = dict(train=None, val=None, test=None)
    Config(dict(model=model, data=data)).dump(str(config))
    path = tmp_path / 'released.pth'
    state = OrderedDict(released(request.param))
    optimizer = dict(generator=dict(state={}, param_groups=[]))
    torch.save(
        dict(state_dict=state, meta=dict(iter=7), optimizer=optimizer), path)
    return str(path), str(config), state


def test_there_and_back(files, tmp_path, capsys):
    path, config, state = files
    ours, back = str(tmp_path / 'sub/ours.pth'), str(tmp_path / 'back.pth')
    assert main([path, ours, '--config', config]) == 0
    out = capsys.readouterr().out
    assert 'optimizer states of generator dropped' in out
    assert 'meta dropped: iter' in out
    content = torch.load(ours, weights_only=True)
    expected, _ = from_release(state, build_tasks(TASKS))
    assert content['state_dict'].keys() == expected.keys()
    assert all(
        torch.equal(v, expected[n]) for n, v in content['state_dict'].items())
    assert [t['name'] for t in content['meta']['mbos_tasks']] == list(TASKS)

    # our file describes its network itself
    assert main([ours, back, '--to-release']) == 0
    out = capsys.readouterr().out
    returned = torch.load(back, weights_only=True)['state_dict']
    assert returned.keys() == state.keys()
    alive = [name for name in state if not is_dead(name)]
    assert all(torch.equal(returned[n], state[n]) for n in alive)
    assert ('refilled' in out) == (len(alive) < len(state))
    assert not [f for f in os.listdir(tmp_path) if f.endswith('.tmp')]


def test_indices_left_out_are_computed(files, tmp_path, capsys):
    path, config, state = files
    indices = [n for n in state if n.endswith('relative_position_index')]
    content = torch.load(path, weights_only=True)
    content['state_dict'] = {
        n: v
        for n, v in state.items() if n not in indices
    }
    torch.save(content, path)
    out = str(tmp_path / 'ours.pth')
    assert main([path, out, '--config', config]) == 0
    assert 'computed anew: backbone' in capsys.readouterr().out
    written = torch.load(out, weights_only=True)['state_dict']
    index = written['backbone.stages.0.blocks.0.attn.w_msa.'
                    'relative_position_index']
    assert index.shape == (49, 49) and index[0, 0] == 84


@pytest.mark.parametrize('spoil, message', [
    (lambda c: c['state_dict'].popitem(), 'lacks|tasks with'),
    (lambda c: c['state_dict'].update(
        {'generator.unknown.weight': torch.zeros(1)}), None),
    (lambda c: c.update(state_dict=[1]), 'not a dict of tensors'),
])
def test_spoiled_files(files, tmp_path, capsys, spoil, message):
    path, config, _ = files
    content = torch.load(path, weights_only=True)
    spoil(content)
    torch.save(content, path)
    out = str(tmp_path / 'ours.pth')
    status = main([path, out, '--config', config])
    captured = capsys.readouterr()
    if message is None:
        # no place for it: said, not silent
        assert status == 0 and 'generator.unknown.weight' in captured.out
    else:
        assert status == 1 and not os.path.exists(out)
        assert captured.err.startswith('error: ')
        assert 'released.pth' in captured.err


def test_wrong_direction_and_width(files, tmp_path, capsys):
    path, config, _ = files
    out = str(tmp_path / 'out.pth')
    assert main([path, out, '--to-release', '--config', config]) == 1
    assert 'leave out --to-release' in capsys.readouterr().err
    # the published config is wider
    assert main([path, out]) == 1
    assert 'network of another size' in capsys.readouterr().err
    ours = str(tmp_path / 'ours.pth')
    main([path, ours, '--config', config])
    assert main([ours, out]) == 1
    assert 'give --to-release' in capsys.readouterr().err
    assert not os.path.exists(out)
    with pytest.raises(SystemExit) as stop:
        main([path, path])
    assert stop.value.code == 2
