"""Measure how fast training images are loaded, and where the time goes.

``python benchmarks/data.py [--raw IDRiD] [--json] [--check]``

Full-size photographs (4288x2848) are prepared twice: at full size and, as by
default, at 2048 pixels at most. Four ways of loading are compared in turn:

- plain: all of the image is decoded and resized, as the release does;
- region: decoded whole, but only the crop is resized;
- reduced: JPEG also decoded smaller where that is enough, the default;
- cache: decoded once, then mapped from the disk (``data.train.cache_dir``).

Seconds are processor time in one thread, which is what a worker takes that
has a core to itself and finds the files in memory; so other programs disturb
the results little. The loader (``--workers``) is measured by the clock.
Photographs come from ``--raw`` or the folder IDRiD of ``MBOS_REAL_DATA``;
otherwise they are drawn.
"""
import argparse
import contextlib
import copy
import json
import os
import os.path as osp
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median

import cv2
import mmcv
import numpy as np
import torch
from mmseg.datasets import PIPELINES

if not __package__:  # started by its path
    sys.path[0] = osp.dirname(osp.dirname(osp.abspath(__file__)))

from benchmarks.common import markdown
from mbos import datasets as data_sets
from mbos.datasets.as_released import plain_loading
from mbos.datasets.joint import seeded
from prepare_dataset import idrid
from prepare_dataset.synthetic import CAMERAS
from prepare_dataset.synthetic_camera import photograph
from prepare_dataset.synthetic_eye import draw_eye
from prepare_dataset.synthetic_layouts import write_idrid

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / 'configs/_base_/datasets/fundus_stage2.py'
SIDES = dict(full=0, default=None)
"""dict: ``--max-side`` of the preparations."""
WAYS = ('plain', 'region', 'reduced', 'cache')
PLANES = dict(labelled=['lesion'], strong=['lesion', 'odoc'])
"""dict: Planes of an image with ground truth, and with pseudo labels."""
HEIGHT, WIDTH = 2848, 4288
DRAWN_SMALLER = 4
"""int: Drawing at full size takes minutes, so it is done at a quarter."""
GOAL = 3.0
"""float: Images per second from the cache over those of the plain way."""


