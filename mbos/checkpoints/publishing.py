"""Files to hand on: weights without training state, with a model card."""
import hashlib
import io
import json
import os.path as osp

import safetensors.torch
import torch

import mbos
from mbos.io.files import DISCLAIMER, file_sha256, save_bytes
from mbos.models.adversarial_segmentor import DISCRIMINATORS
from .loading import SAFETENSORS, left_out, own_weights

SEGMENTORS = ('MultiTaskSegmentor', 'AdversarialSegmentor')
# The rest of the meta information is about a machine or a run's state
_KEPT = ('CLASSES', 'PALETTE', 'iter', 'epoch', 'seed', 'mbos_tasks',
         'mbos_stage', 'mbos_model', 'mbos_prediction', 'mbos_version',
         'mmseg_version')
_SCORES = ('Dice', 'IoU', 'mDice', 'mIoU')
_NO_SCORES = 'None were given; `tools/test.py --eval mIoU` computes them.'
_NO_NOTES = 'Nothing was said about them. Ask before relying on this model.'


def published_content(content: dict) -> tuple[dict, list[str]]:
    """Keep of a checkpoint what inference needs, and nothing private:
    ``state_dict`` and ``meta``; and sentences on what was left out."""
    meta = content['meta']
    model = meta.get('mbos_model') or {}
    # a segmentor of the user's may have any parts
    own = () if model.get('type') in SEGMENTORS else content['state_dict']
    state, notes = own_weights(content['state_dict'], own)
    weights = {name: value.contiguous() for name, value in state.items()
               if not name.startswith(DISCRIMINATORS)}  # yapf: disable
    if len(weights) < len(state):
        notes.append(f'{len(state) - len(weights)} weights of discriminators '
                     'left out')
    notes += left_out(content, _KEPT)
    kept = {key: meta[key] for key in _KEPT if key in meta}
    return dict(state_dict=weights, meta=kept), notes


def halve(state: dict) -> None:
    """Make 16-bit numbers of weights, which takes half the space; a
    ValueError names one that is too large for them."""
    for name, value in state.items():
        if value.is_floating_point():
            state[name] = value.half()
        if not state[name].isfinite().all():
            raise ValueError(f'{name} has values that 16 bits cannot hold: '
                             'publish it without --half.')


def save_with_hash(content: dict, prefix: str, suffix: str) -> str:
    """Write a checkpoint as ``<prefix>-<hash>.pth``, or ``.safetensors``;
    returns the path. The hash is the start of the file's SHA-256, as
    ``torch.hub`` checks it."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    data = buffer.getvalue()
    if suffix == SAFETENSORS:
        meta = json.dumps(content['meta'], sort_keys=True)
        data = safetensors.torch.save(content['state_dict'], dict(mbos=meta))
    path = f'{prefix}-{hashlib.sha256(data).hexdigest()[:8]}{suffix}'
    save_bytes(path, data)
    return path


def model_card(path: str, content: dict, metrics: dict[str, dict],
               notes: str) -> str:
    """Describe a published model; ``metrics`` are by test set, and by
    '<task>.<metric>' as ``tools/test.py`` writes them."""
    meta, name = content['meta'], osp.basename(path)
    weights = sum(value.numel() for value in content['state_dict'].values())
    tasks = '\n'.join(
        f'- **{task["name"]}**: {"nested " * task["nested"]}classes '
        f'{", ".join(task["classes"])}' for task in meta.get('mbos_tasks', ()))
    scores = '\n'.join(['| test set | metric | value |', '|---|---|---:|'] + [
        f'| {test_set} | {key} | {"-" if value is None else f"{value:.4f}"} |'
        for test_set, values in metrics.items()
        for key, value in values.items() if key.split('.')[1] in _SCORES
    ])
    return f'''# {osp.splitext(name)[0]}

> {DISCLAIMER}

| | |
|---|---|
| file | `{name}` |
| SHA-256 | `{file_sha256(path)}` |
| size | {osp.getsize(path) / 1e6:.1f} MB, {weights / 1e6:.2f} M weights |
| stage | {meta.get('mbos_stage', 'unknown')} |
| iterations | {meta.get('iter', 'unknown')} |
| made with | MBOS {mbos.__version__} |

## Tasks

{tasks}

## Use

```python
from mbos.apis import load_model, predict

model = load_model('{name}')
result = predict(model, 'photograph.jpg')
```

## Metrics

{scores if metrics else _NO_SCORES}

## Training data and limits

{notes or _NO_NOTES}

Predictions on photographs of other cameras, other populations or other fields
of view than those trained on may be wrong without any sign of it.
'''
