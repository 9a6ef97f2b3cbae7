"""What each accelerator of mbos.accelerate is worth on CPU.

examples:
    python benchmarks/accelerators.py                 # 512x512 and 1024x1024
    python benchmarks/accelerators.py --datasets 1    # a third of the images
    python benchmarks/accelerators.py --cases inference --rounds 5

One process takes the published stage-2 step, or an inference, with all
accelerators, with all but one, with none, and by the schedule of the published
release, in turn; all ways of a round draw the same random numbers. Time is
that of the processor, all threads together, so that a busy machine does little
harm. Memory is the peak of the process. Freed memory goes back to the system
before each step; the allocator's setting is judged by the same step once more.
"""
import argparse
import ctypes
import gc
import json
import logging
import os
import os.path as osp
import statistics
import sys

if not __package__:  # started by its path
    sys.path[0] = osp.dirname(osp.dirname(osp.abspath(__file__)))

import torch

from benchmarks import model as networks
from benchmarks.baseline import ReleaseSchedule
from benchmarks.common import cpu_seconds, markdown, resident
from benchmarks.steps import predict_step, train_step
from mbos.accelerate import (ACCELERATORS, accelerate, keep_freed_memory,
                             restore)

WORTH_KEEPING = 0.05
"""float: Share of the time or the memory that an accelerator must save in one
case at least; others are not kept in the library."""

NOTHING, ALL, RELEASE = 'nothing', 'all', 'release'
ALLOCATOR = 'allocator'
WAYS = (RELEASE, ALL, ALLOCATOR, *ACCELERATORS)


class Case:
    """A network and what it is to do: stage1, stage2 or inference."""

    def __init__(self, case: str, args: argparse.Namespace):
        stage = 1 if case == 'stage1' else 2
        cfg = networks.stage_config(
            stage, args.width, precision='float32', images_per_pass='auto')
        self.model = networks.build_network(cfg)
        if case == 'inference':
            side = args.inference_size
            image = torch.randn(1, 3, side, side)
            self.model.eval()
            self.step = predict_step(self.model, image, ours=True)
            self.release_step = predict_step(self.model, image, ours=False)
            return
        batch = of_first_datasets(
            networks.make_batch(cfg, stage, args.size), args.datasets)
        self.step = train_step(self.model, cfg, batch)

        def release_step():
            # its optimizers do not outlive it: they would take memory
            optimizers = networks.build_optimizers(self.model,
                                                   networks.unfused(cfg))
            ReleaseSchedule(self.model, optimizers).step(batch)

        self.release_step = release_step

    def run(self, way: str, seed: int) -> dict[str, float]:
        """Take a step without ``way``, which is ``NOTHING``, an accelerator,
        ``ALL`` of them, or ``RELEASE``, all and our schedule.

        Returns:
            dict[str, float]: ``seconds`` of the processor and ``peak_mb``;
            where the allocator is looked at, also the seconds of the same step
            ``again``.
        """
        restore(self.model)
        if way not in (ALL, RELEASE):
            accelerate(self.model, [n for n in ACCELERATORS if n != way])
        step = self.release_step if way == RELEASE else self.step
        forget_peak()
        torch.manual_seed(seed)  # of dropout and stochastic depth
        found = dict(seconds=cpu_seconds(step), peak_mb=resident('VmHWM'))
        if way in (NOTHING, ALLOCATOR):  # with what the allocator may keep
            torch.manual_seed(seed)
            found['again'] = cpu_seconds(step)
        return found


def of_first_datasets(batch: dict, number: int) -> dict:
    """The part of a batch that comes from its first datasets."""
    names = list(dict.fromkeys(m['dataset'] for m in batch['img_metas']))
    rows = [
        row for row, meta in enumerate(batch['img_metas'])
        if meta['dataset'] in names[:number]
    ]
    return dict(
        img=batch['img'][rows],
        img_metas=[batch['img_metas'][row] for row in rows],
        labels=batch['labels'][rows])


