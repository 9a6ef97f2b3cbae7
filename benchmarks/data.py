"""Measure how fast training images are loaded, and where the time goes.

``python -m benchmarks.data IDRID [--samples 10] [--check]``

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
import copy
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from statistics import mean, median

import cv2
import mmcv
import torch

from benchmarks.common import markdown, time_parts
from mbos.commands.options import FLAG, make_parser
from mbos.datasets import PartialLabelDataset
from mbos.datasets.array_cache import ArrayCache
from mbos.datasets.as_released import plain_loading
from mbos.datasets.joint import seeded
from prepare_dataset import idrid
from prepare_dataset.driver import run

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

Times = dict[str, float]
"""Processor seconds of a sample by transform."""


def make_dataset(root: Path, kind: str, way: str) -> PartialLabelDataset:
    """Prepared images of one kind, by its published pipeline, loaded in one
    way."""
    cfg = mmcv.Config.fromfile(str(CONFIG))
    member = cfg.data.train.datasets[0 if kind == 'labelled' else -1]
    steps = copy.deepcopy(member['pipeline'])
    if way == 'plain':
        steps = plain_loading(steps)
    else:
        steps[0]['reduced_decoding'] = way == 'reduced'
    data = PartialLabelDataset(
        name='idrid',
        tasks=['vessel', 'lesion', 'odoc'],
        data_root=str(root / idrid.FOLDER / 'train'),
        img_dir='images',
        ann_dirs=PLANES[kind],
        pipeline=steps)
    if way == 'cache':
        data.cache = ArrayCache(str(root / 'cache'))
    return data


def time_samples(data: PartialLabelDataset, samples: int) -> Times:
    """Load so many samples; what is drawn follows from a sample's number."""

    def load():
        for number in range(samples):
            with seeded((0, number)):
                data[number % len(data)]

    names = dict.fromkeys(type(step) for step in data.pipeline.transforms)
    parts = [(step, '__call__', step.__name__) for step in names]
    return {
        name: seconds / samples
        for name, seconds in time_parts(load, parts).items()
    }


def measure_ways(root: Path, kind: str, samples: int,
                 rounds: int) -> dict[str, Times]:
    """Measure all ways in turn, so that a busy machine slows all of them:
    medians of the rounds, by way."""
    found = defaultdict(list)
    sets = {way: make_dataset(root, kind, way) for way in WAYS}
    for number in range(1 + rounds):
        for way, data in sets.items():
            # the first round warms up, and fills the cache
            times = time_samples(data, samples if number else len(data))
            found[way] += [times] * (number > 0)
    return {
        way: {name: median(times[name] for times in own)
              for name in own[0]}
        for way, own in found.items()
    }  # yapf: disable


def table_of(title: str, ways: dict[str, Times]) -> str:
    """Milliseconds by transform and way, in Markdown."""
    rows = [(f'{title}: milliseconds', *ways)]
    for step in dict.fromkeys(name for own in ways.values() for name in own):
        rows.append((step, *(f'{1e3 * own[step]:.1f}' if step in own else ''
                             for own in ways.values())))
    rates = (f'{1 / sum(own.values()):.1f}' for own in ways.values())
    return markdown([*rows, ('images/s', *rates)])


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and report; exit code 1 if the goal is missed, with --check."""
    args = make_parser(__doc__, [
        ('raw', 'unpacked folder', dict(metavar='IDRID')),
        ('--samples', '', dict(type=int, default=8)),
        ('--rounds', '', dict(type=int, default=3)),
        ('--check', 'exit 1 if the goal is missed', FLAG),
    ]).parse_args(argv)
    cv2.setNumThreads(0)  # as a worker of the loader
    torch.set_num_threads(1)
    rates = {}
    for name, side in SIDES.items():
        with tempfile.TemporaryDirectory() as folder:
            with redirect_stdout(sys.stderr):
                run(idrid.COLLECTION,
                    Path(args.raw),
                    Path(folder),
                    workers=1,
                    max_side=side)
            kinds = {
                kind:
                measure_ways(Path(folder), kind, args.samples, args.rounds)
                for kind in PLANES
            }
        for kind, ways in kinds.items():
            print(f'{table_of(f"{name}, {kind}", ways)}\n')
        rates[name] = [
            1 / mean(sum(ways[way].values()) for ways in kinds.values())
            for way in WAYS
        ]
    rows = [('images/s of a worker, half of each kind', *WAYS)]
    rows += [(name, *(f'{rate:.1f}' for rate in own))
             for name, own in rates.items()]
    ratio = rates['full'][WAYS.index('cache')] / rates['full'][0]
    print(f'{markdown(rows)}\n\nFrom the cache {ratio:.1f} times as many '
          f'images per second as plain at full size (goal: {GOAL:.0f}).')
    return int(args.check and ratio < GOAL)


if __name__ == '__main__':
    sys.exit(main())