def find_photographs(raw: str | None, folder: Path, count: int,
                     height: int) -> Path:
    """IDRiD's raw folder: the user's, or drawn.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    real = os.environ.get('MBOS_REAL_DATA')
    if raw is None and real and osp.isdir(osp.join(real, 'IDRiD')):
        raw = osp.join(real, 'IDRiD')
    if raw is not None and not osp.isdir(raw):
        raise FileNotFoundError(f'{raw}: not found; give the unpacked folder '
                                'of IDRiD, or leave --raw out to draw some.')
    if raw is not None:
        return Path(raw)
    camera, size = CAMERAS['IDRiD'][0], (height * WIDTH // HEIGHT, height)
    for number in range(1, count + 1):
        rng = np.random.default_rng(number)
        eye = draw_eye(
            camera.frame(height // DRAWN_SMALLER), rng, diseased=True)
        image = cv2.resize(
            photograph(eye, camera, rng), size, interpolation=cv2.INTER_CUBIC)
        # the grain of a sensor, which makes files as large as real ones
        grain = rng.normal(0, 2, image.shape).astype(np.float32)
        image = np.clip(image + grain, 0, 255).astype(np.uint8)
        masks = {
            name:
            cv2.resize(np.uint8(m), size, interpolation=cv2.INTER_NEAREST) > 0
            for name, m in eye.masks().items()
        }
        write_idrid(folder, 'train', number, image, masks)
    return folder / 'raw/IDRiD'


def pipeline_of(kind: str, way: str) -> list[dict]:
    """The published pipeline of one kind of images, loaded in one way."""
    cfg = mmcv.Config.fromfile(str(CONFIG))
    member = cfg.data.train.datasets[0 if kind == 'labelled' else -1]
    steps = copy.deepcopy(member['pipeline'])
    if way == 'plain':
        return plain_loading(steps)
    steps[0]['reduced_decoding'] = way == 'reduced'
    return steps


def dataset_of(root: Path, kind: str, pipeline: Sequence[dict]):
    """Prepared IDRiD, with one plane or two."""
    folders = dict(lesion='ann', odoc='OD')
    return data_sets.PartialLabelDataset(
        name='idrid',
        tasks=['vessel', 'lesion', 'odoc'],
        data_root=str(root / idrid.FOLDER / 'train'),
        img_dir='images',
        ann_dirs={task: folders[task]
                  for task in PLANES[kind]},
        pipeline=pipeline)


class Case:
    """Images of a kind, prepared in ``root``, loaded in one way.

    The way 'cache' writes to ``cache_dir``.
    """

    def __init__(self, root: Path, kind: str, way: str, cache_dir: str):
        self.dataset = dataset_of(root, kind, [])
        if way == 'cache':
            self.dataset.cache = data_sets.ArrayCache(cache_dir)
        self.steps = [(step['type'], PIPELINES.build(step))
                      for step in pipeline_of(kind, way)]
        self.rounds: list[dict[str, float]] = []

    def load(self, index: int, spent: dict[str, float]) -> None:
        """Run the transforms on an image, drawing what its index says, and
        add up their processor time.
        """
        data = self.dataset
        i = index % len(data)
        results = dict(
            img_info=data.img_infos[i], ann_info=data.get_ann_info(i))
        data.pre_pipeline(results)
        with seeded((0, index)):
            for name, step in self.steps:
                start = time.process_time()
                results = step(results)
                spent[name] += time.process_time() - start

    def measure(self, samples: int) -> None:
        """Add the seconds of a sample, by transform, to the rounds."""
        spent: dict[str, float] = defaultdict(float)
        for index in range(samples):
            self.load(index, spent)
        self.rounds.append({k: v / samples for k, v in spent.items()})

    def report(self) -> dict:
        """Seconds of a sample and of its transforms: medians of the rounds."""
        return dict(
            seconds=median(sum(spent.values()) for spent in self.rounds),
            transforms={
                name: median(spent[name] for spent in self.rounds)
                for name, _ in self.steps
            })


@contextlib.contextmanager
def one_thread():
    """Compute as a worker of the loader does."""
    before = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before[0])
        torch.set_num_threads(before[1])


def measure_ways(root: Path, kind: str, cache_dir: str, samples: int,
                 rounds: int) -> dict[str, dict]:
    """Measure all ways in turn, so that a busy machine slows all of them.

    Returns:
        dict[str, dict]: :meth:`Case.report` by way; 'cache' also has
        ``first_seconds``, of a sample while the cache fills.
    """
    cases = {way: Case(root, kind, way, cache_dir) for way in WAYS}
    filling: dict[str, float] = defaultdict(float)
    images = len(cases['cache'].dataset)
    for index in range(images):
        cases['cache'].load(index, filling)
    for way in WAYS:  # warm up
        cases[way].load(0, defaultdict(float))
    for _ in range(rounds):
        for case in cases.values():
            case.measure(samples)
    found = {way: case.report() for way, case in cases.items()}
    found['cache']['first_seconds'] = sum(filling.values()) / images
    return found


def measure_loader(joint, workers: int, steps: int,
                   step_seconds: float) -> dict[str, float]:
    """Measure the training loader by the clock.

    Args:
        joint: A ``JointDataset``, an item of which is what a step takes.
        workers: Of the loader.
        steps: Steps to take.
        step_seconds: What a step takes; it is slept through, as a GPU leaves
            the cores alone.

    Returns:
        dict[str, float]: ``images_per_second`` without any step, and
        ``waited``, the seconds that a step waits for its images.
    """
    loader = iter(
        data_sets.build_train_loader(joint, 1, workers, rank=0, world_size=1))
    for _ in range(2 * workers + 1):  # what was loaded ahead is not counted
        next(loader)
    start = time.perf_counter()
    count = max(steps, 4 * workers)  # items come in bursts, one a worker
    for _ in range(count):
        next(loader)
    rate = count * len(joint.datasets) / (time.perf_counter() - start)
    waited = 0.0
    for _ in range(steps):
        time.sleep(step_seconds)
        start = time.perf_counter()
        next(loader)
        waited += time.perf_counter() - start
    return dict(images_per_second=rate, waited=waited / steps)


def joint_of(root: Path, way: str, cache_dir: str, images: int):
    """Members of both kinds in turn, as many as a step has images."""
    kinds = [tuple(PLANES)[i % len(PLANES)] for i in range(images)]
    return data_sets.JointDataset(
        [dataset_of(root, kind, pipeline_of(kind, way)) for kind in kinds],
        cache_dir=cache_dir if way == 'cache' else None)


def run(args: argparse.Namespace) -> dict:
    """Prepare photographs and measure.

    Returns:
        dict: ``photographs``; ``cases``, by preparation, kind and way the
        results of :func:`measure_ways`; ``loader``, by way and number of
        workers those of :func:`measure_loader` at full size; ``rates``, images
        per second of a worker, half of them of each kind, by preparation and
        way; ``ratio``, of the cache over the plain way at full size.
    """
    report: dict = dict(cases={}, loader={}, rates={})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = find_photographs(args.raw, folder, args.images, args.height)
        report['photographs'] = f'drawn, height {args.height}' if \
            source.is_relative_to(folder) else str(source)
        for name, side in SIDES.items():
            root, cache = folder / name, str(folder / f'{name}_cache')
            with contextlib.redirect_stdout(sys.stderr):
                idrid.prepare(source, root, workers=1, max_side=side)
            with one_thread():
                report['cases'][name] = {
                    kind:
                    measure_ways(root, kind, cache, args.samples, args.rounds)
                    for kind in PLANES
                }
        for way in WAYS if args.workers else ():
            joint = joint_of(folder / 'full', way, str(folder / 'full_cache'),
                             args.images_per_step)
            report['loader'][way] = {
                str(n): measure_loader(joint, n, args.samples,
                                       args.step_seconds)
                for n in args.workers
            }
    for name, kinds in report['cases'].items():
        report['rates'][name] = {
            way: 1 / mean(ways[way]['seconds'] for ways in kinds.values())
            for way in WAYS
        }
    rates = report['rates']['full']
    return dict(report, ratio=rates['cache'] / rates['plain'])


def as_text(report: dict) -> str:
    """The results as tables in Markdown."""
    parts = [f'Photographs: {report["photographs"]}.']
    for name, kinds in report['cases'].items():
        for kind, ways in kinds.items():
            rows = [(f'{name}, {kind}: milliseconds', *WAYS)]
            steps = [case['transforms'] for case in ways.values()]
            for step in dict.fromkeys(n for own in steps for n in own):
                rows.append(
                    (step, *(f'{1e3 * own[step]:.1f}' if step in own else ''
                             for own in steps)))
            rows.append(('images/s', *(f'{1 / c["seconds"]:.1f}'
                                       for c in ways.values())))
            first = ways['cache']['first_seconds']
            parts += [
                markdown(rows),
                f'While the cache fills: {1 / first:.1f} images/s.'
            ]
    rows = [('images/s of a worker, half of each kind', *WAYS)]
    rows += [(name, *(f'{rate:.1f}' for rate in rates.values()))
             for name, rates in report['rates'].items()]
    parts.append(markdown(rows))
    if report['loader']:
        rows = [('loader, full size', 'workers', 'images/s', 'a step waits')]
        rows += [(way, n, f'{found["images_per_second"]:.1f}',
                  f'{found["waited"]:.3f} s')
                 for way, of_workers in report['loader'].items()
                 for n, found in of_workers.items()]
        parts.append(markdown(rows))
    parts.append(f'From the cache {report["ratio"]:.1f} times as many images '
                 f'per second as plain at full size (goal: {GOAL:.0f}).')
    return '\n\n'.join(parts)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('--raw', help='unpacked folder of IDRiD')
    add('--samples', type=int, default=8)
    add('--rounds', type=int, default=3)
    add('--workers', type=int, nargs='+', default=[], help='of the loader')
    add('--height', type=int, default=HEIGHT, help='of drawn photographs')
    add('--images', type=int, default=2, help='to draw')
    add('--step-seconds', type=float, default=0.3)
    add('--images-per-step', type=int, default=6)
    add('--json', action='store_true')
    add('--check', action='store_true', help='exit 1 if the goal is missed')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and report; exit code 1 if the goal is missed, with --check."""
    args = parse_args(argv)
    try:
        report = run(args)
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(report, indent=1) if args.json else as_text(report))
    return int(args.check and report['ratio'] < GOAL)


if __name__ == '__main__':
    sys.exit(main())
