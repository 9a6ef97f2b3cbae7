"""Networks, batches and optimizers that the benchmarks measure."""
import copy
from collections.abc import Mapping, Sequence
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
TINY = dict(
    backbone=dict(embed_dims=12, depths=[1, 1, 1, 1], num_heads=[1, 2, 3, 4]),
    decode_head=dict(head=dict(in_channels=[12, 24, 48, 96], channels=16)),
    auxiliary_head=dict(head=dict(in_channels=48, channels=16)))
"""dict: A network small enough for tests."""
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
    """The published config of a stage, from scratch; beyond the published
    tasks there are invented ones of one class each."""
    cfg = Config.fromfile(str(CONFIGS / STAGE_CONFIGS[stage]))
    extra = [f'extra_{i}' for i in range(tasks - len(LABELLED))]
    names = [*LABELLED[:tasks], *(dict(name=n, classes=(n, )) for n in extra)]
    changes = [dict(pretrained=None, tasks=names)]
    changes += [TINY] * (width == 'tiny') + [NO_NOISE] * (not noise)
    for change in changes:
        cfg.merge_from_dict(dict(model=copy.deepcopy(change)))
    if stage == 2 and width == 'tiny':
        cfg.model.discriminator.channels = 4
        cfg.model.decode_head.cross_task_attention.window_size = 8
    cfg.model.train_cfg = ConfigDict(cfg.model.train_cfg, **train_cfg)
    return cfg


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
    dataset of discs, as published."""
    names = [task.name for task in build_tasks(cfg.model.tasks)]
    members = [(name, {name: 'truth'}) for name in names]
    for name in names if stage == 2 else ():
        left_out = (name, 'lesion') if name == 'odoc' else (name, )
        others = [other for other in names if other not in left_out]
        members.append((name, dict.fromkeys(others, 'pseudo')))
    return random_batch(cfg, [one for one in members for _ in range(images)],
                        size, device)


def random_batch(cfg: Config,
                 members: Sequence[tuple[str, Mapping[str, str]]],
                 size: int,
                 device: str = 'cpu') -> dict:
    """A random image for each of some members, which say the name of a dataset
    and the kinds of planes that it has, by task."""
    tasks = build_tasks(cfg.model.tasks)
    generator = torch.Generator().manual_seed(0)
    metas = [dict(dataset=name, planes={}) for name, _ in members]
    labels = torch.full((len(members), len(tasks), size, size), 255).byte()
    for (name, kinds), meta, planes in zip(members, metas, labels):
        for task, plane in zip(tasks, planes):
            doubled = (name, task.name) == ('vessel', 'lesion')
            meta['planes'][task.name] = dict(
                kind=kinds.get(task.name, 'absent'),
                weight=2.0 if doubled else 1.0)
            if task.name in kinds:
                _draw_spots(plane, task.num_classes, generator)
    img = torch.randn(len(metas), 3, size, size, generator=generator)
    return dict(img=img.to(device), img_metas=metas, labels=labels.to(device))


def _draw_spots(plane, classes, generator):
    """Rectangles of all classes; the border stays ignored."""
    size = len(plane)
    plane[2:] = 0
    for value in range(1, classes + 1):
        top, left = torch.randint(
            size // 2, (2, ), generator=generator).tolist()
        plane[max(top, 2):top + size // 4, left:left + size // 4] = value
