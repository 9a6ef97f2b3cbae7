"""Small networks and samples that many tests share."""
import copy

import numpy as np
import torch
from mmcv import ConfigDict
from mmseg.models import build_segmentor

TASKS = ('vessel', 'lesion', 'odoc')


def tiny_model_cfg(tasks=TASKS, window=None, adversarial=False, **overrides):
    """A network of a few thousand weights, laid out as the published one: that
    of the golden files named ``*_tiny``. It has no dropout and drop path, and
    counts ignored pixels as background."""
    # yapf: disable
    norm = dict(dropout_ratio=0.0, norm_cfg=dict(type='GN', num_groups=1))
    decode_head = dict(
        type='MultiTaskHead',
        head=dict(
            type='UPerHead', in_channels=[12, 24, 48, 96],
            in_index=[0, 1, 2, 3], channels=16, **norm),
        loss_decode=dict(type='BinaryLoss', ignore_index=None))
    auxiliary_head = dict(
        type='MultiTaskHead',
        head=dict(
            type='FCNHead', in_channels=48, in_index=2, channels=16,
            num_convs=1, concat_input=False, **norm),
        loss_decode=dict(
            type='BinaryLoss', loss_weight=0.4, ignore_index=None))
    if window is not None:
        decode_head['cross_task_attention'] = dict(
            num_heads=4, window_size=window)
    cfg = dict(
        type='MultiTaskSegmentor',
        tasks=list(tasks),
        backbone=dict(
            type='SwinTransformer', embed_dims=12, depths=[1, 1, 2, 1],
            num_heads=[1, 2, 3, 4], drop_path_rate=0.0),
        decode_head=decode_head,
        auxiliary_head=auxiliary_head,
        train_cfg=dict(),
        test_cfg=dict(mode='whole'))
    # yapf: enable
    if adversarial:
        cfg['type'] = 'AdversarialSegmentor'
        cfg['discriminator'] = dict(type='PatchDiscriminator', channels=64)
    cfg.update(overrides)
    return ConfigDict(copy.deepcopy(cfg))


def tiny_model(*args, **kwargs):
    """Build :func:`tiny_model_cfg`, with mmseg's initial weights."""
    return build_segmentor(tiny_model_cfg(*args, **kwargs))


def make_meta(dataset, tasks=TASKS, truth=(), pseudo=(), weights=None,
              classes=None):  # yapf: disable
    """Meta information of an image, as ``FormatPlanes`` gives it; ``classes``
    are the labelled ones of the tasks of which only some are."""
    kinds = dict.fromkeys(tasks, 'absent') | dict.fromkeys(truth, 'truth')
    kinds |= dict.fromkeys(pseudo, 'pseudo')
    planes = {task: dict(kind=kind, weight=(weights or {}).get(task, 1.0))
              for task, kind in kinds.items()}  # yapf: disable
    for task, names in (classes or {}).items():
        planes[task]['classes'] = tuple(names)
    return dict(dataset=dataset, planes=planes)


def stack_planes(tasks, height, width, **planes):
    """Label planes of one image, (T, H, W), 255 where a task is absent."""
    out = np.full((len(tasks), height, width), 255, dtype=np.uint8)
    for task, plane in planes.items():
        out[list(tasks).index(task)] = plane
    return torch.from_numpy(out)
