"""Reading checkpoints: ours, the authors', and broken ones."""
from collections import OrderedDict

import numpy as np
import pytest
import torch

from mbos.checkpoints.loading import (checkpoint_meta, load_weights,
                                      read_checkpoint)
from mbos.checkpoints.release_layout import to_release
from tests.utils import TASKS, tiny_model


@pytest.fixture
def logged(monkeypatch):
    """What was logged."""
    lines = []
    monkeypatch.setattr(
        'mbos.checkpoints.loading.print_log',
        lambda text, logger=None: lines.append(text))
    return lines


def save(path, model, **content):
    state = OrderedDict(content.pop('state_dict', model.state_dict()))
    content.setdefault('meta', checkpoint_meta(model, None))
    torch.save(dict(state_dict=state, **content), path)
    return str(path)


def save_released(path, model, **content):
    state, _ = to_release(model.state_dict(), list(model.tasks.values()))
    return save(path, model, state_dict=state, **content)


def assert_same(model, other, part=''):
    theirs = other.state_dict()
    for name, value in model.state_dict().items():
        if name.startswith(part):
            assert torch.equal(value, theirs[name]), name


@pytest.mark.parametrize('adversarial', [False, True])
@pytest.mark.parametrize('write', [save, save_released])
def test_all_weights_arrive(tmp_path, write, adversarial):
    window = 8 if adversarial else None
    source = tiny_model(window=window, adversarial=adversarial)
    path = write(tmp_path / 'a.pth', source)
    model = tiny_model(window=window, adversarial=adversarial)
    load_weights(model, path)
    assert_same(model, source)


def test_released_stage2_says_what_it_leaves_behind(tmp_path, logged):
    source = tiny_model(window=8, adversarial=True)
    optimizer = dict(state={}, param_groups=[])
    path = save_released(
        tmp_path / 'a.pth',
        source,
        optimizer=dict(generator=optimizer, discriminator=optimizer),
        # as mmcv writes it, with the palette that mmseg makes up
        meta=dict(iter=60000, CLASSES=('a', ), PALETTE=np.ones((2, 3), int)))
    model = tiny_model(window=8)
    load_weights(model, path)
    assert_same(model, source, 'decode_head')
    unused = sum('discriminators.' in name for name in source.state_dict())
    text = '\n'.join(logged)
    for said in ('93 tensors without use dropped',
                 'generator.decode_head.attn.w_msa.*.norm2.weight (6)',
                 'generator.decode_head.attn.ffn.*.layers.*.bias (5)',
                 'optimizer states of generator, discriminator dropped',
                 'meta dropped: iter, CLASSES, PALETTE',
                 f'not used here: {unused} weights of the discriminators'):
        assert said in text, said


def test_missing_discriminators_are_told(tmp_path, logged):
    path = save(tmp_path / 'a.pth', tiny_model(window=8))
    load_weights(tiny_model(window=8, adversarial=True), path)
    assert 'missing, left as initialised: discriminators.vessel' in logged[0]


def test_stage2_from_stage1_needs_permission(tmp_path, logged):
    source = tiny_model()
    path = save(tmp_path / 'a.pth', source)
    model = tiny_model(window=8, adversarial=True)
    with pytest.raises(ValueError, match="It is of stage 'multi_task'"):
        load_weights(model, path)
    load_weights(model, path, allow_missing=True)
    assert_same(source, model)
    assert 'decode_head.cross_task_attention.block.norm1.weight' in logged[-1]


@pytest.mark.parametrize('released', [False, True])
@pytest.mark.parametrize('name', [
    'backbone.norm3.weight', 'decode_head.{}bottleneck.conv.weight',
    'decode_head.{}conv_seg.{}bias', 'auxiliary_head.{}convs.0.gn.bias'
])
def test_lacking_tensors_are_named(tmp_path, released, name):
    source = tiny_model()
    state = source.state_dict()
    key = name.format('heads.vessel.', '')
    if released:
        state, _ = to_release(state, list(source.tasks.values()))
        key = name.format('', '0.')
    del state[key]
    path = save(tmp_path / 'a.pth', source, state_dict=state)
    ours = name.format('heads.vessel.', '')
    with pytest.raises(ValueError, match=f'a.pth does.*{ours}'):
        # a part that is there in part is no part that may be missing
        load_weights(tiny_model(), path, allow_missing=True)


