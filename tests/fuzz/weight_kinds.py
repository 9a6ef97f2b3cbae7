"""Checkpoints of ours, of the release, and Swin weights."""
from collections import OrderedDict
from functools import lru_cache, partial

import torch
from mmcv import Config
from mmseg.models.backbones import SwinTransformer
from safetensors.torch import save_file

from mbos.checkpoints.loading import checkpoint_meta, load_weights
from mbos.checkpoints.release_layout import to_release
from mbos.engine.resume import check_resumable
from mbos.inference.predictor import load_model
from mbos.models.backbones.swin_weights import convert_swin, save_swin_weights
from mbos.models.backbones.weights import (load_backbone_weights,
                                           read_backbone_state)
from mbos.pseudo_labels.generation import generator_cfg
from tests.bombs import HostileCode
from tests.utils import tiny_model, tiny_model_cfg
from .damage import DAMAGE, ODD, mutate, mutate_nested, mutate_state, pick

TASKS = ('vessel', 'lesion')
backbone = partial(SwinTransformer, embed_dims=8, depths=(1, 1),
                   num_heads=(1, 2), strides=(4, 2),
                   out_indices=(0, 1))  # yapf: disable


@lru_cache(maxsize=None)
def network():
    torch.manual_seed(0)
    model = tiny_model(TASKS)
    return model, torch.optim.SGD(model.parameters(), lr=0.1)


def our_content():
    model, optimizer = network()
    meta = checkpoint_meta(model, tiny_model_cfg(TASKS).to_dict())
    meta.update(iter=4, epoch=1, seed=0)
    optimizer = dict(generator=optimizer.state_dict())
    state = OrderedDict(model.state_dict())
    return dict(meta=meta, state_dict=state, optimizer=optimizer)


def released_content():
    model, _ = network()
    state = to_release(model.state_dict(), list(model.tasks.values()))
    return dict(meta=dict(iter=4), state_dict=state)


def mutate_content(rng, content):
    """Damage a checkpoint's tensors, or what it says of itself."""
    content = dict(content)
    key, choice = pick(rng, list(content)), rng.random()
    if choice < 0.15:
        content[key] = pick(rng, ODD)
    elif choice < 0.55 and key in ('meta', 'optimizer'):
        content[key], _ = mutate_nested(rng, content[key])
    elif 'state_dict' in content:
        content['state_dict'] = mutate_state(rng, content['state_dict'])
    return content


def write(rng, path, content):
    """Save a damaged checkpoint: its content, or its bytes."""
    zipped, as_bytes = rng.random() < 0.8, rng.random() < 0.4
    if DAMAGE['on'] and not as_bytes:
        content = mutate_content(rng, content)
    if DAMAGE['on'] and rng.random() < 0.03:
        content['hostile'] = HostileCode()
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    if as_bytes:
        path.write_bytes(mutate(rng, path.read_bytes()))


def _load(model, path):
    """Either everything was loaded, all of it finite, or nothing was."""
    before = {k: v.clone() for k, v in model.state_dict().items()}
    try:
        load_weights(model, path)
    except Exception:
        for name, value in model.state_dict().items():
            assert torch.equal(value, before[name]), f'half-loaded: {name}'
        raise
    found = model.state_dict().values()
    assert all(v.isfinite().all() for v in found if v.is_floating_point())
    model.load_state_dict(before)


READERS = (
    lambda path: _load(network()[0], path),
    lambda path: check_resumable(*network(), path),
    lambda path: generator_cfg(
        Config(dict(model=tiny_model_cfg(TASKS))), path),
    lambda path: load_model(path, device='cpu'),
)


def _kind(make_content, readers):

    def make(rng, folder):
        path = folder / 'iter_4.pth'
        write(rng, path, make_content())
        read = pick(rng, readers if DAMAGE['on'] else readers[:1])
        return ['iter_4.pth'], lambda: read(str(path))

    return make


def swin(rng, folder):
    state = OrderedDict(backbone().state_dict())
    path = folder / pick(rng, ('swin.pth', 'swin.safetensors'))
    if path.suffix == '.pth':
        write(rng, path, {pick(rng, ('model', 'state_dict')): state})
    else:
        save_file(state, path)
        path.write_bytes(mutate(rng, path.read_bytes()))

    def read():
        """Into a backbone, and into a file that then must be whole."""
        load_backbone_weights(backbone(), path)
        converted = convert_swin(read_backbone_state(str(path)), str(path))
        save_swin_weights(converted, str(folder / 'converted.pth'))
        load_backbone_weights(backbone(), str(folder / 'converted.pth'))

    return [path.name], read


KINDS = dict(
    checkpoint=_kind(our_content, READERS),
    checkpoint_released=_kind(released_content, READERS[:3]),
    swin=swin)
