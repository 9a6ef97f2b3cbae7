"""Reading checkpoints: ours, the authors', of other code, and broken ones."""
import copy
import types
from collections import OrderedDict

import numpy as np
import pytest
import torch
from mmcv.runner import EMAHook
from torch import nn

from mbos.apis import load_model
from mbos.checkpoints.loading import (checkpoint_meta, load_weights,
                                      own_weights, read_checkpoint,
                                      without_wrapper)
from mbos.checkpoints.release_layout import to_release
from tests.utils import TASKS, tiny_model

ONE = torch.ones(1)


@pytest.fixture
def logged(monkeypatch):
    """What was logged."""
    lines = []
    monkeypatch.setattr('mbos.checkpoints.loading.print_log',
                        lambda text, logger: lines.append(text))
    return lines


def save(path, model, **content):
    state = OrderedDict(content.pop('state_dict', model.state_dict()))
    content.setdefault('meta', checkpoint_meta(model, None))
    torch.save(dict(state_dict=state, **content), path)
    return str(path)


def save_released(path, model, **content):
    state = to_release(model.state_dict(), list(model.tasks.values()))
    return save(path, model, state_dict=state, **content)


def assert_same(model, other, part=''):
    theirs = other.state_dict()
    for name, value in model.state_dict().items():
        if name.startswith(part):
            assert torch.equal(value, theirs[name]), name


@pytest.mark.parametrize('window', [None, 8])
@pytest.mark.parametrize('write', [save, save_released])
def test_all_weights_arrive(tmp_path, write, window):
    source, model = (tiny_model(TASKS, window, bool(window)) for _ in range(2))
    load_weights(model, write(tmp_path / 'a.pth', source))
    assert_same(model, source)


def test_released_stage2_says_what_it_leaves_behind(tmp_path, logged):
    source = tiny_model(window=8, adversarial=True)
    path = save_released(
        tmp_path / 'a.pth',
        source,
        optimizer=dict(generator=dict(state={}, param_groups=[])),
        # as mmcv writes it, with the palette that mmseg makes up
        meta=dict(iter=60000, PALETTE=np.ones((2, 3), int)))
    model = tiny_model(window=8)
    load_weights(model, path)
    assert_same(model, source, 'decode_head')
    unused = sum('discriminators.' in name for name in source.state_dict())
    text = '\n'.join(logged)
    for said in ('left out: optimizer, meta.iter, meta.PALETTE',
                 f'not used here: {unused} weights of the discriminators'):
        assert said in text, said


def test_stage2_from_stage1_needs_permission(tmp_path, logged):
    source = tiny_model()
    path = save(tmp_path / 'a.pth', source)
    model = tiny_model(window=8, adversarial=True)
    with pytest.raises(ValueError, match="of stage 'multi_task'"):
        load_weights(model, path)
    load_weights(model, path, allow_missing=True)
    assert_same(source, model)
    assert 'decode_head.cross_task_attention.block.norm1.weight' in logged[-1]
    # discriminators alone may always be lacking
    path = save(tmp_path / 'b.pth', tiny_model(window=8))
    load_weights(model, path)
    assert 'missing, left as initialised: discriminators.vessel' in logged[-1]


@pytest.mark.parametrize('name, lost', [
    ('backbone.norm3.weight', False),
    ('auxiliary_head.heads.vessel.convs.0.gn.bias', True),
])
def test_broken_and_lacking_tensors_are_named_and_nothing_is_loaded(
        tmp_path, name, lost):
    source, model = tiny_model(), tiny_model()
    state = source.state_dict()
    if lost:
        del state[name]
    else:
        state[name][0] = float('nan')
    path = save(tmp_path / 'a.pth', source, state_dict=state)
    before = copy.deepcopy(model)
    said = 'lacks' if lost else 'NaN'
    with pytest.raises(ValueError, match=f'a.pth does.*{said}.*{name}'):
        # a part that is there in part is no part that may be missing
        load_weights(model, path, allow_missing=True)
    assert_same(model, before)


@pytest.mark.parametrize('write', [save, save_released])
@pytest.mark.parametrize('other, said', [
    (dict(tasks=['vessel', 'odoc'], window=8), r'lesion|\[1, 4, 2\]'),
    (dict(), 'without a place'),
    (dict(window=4), 'of another size.*bias_table'),
])
def test_other_networks_are_refused(tmp_path, write, other, said):
    path = write(tmp_path / 'a.pth', tiny_model(window=8))
    with pytest.raises(ValueError, match=f'a.pth.*({said})'):
        load_weights(tiny_model(**other), path)


