"""Checkpoints of ours, of the release, and Swin weights."""
import copy
import re
from collections import OrderedDict
from functools import lru_cache

import torch
from mmcv import Config
from mmseg.models.backbones import SwinTransformer
from safetensors.torch import save_file

from mbos.checkpoints.loading import checkpoint_meta, load_weights
from mbos.checkpoints.release_layout import to_release
from mbos.checkpoints.settings import PredictionSettings
from mbos.engine.resume import check_resumable
from mbos.inference.predictor import load_model
from mbos.models.backbones.swin_weights import convert_swin, save_swin_weights
from mbos.models.backbones.weights import (load_backbone_weights,
                                           read_backbone_state)
from mbos.pseudo_labels.generation import generator_cfg
from tests.tiny_runs import TEST
from tests.utils import tiny_model, tiny_model_cfg
from .mutations import DAMAGE, PATHS, mutate, mutate_value

TASKS = ('vessel', 'lesion')
SETTINGS = PredictionSettings(TEST, thresholds=dict(vessel=0.4))
DTYPES = (torch.float16, torch.float64, torch.int64, torch.bool,
          torch.complex64, torch.bfloat16)


@lru_cache(maxsize=None)
def network():
    """A tiny network of stage 1, and its optimizer."""
    torch.manual_seed(0)
    model = tiny_model(TASKS)
    return model, torch.optim.SGD(model.parameters(), lr=0.1)


def our_content():
    """What a checkpoint of ours holds."""
    model, optimizer = network()
    meta = dict(
        checkpoint_meta(model,
                        tiny_model_cfg(TASKS).to_dict()),
        iter=4,
        epoch=1,
        seed=0)
    return dict(
        meta=meta,
        state_dict=OrderedDict(model.state_dict()),
        optimizer=dict(generator=optimizer.state_dict()))


def released_content():
    """The same network as the authors' release would have written it."""
    model, _ = network()
    state, _ = to_release(model.state_dict(), list(model.tasks.values()))
    return dict(meta=dict(iter=4), state_dict=state)


def backbone():
    """A Swin transformer of 8 channels."""
    return SwinTransformer(
        embed_dims=8, depths=(1, 1), num_heads=(1, 2), strides=(4, 2),
        out_indices=(0, 1))  # yapf: disable


@lru_cache(maxsize=None)
def swin_state(layout):
    """Its weights under the names of mmseg, or of the official release."""
    torch.manual_seed(0)
    state = backbone().state_dict()
    if layout == 'mmseg':
        return state
    names = (('stages.', 'layers.'), ('.attn.w_msa.', '.attn.'),
             ('patch_embed.projection.', 'patch_embed.proj.'),
             ('.ffn.layers.0.0.', '.mlp.fc1.'), ('.ffn.layers.1.',
                                                 '.mlp.fc2.'))
    named = OrderedDict()
    for key, value in state.items():
        for ours, theirs in names:
            key = key.replace(ours, theirs)
        named[key] = value
    return named


def mutate_state(rng, state):
    """Damage names, shapes, types and values of some tensors."""
    out = OrderedDict(state)
    if not DAMAGE['on']:
        return out
    for _ in range(int(rng.integers(1, 4))):
        if not out:
            break
        name = list(out)[int(rng.integers(len(out)))]
        value = out[name]
        choice = int(rng.integers(10))
        if choice == 0:
            del out[name]
        elif choice == 1:
            number = str(rng.choice(['7', '999999999', '9' * 5000, '-1', '']))
            out[re.sub(r'\d+', number, name, count=1)] = out.pop(name)
        elif choice == 2:
            out[PATHS[int(rng.integers(len(PATHS)))]] = out.pop(name)
        elif not isinstance(value, torch.Tensor) or value.is_sparse:
            out[name] = mutate_value(rng, None)
        else:
            out[name] = _mutate_tensor(rng, value, choice)
    return out


def _mutate_tensor(rng, value, choice):
    if value.numel() > 10**7:  # it claims too much already
        return value
    if choice == 3:
        return value.flatten()[:int(rng.integers(value.numel() + 1))].clone()
    if choice == 4:
        return torch.tensor(1.0)
    if choice == 5:
        return value.unsqueeze(0)
    if choice == 6:
        return value.to(DTYPES[int(rng.integers(len(DTYPES)))])
    if choice == 7:
        changed = value.clone().float()
        if changed.numel():
            changed.view(-1)[0] = float(
                rng.choice([float('nan'), float('inf'), 1e38]))
        return changed
    if choice == 8:  # 4 bytes that claim terabytes
        return torch.zeros(1).expand(10**12)
    return value.to_sparse() if value.dim() else None


