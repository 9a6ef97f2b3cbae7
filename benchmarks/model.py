"""Networks, batches and optimizers that the benchmarks measure."""
import copy
from pathlib import Path

import torch
from mmcv import Config, ConfigDict
from mmcv.runner import build_optimizer
from mmseg.models import build_segmentor

from mbos.engine.optimizers import fused_by_default
from mbos.tasks import build_tasks

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
STAGE_CONFIGS = {
    1:
    '_multi_task_/upernet_swin_tiny_patch4_window7_512x512_40k_multi_'
    'pretrain_224x224_1K_group_idrid_ddr_refuge.py',
    2:
    '_multi_gan_/gan_bdice_vessel_lesion_OD_idrid_ddr_refuge_semi_OD_0.1_0.05_'
    '60k_128_group_window_size16.py'
}
WIDTHS = {  # the published network, and one small enough for tests
    'published':
    dict(),
    'tiny':
    dict(
        backbone=dict(
            embed_dims=12, depths=[1, 1, 1, 1], num_heads=[1, 2, 3, 4]),
        decode_head=dict(head=dict(in_channels=[12, 24, 48, 96], channels=16)),
        auxiliary_head=dict(head=dict(in_channels=48, channels=16)))
}
NO_NOISE = dict(
    backbone=dict(drop_path_rate=0.0),
    decode_head=dict(head=dict(dropout_ratio=0.0)),
    auxiliary_head=dict(head=dict(dropout_ratio=0.0)))
LABELLED = ('vessel', 'lesion', 'odoc')


def stage_config(stage: int,
                 width: str = 'published',
                 tasks: int = 3,
                 noise: bool = True,
                 **train_cfg) -> Config:
    """The published config of a stage, from scratch."""
    cfg = Config.fromfile(str(CONFIGS / STAGE_CONFIGS[stage]))
    changes = dict(pretrained=None, tasks=task_list(tasks))
    cfg.merge_from_dict(dict(model=changes))
    cfg.merge_from_dict(dict(model=copy.deepcopy(WIDTHS[width])))
    if not noise:
        cfg.merge_from_dict(dict(model=copy.deepcopy(NO_NOISE)))
    if stage == 2 and width == 'tiny':
        cfg.model.discriminator.channels = 4
        cfg.model.decode_head.cross_task_attention.window_size = 8
    cfg.model.train_cfg = ConfigDict(cfg.model.train_cfg, **train_cfg)
    return cfg


def task_list(number: int) -> list:
    """The published tasks, then invented ones of one class each."""
    extra = [
        dict(name=f'extra_{i}', classes=(f'extra_{i}', ))
        for i in range(number - len(LABELLED))
    ]
    return list(LABELLED[:number]) + extra


def build_network(cfg: Config) -> torch.nn.Module:
    """The segmentor of a config with fresh weights, the same every time."""
    torch.manual_seed(0)
    model = build_segmentor(cfg.model)
    model.init_weights()
    return model.train()


def build_optimizers(model: torch.nn.Module, cfg: Config) -> dict:
    """The optimizers of a config by name."""
    optimizer = build_optimizer(model, fused_by_default(cfg.optimizer))
    return optimizer if isinstance(optimizer, dict) else dict(
        generator=optimizer)


def unfused(cfg: Config) -> Config:
    """A copy of a config whose optimizers step by plain loops."""
    cfg = copy.deepcopy(cfg)
    for part in (cfg.optimizer, *cfg.optimizer.values()):
        if isinstance(part, dict) and 'type' in part:
            part['foreach'] = False
    return cfg


def make_batch(cfg: Config,
               stage: int,
               size: int,
               images: int = 1,
               device: str = 'cpu') -> dict:
    """Random photographs with a few labelled spots, as the loader gives them.

    Every task has a dataset that labels it. In stage 2 each dataset comes a
    second time with pseudo labels of the other tasks, except lesions on the
    dataset of discs, as published.
    """
    tasks = build_tasks(cfg.model.tasks)
    names = [task.name for task in tasks]
    generator = torch.Generator().manual_seed(0)
    metas, planes = [], []
    for name in names:
        metas += images * [_meta(name, names, {name: 'truth'})]
    for name in names if stage == 2 else ():
        kinds = {
            other: 'pseudo'
            for other in names
            if other != name and (name, other) != ('odoc', 'lesion')
        }
        metas += images * [_meta(name, names, kinds)]
    for meta in metas:
        planes.append(
            torch.stack([
                _spots(task, size, generator) if
                meta['planes'][task.name]['kind'] != 'absent' else torch.full(
                    (size, size), 255, dtype=torch.uint8) for task in tasks
            ]))
    img = torch.randn(len(metas), 3, size, size, generator=generator)
    return dict(
        img=img.to(device),
        img_metas=metas,
        labels=torch.stack(planes).to(device))


def _meta(dataset, names, kinds):
    return dict(
        dataset=f'{dataset}_set',
        planes={
            name:
            dict(
                kind=kinds.get(name, 'absent'),
                weight=2.0
                if dataset == 'vessel' and name == 'lesion' else 1.0)
            for name in names
        })


def _spots(task, size, generator):
    """A label plane of rectangles, with an ignored border."""
    plane = torch.zeros(size, size, dtype=torch.uint8)
    for value in range(1, task.num_classes + 1):
        top, left = torch.randint(
            size // 2, (2, ), generator=generator).tolist()
        plane[top:top + size // 4, left:left + size // 4] = value
    plane[:2] = 255
    return plane