def test_tasks_of_the_same_name_must_be_the_same(tmp_path):
    path = save(tmp_path / 'a.pth', tiny_model())
    tasks = ['vessel', 'lesion', dict(name='odoc', classes=('disc', 'cup'))]
    with pytest.raises(ValueError, match='differ in odoc'):
        load_weights(tiny_model(tasks=tasks), path)
    load_weights(tiny_model(tasks=TASKS[::-1]), path)


def test_training_of_other_tasks_starts_from_what_is_shared(tmp_path, logged):
    source = tiny_model(window=8, adversarial=True)
    path = save(tmp_path / 'a.pth', source)
    new = dict(name='stages', classes=('fovea', ))  # as a part of Swin
    model = tiny_model(
        tasks=['odoc', new, 'vessel'], window=8, adversarial=True)
    before = copy.deepcopy(model)
    load_weights(model, path, allow_missing=True)
    for part in ('backbone', 'decode_head.heads.odoc', 'discriminators.vessel',
                 'auxiliary_head.heads.vessel'):
        assert_same(model, source, part)
    for part in ('decode_head.heads.stages', 'decode_head.cross_task'):
        assert_same(model, before, part)
    assert any('lesion, stages' in line for line in logged)


@pytest.mark.parametrize('content', [[1, 2],
                                     dict(state_dict=dict(a=1)),
                                     dict(state_dict=[ONE]),
                                     dict(state_dict=dict(a=ONE), meta=[1])])
def test_other_content_is_refused(tmp_path, content):
    path = tmp_path / 'a.pth'
    torch.save(content, path)
    with pytest.raises(ValueError, match='a.pth.*not a checkpoint'):
        read_checkpoint(str(path))


class RawObjects:
    """An array of objects made out of bytes: pointers that lead anywhere."""

    def __init__(self, *reduced):
        self.reduced = reduced

    def __reduce__(self):
        return self.reduced


def test_numpy_makes_nothing_out_of_a_file(tmp_path):
    value = RawObjects(np._core.multiarray._reconstruct,
                       (np.ndarray, (0, ), b'b'),
                       (1, (1, ), np.dtype('O'), False, b'A' * 8))
    torch.save(dict(state_dict={}, meta=dict(a=value)), tmp_path / 'a.pth')
    found = read_checkpoint(str(tmp_path / 'a.pth'))['meta']['a']
    assert not isinstance(found, (np.ndarray, np.generic))


def test_wrappers_are_taken_off():
    for stored, names in (
        # as torch.optim.swa_utils.AveragedModel has them
        ('n_averaged module._orig_mod.backbone.a', 'n_averaged backbone.a'),
        # a part of the user's own
        ('module.a backbone.b', 'module.a backbone.b')):  # yapf: disable
        state = dict.fromkeys(stored.split(), ONE)
        assert ' '.join(without_wrapper(state)) == names


def test_averages_of_mmcv():
    """As mmcv's own hook makes them."""
    model = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1))
    names = set(model.state_dict())
    EMAHook().before_run(types.SimpleNamespace(model=model))
    with torch.no_grad():
        model[0].weight.fill_(5.)
        model.ema_0_weight.fill_(3.)
    state, notes = own_weights(model.state_dict(), ('0.weight', '1.weight'))
    assert state['0.weight'].item() == 3. and set(state) == names
    assert notes == ["4 weights taken from the average that mmcv's EMAHook "
                     'made (ema_*)']  # yapf: disable


def test_what_other_code_leaves_in_checkpoints(runs, tool, tmp_path, capsys):
    """A buffer, a teacher and a wrapper's names; used for everything."""
    content = torch.load(runs.checkpoint1, weights_only=True)
    state = content['state_dict']
    state |= {f'teacher.{name}': value for name, value in state.items()}
    state['seen_images'] = ONE
    content['state_dict'] = {f'module.{k}': v for k, v in state.items()}
    torch.save(content, 'spoiled.pth')
    whole = load_model(runs.checkpoint1, device='cpu').state_dict()
    found = load_model('spoiled.pth', device='cpu').state_dict()
    assert all(torch.equal(found[k], v) for k, v in whole.items())
    assert tool('train.py', runs.config1, '--work-dir', 'w', '--no-validate',
                '--resume-from', 'spoiled.pth', '--cfg-options',
                'runner.max_iters=5') is None
    assert tool('publish_model.py', 'spoiled.pth', 'p') is None
    assert 'no part of the network: teacher.' in capsys.readouterr().out
    published, = tmp_path.glob('p-*.pth')
    for path in ('w/iter_5.pth', str(published)):
        assert set(read_checkpoint(path)['state_dict']) == set(whole)
