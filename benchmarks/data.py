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

from benchmarks.common import markdown
from mbos.commands.options import FLAG, make_parser
from mbos.datasets import PartialLabelDataset
from mbos.datasets.array_cache import ArrayCache
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

Times = dict[str, float]
"""Processor seconds of a sample by transform."""


def pipeline_of(kind: str, way: str) -> list[dict]:
    """The published pipeline of one kind of images, loaded in one way."""
    cfg = mmcv.Config.fromfile(str(CONFIG))
    member = cfg.data.train.datasets[0 if kind == 'labelled' else -1]
    steps = copy.deepcopy(member['pipeline'])
    if way == 'plain':
        return plain_loading(steps)
    steps[0]['reduced_decoding'] = way == 'reduced'
    return steps


def time_samples(data: PartialLabelDataset, steps: list[dict],
                 samples: int) -> Times:
    """Load so many samples; what is drawn follows from a sample's number."""
    spent: Times = defaultdict(float)
    transforms = [(step['type'], PIPELINES.build(step)) for step in steps]
    for number in range(samples):
        i = number % len(data)
        results = dict(
            img_info=data.img_infos[i], ann_info=data.get_ann_info(i))
        data.pre_pipeline(results)
        with seeded((0, number)):
            for name, transform in transforms:
                start = time.process_time()
                results = transform(results)
                spent[name] += time.process_time() - start
    return {name: seconds / samples for name, seconds in spent.items()}


def measure_ways(root: Path, kind: str, cache_dir: str, samples: int,
                 rounds: int) -> dict[str, Times]:
    """Measure all ways in turn, so that a busy machine slows all of them:
    medians of the rounds, by way.
    """
    found = defaultdict(list)
    for number in range(1 + rounds):
        for way in WAYS:
            data = PartialLabelDataset(
                name='idrid',
                tasks=['vessel', 'lesion', 'odoc'],
                data_root=str(root / idrid.FOLDER / 'train'),
                img_dir='images',
                ann_dirs=PLANES[kind],
                pipeline=[])
            if way == 'cache':
                data.cache = ArrayCache(cache_dir)
            # the first round warms up, and fills the cache
            times = time_samples(data, pipeline_of(kind, way),
                                 samples if number else len(data))
            found[way] += [times] * (number > 0)
    return {
        way: {
            name: median(times[name] for times in own)
            for name in own[0]
        }
        for way, own in found.items()
    }


def measure(raw: str, samples: int,
            rounds: int) -> dict[str, dict[str, dict[str, Times]]]:
    """Prepare photographs and measure: by preparation, kind and way."""
    cv2.setNumThreads(0)  # as a worker of the loader
    torch.set_num_threads(1)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, side in SIDES.items():
            root, cache = Path(folder, name), osp.join(folder, f'{name}_cache')
            with redirect_stdout(sys.stderr):
                idrid.prepare(Path(raw), root, workers=1, max_side=side)
            found[name] = {
                kind: measure_ways(root, kind, cache, samples, rounds)
                for kind in PLANES
            }
    return found


def rates(kinds: dict[str, dict[str, Times]]) -> dict[str, float]:
    """Images per second of a worker by way, half of them of each kind."""
    return {
        way: 1 / mean(sum(ways[way].values()) for ways in kinds.values())
        for way in WAYS
    }


def as_text(found: dict[str, dict[str, dict[str, Times]]]) -> str:
    """The results as tables in Markdown."""
    tables = []
    for name, kinds in found.items():
        for kind, ways in kinds.items():
            rows = [(f'{name}, {kind}: milliseconds', *WAYS)]
            for step in dict.fromkeys(s for own in ways.values() for s in own):
                rows.append(
                    (step, *(f'{1e3 * own[step]:.1f}' if step in own else ''
                             for own in ways.values())))
            rows.append(('images/s', *(f'{1 / sum(own.values()):.1f}'
                                       for own in ways.values())))
            tables.append(markdown(rows))
    rows = [('images/s of a worker, half of each kind', *WAYS)]
    rows += [(name, *(f'{rate:.1f}' for rate in rates(kinds).values()))
             for name, kinds in found.items()]
    return '\n\n'.join([*tables, markdown(rows)])


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and report; exit code 1 if the goal is missed, with --check."""
    args = make_parser(__doc__, [
        ('raw', 'unpacked folder', dict(metavar='IDRID')),
        ('--samples', '', dict(type=int, default=8)),
        ('--rounds', '', dict(type=int, default=3)),
        ('--check', 'exit 1 if the goal is missed', FLAG),
    ]).parse_args(argv)
    found = measure(args.raw, args.samples, args.rounds)
    full = rates(found['full'])
    ratio = full['cache'] / full['plain']
    print(f'{as_text(found)}\n\nFrom the cache {ratio:.1f} times as many '
          f'images per second as plain at full size (goal: {GOAL:.0f}).')
    return int(args.check and ratio < GOAL)


if __name__ == '__main__':
    sys.exit(main())