def forget_peak() -> None:
    """Give freed memory back and start the peak anew, on Linux with glibc."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open('/proc/self/clear_refs', 'w') as file:
        file.write('5')


def measure(case: str, args: argparse.Namespace) -> list[dict]:
    """Measure a case; rows of ``way``, ``case`` and what :func:`compare`
    gives.
    """
    work = Case(case, args)
    found: dict[str, list[dict]] = {}

    def rounds(ways):
        for way in ways[-1:]:
            work.run(way, seed=0)  # warm up
        for number in range(args.rounds):
            for way in ways:
                found.setdefault(way, []).append(work.run(way, number))
                print(f'{case}, {way}: {found[way][-1]}', file=sys.stderr)

    # first what runs without the allocator's setting, which stays
    rounds([w for w in (RELEASE, ALLOCATOR) if w in args.ways])
    keep_freed_memory()
    rounds([w for w in (ALL, *ACCELERATORS) if w in args.ways] + [NOTHING])
    return [
        dict(
            way=way,
            case=case,
            **compare(found[NOTHING], steps,
                      'again' if way == ALLOCATOR else 'seconds'))
        for way, steps in found.items()
    ]


def compare(fast: list[dict],
            slow: list[dict],
            seconds: str = 'seconds') -> dict[str, float]:
    """Compare steps with all accelerators and without one, round by round.

    Returns:
        dict[str, float]: Medians of ``seconds`` and ``peak_mb`` without it,
        and ``saved`` and ``memory_saved``, the shares that it saves.
    """

    def saved(key):
        return 1 - statistics.median(f[key] / s[key]
                                     for f, s in zip(fast, slow))

    return dict(
        seconds=statistics.median(s[seconds] for s in slow),
        saved=saved(seconds),
        peak_mb=statistics.median(s['peak_mb'] for s in slow),
        memory_saved=saved('peak_mb'))


def as_text(results: list[dict], args: argparse.Namespace) -> str:
    """The table, in Markdown."""
    rows = [('case, without', 'CPU s', 'saved', 'peak MB', 'saved', 'kept')]
    for row in results:
        best = max(row['saved'], row['memory_saved'])
        verdict = 'yes' if best >= WORTH_KEEPING else 'no'
        if row['way'] in (NOTHING, ALL, RELEASE):
            verdict = ''
        rows.append((f'{row["case"]}: {row["way"]}', f'{row["seconds"]:.2f}',
                     f'{row["saved"]:.1%}', f'{row["peak_mb"]:.0f}',
                     f'{row["memory_saved"]:.1%}', verdict))
    return (f'Training images {args.size}x{args.size} of {args.datasets} '
            f'dataset(s), inference {args.inference_size}x'
            f'{args.inference_size}, {args.threads} thread(s), float32, '
            f'medians of {args.rounds} rounds. Kept is what saves '
            f'{WORTH_KEEPING:.0%} of time or memory.\n\n{markdown(rows)}')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add('--cases',
        nargs='+',
        choices=('stage1', 'stage2', 'inference'),
        default=['stage2', 'inference'])
    add('--without',
        nargs='+',
        dest='ways',
        choices=WAYS,
        default=WAYS,
        help='only these are left out in turn (default: each)')
    add('--size', type=int, default=512, help='side of training images')
    add('--inference-size', type=int, default=1024)
    add('--datasets',
        type=int,
        choices=(1, 2, 3),
        default=3,
        help='how many of the three; in stage 2 each has two images in a\n'
        'step, one labelled and one with pseudo labels')
    add('--rounds', type=int, default=3)
    add('--threads', type=int, default=len(os.sched_getaffinity(0)))
    add('--width',
        choices=('published', 'tiny'),
        default='published',
        help='the network; "tiny" is for tests of this tool')
    add('--json', action='store_true', help='numbers for machines')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Measure all that is asked for and print it."""
    args = parse_args(argv)
    torch.set_num_threads(args.threads)
    logging.disable(logging.INFO)  # mmcv has a line for every parameter
    results = sum((measure(case, args) for case in args.cases), [])
    print(
        json.dumps(results, indent=1) if args.json else as_text(results, args))


if __name__ == '__main__':
    main()