@pytest.mark.parametrize('write', [save, save_released])
def test_other_networks_are_refused(tmp_path, write):
    source = tiny_model(window=8)
    path = write(tmp_path / 'a.pth', source)
    with pytest.raises(ValueError, match=r'a.pth.*(lesion|\[1, 4, 2\])'):
        load_weights(tiny_model(tasks=['vessel', 'odoc'], window=8), path)
    with pytest.raises(ValueError, match='a.pth.*without a place'):
        load_weights(tiny_model(), path)
    with pytest.raises(ValueError, match=r'another size \(.*bias_table: '):
        load_weights(tiny_model(window=4), path)


def test_a_failed_load_changes_nothing(tmp_path):
    source = tiny_model()
    state = source.state_dict()
    del state['backbone.norm3.weight']
    path = save(tmp_path / 'a.pth', source, state_dict=state)
    model = tiny_model()
    before = {n: v.clone() for n, v in model.state_dict().items()}
    with pytest.raises(ValueError):
        load_weights(model, path)
    assert all(
        torch.equal(v, before[n]) for n, v in model.state_dict().items())


@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize('share', [0.0, 0.3, 0.999])
def test_truncated_files_are_told(tmp_path, zipped, share):
    whole = tmp_path / 'whole.pth'
    torch.save(
        dict(state_dict=tiny_model().state_dict(), meta={}),
        whole,
        _use_new_zipfile_serialization=zipped)
    data = whole.read_bytes()
    cut = tmp_path / 'cut.pth'
    cut.write_bytes(data[:int(len(data) * share)])
    with pytest.raises(ValueError, match='cut.pth is not a whole checkpoint'):
        read_checkpoint(str(cut))


def test_other_content_is_refused(tmp_path):
    path = str(tmp_path / 'a.pth')
    torch.save([1, 2], path)
    with pytest.raises(ValueError, match='holds a list'):
        read_checkpoint(path)
    torch.save(dict(state_dict=dict(a=1)), path)
    with pytest.raises(ValueError, match='not a dict of tensors'):
        read_checkpoint(path)
    with pytest.raises(FileNotFoundError, match='no.pth'):
        read_checkpoint(str(tmp_path / 'no.pth'))


def test_tasks_of_the_same_name_must_be_the_same(tmp_path):
    path = save(tmp_path / 'a.pth', tiny_model())
    tasks = ['vessel', 'lesion', dict(name='odoc', classes=('disc', 'cup'))]
    with pytest.raises(ValueError, match='disc, cup, nested'):
        load_weights(tiny_model(tasks=tasks), path)
    load_weights(tiny_model(tasks=TASKS[::-1]), path)


class RawObjects:
    """An array of objects made out of bytes: pointers that lead anywhere."""

    def __init__(self, state=None):
        self.state = state

    def __reduce__(self):
        if self.state is None:
            return np.ndarray, ((1, ), 'O', b'\x41' * 8)
        return np._core.multiarray._reconstruct, (np.ndarray, (0, ),
                                                  b'b'), self.state


@pytest.mark.parametrize('value', [
    RawObjects(),
    RawObjects((1, (1, ), np.dtype('O'), False, b'\x41' * 8)),
    RawObjects((1, (1, ), np.dtype('O'), False, ['x']))
])
def test_numpy_makes_nothing_out_of_a_file(tmp_path, value):
    path = save(tmp_path / 'a.pth', tiny_model(), meta=dict(PALETTE=value))
    found = read_checkpoint(path)['meta']['PALETTE']
    assert not isinstance(found, (np.ndarray, np.generic))
