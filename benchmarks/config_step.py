"""Time of a training step of any config, on random images.

    python benchmarks/config_step.py CONFIG [CONFIG ...] [--size 384]
        [--steps 3] [--cfg-options key=value ...]

Each config's network takes steps forward and backward, on one thread of the
CPU, with one random image of every dataset of ``data.train``, labelled as that
dataset is; no files are read. What is reported is processor time, which other
programs on the machine change little.
"""
import argparse
import logging
import statistics
import time

import torch
from mmcv import Config, DictAction
from mmseg.models import build_segmentor

import mbos.registration  # noqa: F401
from mbos.config import load_config, member_datasets
from mbos.tasks import Task, build_tasks


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line; wrong usage ends with status 2."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='+', metavar='CONFIG')
    parser.add_argument(
        '--size', type=int, default=384, help='side of the images')
    parser.add_argument(
        '--steps', type=int, default=3, help='steps that are timed')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE')
    return parser.parse_args(argv)


def random_batch(cfg: Config, size: int) -> dict:
    """An image of each training dataset, with random labels.

    Of members that take turns, the first is taken.

    Args:
        cfg (Config): Completed by ``load_config``.
        size (int): Side of the images.

    Returns:
        dict: ``img``, ``img_metas`` and ``labels``, as the loader gives them.
    """
    tasks = build_tasks(cfg.model.tasks)
    members = [
        member_datasets(m[0] if isinstance(m, (list, tuple)) else m)[0]
        for m in cfg.data.train.datasets
    ]
    torch.manual_seed(0)
    metas, planes = [], []
    for member in members:
        kinds = {task.name: 'absent' for task in tasks}
        kinds.update(dict.fromkeys(member.get('pseudo_dirs') or {}, 'pseudo'))
        kinds.update(dict.fromkeys(member.get('ann_dirs') or {}, 'truth'))
        metas.append(
            dict(
                dataset=member.name,
                planes={
                    name: dict(kind=kind, weight=1.0)
                    for name, kind in kinds.items()
                }))
        planes.append(
            torch.stack([
                random_plane(task, kinds[task.name], size) for task in tasks
            ]))
    return dict(
        img=torch.randn(len(members), 3, size, size),
        img_metas=metas,
        labels=torch.stack(planes))


def random_plane(task: Task, kind: str, size: int) -> torch.Tensor:
    """A label plane of squares, or one that is absent."""
    if kind == 'absent':
        return torch.full((size, size), 255, dtype=torch.uint8)
    blocks = torch.randint(task.num_classes + 1, (8, 8), dtype=torch.uint8)
    index = torch.arange(size) * 8 // size
    return blocks[index][:, index]


def time_step(cfg: Config, size: int, steps: int) -> tuple[float, int]:
    """Processor time of a step, the median, and the images in it."""
    torch.manual_seed(0)
    model = build_segmentor(cfg.model).train()
    batch = random_batch(cfg, size)
    seconds = []
    for _ in range(steps + 1):  # the first one prepares
        model.zero_grad()
        start = time.process_time()
        model.train_step(batch, backward=lambda loss: loss.backward())
        seconds.append(time.process_time() - start)
    return statistics.median(seconds[1:]), len(batch['img'])


def main(argv: list[str] | None = None) -> None:
    """Time every config, and compare with the first."""
    args = parse_args(argv)
    torch.set_num_threads(1)
    logging.disable(logging.INFO)
    first = None
    for path in args.configs:
        cfg = load_config(path, args.cfg_options)
        seconds, images = time_step(cfg, args.size, args.steps)
        first = first or seconds
        print(
            f'{seconds:7.2f} s  {seconds / first:5.2f} x  {images} images  '
            f'{path}',
            flush=True)


if __name__ == '__main__':
    main()