def mutate_content(rng, content):
    """Damage a checkpoint's tensors, or what it says of itself."""
    content = dict(content)
    if not DAMAGE['on']:
        return content
    key = list(content)[int(rng.integers(len(content)))]
    choice = rng.random()
    if choice < 0.1:
        content[key] = mutate_value(rng, None)
    elif choice < 0.15:
        del content[key]
    elif choice < 0.45 and content.get('meta'):
        content['meta'] = mutate_value(rng, copy.deepcopy(content['meta']))
    elif choice < 0.55 and 'optimizer' in content:
        content['optimizer'] = mutate_value(rng, content['optimizer'])
    elif 'state_dict' in content:
        content['state_dict'] = mutate_state(rng, content['state_dict'])
    return content


class Hostile:
    """Would run a command when it is unpickled."""

    def __reduce__(self):
        import os
        return os.system, ('touch hostile_code_was_run', )


def write(rng, path, content):
    """Save a damaged checkpoint: its content, or its bytes."""
    zipped = rng.random() < 0.8
    as_bytes = rng.random() < 0.4
    if not as_bytes:
        content = mutate_content(rng, content)
    if rng.random() < 0.03 and DAMAGE['on']:
        content['hostile'] = Hostile()
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    if as_bytes:
        path.write_bytes(mutate(rng, path.read_bytes()))


def _same_network(model, state, path):
    """Either everything was loaded, all of it finite, or nothing was."""
    try:
        load_weights(model, path)
    except Exception:
        for name, value in model.state_dict().items():
            assert torch.equal(value, state[name]), f'half-loaded: {name}'
        raise
    assert all(
        torch.isfinite(v).all() for v in model.state_dict().values()
        if v.is_floating_point())


def _kind(make_content):

    def make(rng, folder):
        path = folder / 'iter_4.pth'
        write(rng, path, make_content())
        how = int(rng.integers(4)) if DAMAGE['on'] else 3

        def read():
            model, optimizer = network()
            state = {k: v.clone() for k, v in model.state_dict().items()}
            try:
                if how == 0:
                    check_resumable(model, optimizer, str(path))
                elif how == 1:
                    cfg = Config(dict(model=tiny_model_cfg(TASKS)))
                    generator_cfg(cfg, str(path))
                elif how == 2 and make_content is our_content:
                    load_model(str(path), device='cpu')
                else:
                    _same_network(model, state, str(path))
            finally:
                model.load_state_dict(state)

        return 'iter_4.pth', read

    return make


def swin(rng, folder):
    """Swin weights of torch, in two layouts."""
    state = swin_state(str(rng.choice(['mmseg', 'official'])))
    path = folder / 'swin.pth'
    write(rng, path, {str(rng.choice(['model', 'state_dict'])): state}
          if rng.random() < 0.8 else dict(mutate_state(rng, state)))
    return 'swin.pth', lambda: _read_swin(path, folder)


def safetensors(rng, folder):
    """Swin weights of safetensors."""
    state = OrderedDict(swin_state(str(rng.choice(['mmseg', 'official']))))
    path = folder / 'swin.safetensors'
    damaged = mutate_state(rng, state) if rng.random() < 0.3 else state
    save_file(
        {
            k: v.contiguous()
            for k, v in damaged.items() if isinstance(v, torch.Tensor)
            and v.layout == torch.strided and v.numel() < 10**6
        }, path)
    if damaged is state:
        path.write_bytes(mutate(rng, path.read_bytes()))
    return 'swin.safetensors', lambda: _read_swin(path, folder)


def _read_swin(path, folder):
    """Into a backbone, and into a converted file that then must be whole."""
    load_backbone_weights(backbone(), path)
    converted = folder / 'converted.pth'
    state = convert_swin(read_backbone_state(str(path)), str(path))
    save_swin_weights(state, str(converted))
    load_backbone_weights(backbone(), converted)


KINDS = dict(
    checkpoint=_kind(our_content),
    checkpoint_released=_kind(released_content),
    swin=swin,
    safetensors=safetensors)
