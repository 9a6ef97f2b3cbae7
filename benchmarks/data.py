"""Measure how fast training images are loaded, and where the time goes.

``python benchmarks/data.py IDRID [--samples 10] [--check]``

The full-size photographs (4288x2848) of an unpacked IDRiD folder are prepared
twice: at full size and, as by default, at 2048 pixels at most. Four ways of
loading are compared in turn:

- plain: all of the image is decoded and resized, as the release does;
- region: decoded whole, but only the crop is resized;
- reduced: JPEG also decoded smaller where that is enough, the default;
- cache: decoded once, then mapped from the disk (``data.train.cache_dir``).

Seconds are processor time in one thread, which is what a worker takes that
has a core to itself and finds the files in memory; so other programs disturb
the results little.
"""
import argparse
import copy
import os.path as osp
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from statistics import mean, median

import cv2
import mmcv
import torch
from mmseg.datasets import PIPELINES

if not __package__:  # started by its path
    sys.path[0] = osp.dirname(osp.dirname(osp.abspath(__file__)))

from benchmarks.common import markdown
from mbos.datasets import ArrayCache, PartialLabelDataset
from mbos.datasets.as_released import plain_loading
from mbos.datasets.joint import seeded
from prepare_dataset import idrid

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / 'configs/_base_/datasets/fundus_stage2.py'
SIDES = dict(full=0, default=None)
"""dict: ``--max-side`` of the preparations."""
WAYS = ('plain', 'region', 'reduced', 'cache')
PLANES = dict(
    labelled=dict(lesion='ann'), strong=dict(lesion='ann', odoc='OD'))
"""dict: Planes of an image with ground truth, and with pseudo labels."""
GOAL = 3.0
"""float: Images per second from the cache over those of the plain way."""


def pipeline_of(kind: str, way: str) -> list[dict]:
    """The published pipeline of one kind of images, loaded in one way."""
    cfg = mmcv.Config.fromfile(str(CONFIG))
    member = cfg.data.train.datasets[0 if kind == 'labelled' else -1]
    steps = copy.deepcopy(member['pipeline'])
    if way == 'plain':
        return plain_loading(steps)
    steps[0]['reduced_decoding'] = way == 'reduced'
    return steps


class Case:
    """Images of a kind, prepared in ``root``, loaded in one way.

    The way 'cache' writes to ``cache_dir``.
    """

    def __init__(self, root: Path, kind: str, way: str, cache_dir: str):
        self.dataset = PartialLabelDataset(
            name='idrid',
            tasks=['vessel', 'lesion', 'odoc'],
            data_root=str(root / idrid.FOLDER / 'train'),
            img_dir='images',
            ann_dirs=PLANES[kind],
            pipeline=[])
        if way == 'cache':
            self.dataset.cache = ArrayCache(cache_dir)
        self.steps = [(step['type'], PIPELINES.build(step))
                      for step in pipeline_of(kind, way)]
        self.rounds: list[dict[str, float]] = []

    def measure(self, samples: int) -> None:
        """Add the processor seconds of a sample, by transform, to the rounds;
        what is drawn follows from the number of the sample.
        """
        data = self.dataset
        spent: dict[str, float] = defaultdict(float)
        for number in range(samples):
            i = number % len(data)
            results = dict(
                img_info=data.img_infos[i], ann_info=data.get_ann_info(i))
            data.pre_pipeline(results)
            with seeded((0, number)):
                for name, step in self.steps:
                    start = time.process_time()
                    results = step(results)
                    spent[name] += time.process_time() - start
        self.rounds.append({k: v / samples for k, v in spent.items()})

    def transforms(self) -> dict[str, float]:
        """Seconds of the transforms of a sample: medians of the rounds."""
        return {
            name: median(spent[name] for spent in self.rounds)
            for name, _ in self.steps
        }

    def seconds(self) -> float:
        """Seconds of a sample: median of the rounds."""
        return median(sum(spent.values()) for spent in self.rounds)


def measure_ways(root: Path, kind: str, cache_dir: str, samples: int,
                 rounds: int) -> dict[str, Case]:
    """Measure all ways in turn, so that a busy machine slows all of them."""
    cases = {way: Case(root, kind, way, cache_dir) for way in WAYS}
    for case in cases.values():  # warm up, and fill the cache
        case.measure(len(case.dataset))
        case.rounds.clear()
    for _ in range(rounds):
        for case in cases.values():
            case.measure(samples)
    return cases


def run(args: argparse.Namespace) -> dict[str, dict[str, dict[str, Case]]]:
    """Prepare photographs and measure: cases by preparation, kind and way."""
    cv2.setNumThreads(0)  # as a worker of the loader
    torch.set_num_threads(1)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, side in SIDES.items():
            root, cache = Path(folder, name), osp.join(folder, f'{name}_cache')
            with redirect_stdout(sys.stderr):
                idrid.prepare(Path(args.raw), root, workers=1, max_side=side)
            found[name] = {
                kind: measure_ways(root, kind, cache, args.samples,
                                   args.rounds)
                for kind in PLANES
            }
    return found


def rates(kinds: dict[str, dict[str, Case]]) -> dict[str, float]:
    """Images per second of a worker by way, half of them of each kind."""
    return {
        way: 1 / mean(cases[way].seconds() for cases in kinds.values())
        for way in WAYS
    }


def as_text(found: dict[str, dict[str, dict[str, Case]]]) -> str:
    """The results as tables in Markdown."""
    parts = []
    for name, kinds in found.items():
        for kind, ways in kinds.items():
            rows = [(f'{name}, {kind}: milliseconds', *WAYS)]
            steps = [case.transforms() for case in ways.values()]
            for step in dict.fromkeys(n for own in steps for n in own):
                rows.append(
                    (step, *(f'{1e3 * own[step]:.1f}' if step in own else ''
                             for own in steps)))
            rows.append(('images/s', *(f'{1 / case.seconds():.1f}'
                                       for case in ways.values())))
            parts.append(markdown(rows))
    rows = [('images/s of a worker, half of each kind', *WAYS)]
    rows += [(name, *(f'{rate:.1f}' for rate in rates(kinds).values()))
             for name, kinds in found.items()]
    return '\n\n'.join([*parts, markdown(rows)])


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and report; exit code 1 if the goal is missed, with --check."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('raw', metavar='IDRID', help='unpacked folder')
    parser.add_argument('--samples', type=int, default=8)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument(
        '--check', action='store_true', help='exit 1 if the goal is missed')
    args = parser.parse_args(argv)
    found = run(args)
    full = rates(found['full'])
    ratio = full['cache'] / full['plain']
    print(f'{as_text(found)}\n\nFrom the cache {ratio:.1f} times as many '
          f'images per second as plain at full size (goal: {GOAL:.0f}).')
    return int(args.check and ratio < GOAL)


if __name__ == '__main__':
    sys.exit(main())
