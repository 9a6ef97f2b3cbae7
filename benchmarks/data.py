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

from benchmarks import data_report, photographs
from mbos import datasets as data_sets
from mbos.datasets.as_released import plain_loading
from mbos.datasets.random_state import seeded
from prepare_dataset import idrid

ROOT = osp.dirname(osp.dirname(osp.abspath(__file__)))
CONFIG = osp.join(ROOT, 'configs/_base_/datasets/fundus_stage2.py')
SIDES = dict(full=0, default=None)
"""dict: ``--max-side`` of the preparations."""
WAYS = ('plain', 'region', 'reduced', 'cache')
PLANES = dict(labelled=['lesion'], strong=['lesion', 'odoc'])
"""dict: Planes of an image with ground truth, and with pseudo labels."""
Steps = list[tuple[str, callable]]


def pipeline_of(kind: str, way: str) -> list[dict]:
    """The published pipeline of one kind of images, loaded in one way."""
    cfg = mmcv.Config.fromfile(CONFIG)
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
    """One kind of images, prepared in one way, loaded in one way.

    Args:
        root (Path): Where IDRiD was prepared.
        kind (str): 'labelled' or 'strong'.
        way (str): One of ``WAYS``.
        cache_dir (str): Folder for the way 'cache'.
    """

    def __init__(self, root: Path, kind: str, way: str, cache_dir: str):
        self.kind, self.way = kind, way
        config = pipeline_of(kind, way)
        self.dataset = dataset_of(root, kind, [])
        if way == 'cache':
            self.dataset.cache = data_sets.ArrayCache(cache_dir)
        self.steps: Steps = [(step['type'], PIPELINES.build(step))
                             for step in config]
        self.rounds: list[dict[str, float]] = []

    def load(self, index: int, spent: dict | None = None, stop: int = None):
        """Run the transforms on an image, drawing what its index says."""
        data = self.dataset
        i = index % len(data)
        results = dict(
            img_info=data.img_infos[i], ann_info=data.get_ann_info(i))
        data.pre_pipeline(results)
        with seeded((0, index)):
            for name, step in self.steps[:stop]:
                start = time.process_time()
                results = step(results)
                if spent is not None:
                    spent[name] += time.process_time() - start
        return results

    def measure(self, samples: int) -> None:
        """Add the seconds of a sample, by transform, to the rounds."""
        spent = defaultdict(float)
        for index in range(samples):
            self.load(index, spent)
        self.rounds.append({k: v / samples for k, v in spent.items()})

    @property
    def seconds(self) -> float:
        """Seconds of a sample: the median of the rounds."""
        return median(sum(spent.values()) for spent in self.rounds)

    def loaded(self, index: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The crop and its planes, before anything else is done."""
        names = [name for name, _ in self.steps]
        stop = names.index('RandomCrop') if self.way == 'plain' else 0
        results = self.load(index, stop=stop + 1)
        return results['img'], {k: results[k] for k in results['seg_fields']}

    def report(self, plain: 'Case', samples: int) -> dict:
        """The results, with the differences from the plain way."""
        grey, largest, same = [], 0, True
        for index in range(samples):
            image, planes = self.loaded(index)
            expected, truth = plain.loaded(index)
            difference = cv2.absdiff(image, expected)
            grey.append(float(difference.mean()))
            largest = max(largest, int(difference.max()))
            same &= all((planes[k] == truth[k]).all() for k in truth)
        return dict(
            seconds=self.seconds,
            images_per_second=1 / self.seconds,
            ratio=plain.seconds / self.seconds,
            mean_grey_difference=mean(grey),
            max_grey_difference=largest,
            labels_equal=bool(same),
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
    start = time.process_time()
    images = len(cases['cache'].dataset)
    for index in range(images):
        cases['cache'].load(index)
    filling = (time.process_time() - start) / images
    for way in WAYS:  # warm up
        cases[way].load(0)
    for _ in range(rounds):
        for case in cases.values():
            case.measure(samples)
    found = {w: c.report(cases['plain'], samples) for w, c in cases.items()}
    found['cache']['first_seconds'] = filling
    return found


def measure_loader(joint, workers: int, steps: int,
                   step_seconds: float) -> dict[str, float]:
    """Measure the training loader by the clock.

    Args:
        joint (JointDataset): An item is what a training step takes.
        workers (int): Of the loader.
        steps (int): Steps to take.
        step_seconds (float): What a step takes; it is slept through, as a
            GPU leaves the cores alone.

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


def run(raw: str | None = None,
        samples: int = 8,
        rounds: int = 3,
        workers: Sequence[int] = (),
        height: int = photographs.HEIGHT,
        images: int = 2,
        images_per_step: int = 6,
        step_seconds: float = 0.3) -> dict:
    """Prepare photographs and measure.

    Args:
        raw (str, optional): Unpacked folder of IDRiD; None looks at
            ``MBOS_REAL_DATA`` and else draws photographs.
        samples (int): Samples of a round; the draws are the same for all
            ways. Default: 8.
        rounds (int): Rounds of which the median counts. Default: 3.
        workers (Sequence[int]): Also measure the loader with these numbers of
            workers. Default: none.
        height (int): Of drawn photographs. Default: 2848.
        images (int): How many to draw. Default: 2.
        images_per_step (int): Images of a training step. Default: 6.
        step_seconds (float): What a step takes on a GPU, an assumption.
            Default: 0.3.

    Returns:
        dict: ``settings``; ``cases``, by preparation, kind and way the
        results of :meth:`Case.report`; ``loader``, by way and workers those
        of :func:`measure_loader` at full size; ``plain`` and ``cached``,
        seconds and images per second of a worker at full size, half of them
        of each kind; their ``ratio``; ``supply``, whether four workers keep
        up with a GPU.
    """
    settings = dict(
        samples=samples, rounds=rounds, images_per_step=images_per_step,
        step_seconds=step_seconds)  # yapf: disable
    report = dict(settings=settings, cases={}, loader={})
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        source = photographs.find_raw(raw)
        settings['photographs'] = str(source or f'drawn, height {height}')
        source = source or photographs.draw_photographs(folder, images, height)
        for name, side in SIDES.items():
            root, cache = folder / name, str(folder / f'{name}_cache')
            with contextlib.redirect_stdout(sys.stderr):
                idrid.prepare(source, root, workers=1, max_side=side)
            with one_thread():
                report['cases'][name] = {
                    kind: measure_ways(root, kind, cache, samples, rounds)
                    for kind in PLANES
                }
        for way in WAYS if workers else ():
            joint = joint_of(folder / 'full', way, str(folder / 'full_cache'),
                             images_per_step)
            report['loader'][way] = {
                str(n): measure_loader(joint, n, samples, step_seconds)
                for n in workers
            }
    report.update(_summary(report['cases'], images_per_step / step_seconds))
    return report


def _summary(cases: dict, needed: float) -> dict:
    """The goal's values: ``needed`` are the images a second of a GPU."""
    rates = {
        name: {
            way: 1 / mean(ways[way]['seconds'] for ways in kinds.values())
            for way in WAYS
        }
        for name, kinds in cases.items()
    }
    sides = {
        side:
        dict(
            images_per_second=rates['full'][way],
            seconds=1 / rates['full'][way])
        for side, way in (('plain', 'plain'), ('cached', 'cache'))
    }
    return dict(
        **sides,
        rates=rates,
        ratio=rates['full']['cache'] / rates['full']['plain'],
        supply=dict(
            needed=needed,
            by_four_workers={
                name: {
                    way: 4 * rate
                    for way, rate in ways.items()
                }
                for name, ways in rates.items()
            }))


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and report; exit code 1 if the goal is missed, with --check."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--raw', help='unpacked folder of IDRiD')
    parser.add_argument('--samples', type=int, default=8)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument(
        '--workers', type=int, nargs='+', default=[], help='of the loader')
    parser.add_argument(
        '--height',
        type=int,
        default=photographs.HEIGHT,
        help='of drawn photographs')
    parser.add_argument('--images', type=int, default=2, help='to draw')
    parser.add_argument('--step-seconds', type=float, default=0.3)
    parser.add_argument('--images-per-step', type=int, default=6)
    parser.add_argument('--json', action='store_true')
    parser.add_argument(
        '--check', action='store_true', help='exit 1 if the goal is missed')
    args = vars(parser.parse_args(argv))
    as_json, check = args.pop('json'), args.pop('check')
    try:
        report = run(**args)
    except FileNotFoundError as error:
        parser.error(str(error))
    print(
        json.dumps(report, indent=1) if as_json else data_report.as_text(report
                                                                         ))
    goal = data_report.GOAL
    missed = report['ratio'] < goal
    if check and missed:
        print(
            f'MISSED: {report["ratio"]:.2f} times the images per second, '
            f'the goal is {goal}.',
            file=sys.stderr)
    return int(check and missed)


if __name__ == '__main__':
    sys.exit(main())
