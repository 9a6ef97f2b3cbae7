"""Files to hand on: weights without training state, with a model card."""
import hashlib
import io
import json
import os.path as osp

import safetensors.torch
import torch

import mbos
from mbos.io.disclaimer import DISCLAIMER
from mbos.io.files import file_sha256, save_bytes
from mbos.models.adversarial_segmentor import DISCRIMINATORS
from .foreign_state import SEGMENTORS, own_weights
from .loading import SAFETENSORS

HASH_LENGTH = 8
# The rest of the meta information is about a machine or a run's state
_KEPT = ('CLASSES', 'PALETTE', 'iter', 'epoch', 'seed', 'mbos_tasks',
         'mbos_stage', 'mbos_model', 'mbos_prediction', 'mbos_version',
         'mmseg_version')


def published_content(
        content: dict,
        keep_discriminators: bool = False) -> tuple[dict, list[str]]:
    """Keep of a checkpoint what inference needs, and nothing private.

    Args:
        keep_discriminators (bool): Whether to keep the discriminators of
            stage 2, which only further training needs. Default: False.

    Returns:
        tuple[dict, list[str]]: ``state_dict`` and ``meta``, and sentences on
        what was left out.
    """
    meta = content['meta']
    model = meta.get('mbos_model')
    known = isinstance(model, dict) and model.get('type') in SEGMENTORS
    # a segmentor of the user's may have any parts
    state, notes = own_weights(content['state_dict'],
                               () if known else content['state_dict'])
    dropped = [
        name for name in state
        if name.startswith(DISCRIMINATORS) and not keep_discriminators
    ]
    kept_meta = {key: meta[key] for key in _KEPT if key in meta}
    if dropped:
        notes.append(f'{len(dropped)} weights of discriminators left out')
    others = sorted(set(content) - {'state_dict', 'meta'})
    if others:
        notes.append(f'left out: {", ".join(others)}')
    unkept = sorted(set(meta) - set(kept_meta))
    if unkept:
        notes.append(f'meta left out: {", ".join(unkept)}')
    weights = {
        name: value.detach().clone().contiguous()
        for name, value in state.items() if name not in dropped
    }
    return dict(state_dict=weights, meta=kept_meta), notes


def half_precision(state: dict) -> dict:
    """Weights as 16-bit numbers, which takes half the space.

    Raises:
        ValueError: If one is too large for them.
    """
    halved = {
        name: value.half() if value.is_floating_point() else value
        for name, value in state.items()
    }
    for name, value in halved.items():
        if not value.isfinite().all():
            raise ValueError(f'{name} has values that 16 bits cannot hold: '
                             'publish it without --half.')
    return halved


def save_with_hash(content: dict, prefix: str, suffix: str = '.pth') -> str:
    """Write a checkpoint as ``<prefix>-<hash>.pth``, or ``.safetensors``.

    Returns:
        str: The path; its hash is the start of the file's SHA-256, as
        ``torch.hub`` checks it.
    """
    if suffix == SAFETENSORS:
        meta = json.dumps(content['meta'], sort_keys=True)
        data = safetensors.torch.save(content['state_dict'], dict(mbos=meta))
    else:
        buffer = io.BytesIO()
        torch.save(content, buffer)
        data = buffer.getvalue()
    digest = hashlib.sha256(data).hexdigest()[:HASH_LENGTH]
    path = f'{prefix}-{digest}{suffix}'
    save_bytes(path, data)
    return path


def model_card(path: str,
               content: dict,
               metrics: dict[str, dict] | None = None,
               notes: str = '') -> str:
    """Describe a published model.

    Args:
        metrics (dict, optional): By test set, metrics by
            '<task>.<metric>', as ``tools/test.py`` writes them.
    """
    meta = content['meta']
    weights = sum(v.numel() for v in content['state_dict'].values())
    name = osp.basename(path)
    lines = [
        f'# {osp.splitext(name)[0]}', '', f'> {DISCLAIMER}', '', '| | |',
        '|---|---|', f'| file | `{name}` |',
        f'| SHA-256 | `{file_sha256(path)}` |',
        f'| size | {osp.getsize(path) / 1e6:.1f} MB, {weights / 1e6:.2f} M '
        'weights |', f'| stage | {meta.get("mbos_stage", "unknown")} |',
        f'| iterations | {meta.get("iter", "unknown")} |',
        f'| made with | MBOS {mbos.__version__} |', '', '## Tasks', ''
    ]
    for task in meta.get('mbos_tasks') or ():
        order = 'nested classes' if task['nested'] else 'classes'
        lines.append(f'- **{task["name"]}**: {order} '
                     f'{", ".join(task["classes"])}')
    lines += ['', '## Use', '', _use(name)]
    lines += ['', '## Metrics', '', *_metrics(metrics or {})]
    lines += [
        '', '## Training data and limits', '', notes
        or 'The publisher said nothing about the training data. Ask '
        'before relying on this model.', '',
        'Predictions on photographs of other cameras, other populations or '
        'other fields of view than those trained on may be wrong without any '
        'sign of it.', ''
    ]
    return '\n'.join(lines)


def _use(name: str) -> str:
    return ('```python\n'
            'from mbos.apis import load_model, predict\n\n'
            f"model = load_model('{name}')\n"
            "result = predict(model, 'photograph.jpg')\n"
            '```')


def _metrics(metrics: dict[str, dict]) -> list[str]:
    """Dice and IoU of every test set, as a table."""
    if not metrics:
        return ['None were given; `tools/test.py --eval mIoU` computes them.']
    lines = ['| test set | metric | value |', '|---|---|---:|']
    for test_set, values in metrics.items():
        for key, value in values.items():
            if key.split('.')[1] in ('Dice', 'IoU', 'mDice', 'mIoU'):
                shown = '-' if value is None else f'{value:.4f}'
                lines.append(f'| {test_set} | {key} | {shown} |')
    return lines
