"""Time and memory of the evaluation.

examples:
    python benchmarks/evaluation.py speed            # 1024x1024
    python benchmarks/evaluation.py speed --size 3000 --repeat 3
    python benchmarks/evaluation.py memory           # 10 against 200
    python benchmarks/evaluation.py speed --check    # exit 1 below 10x
    python benchmarks/evaluation.py parts CONFIG CHECKPOINT --dataset idrid

speed: the sums of one image of four lesion classes, from which all metrics
follow, against scikit-learn's roc_curve per class and the confusion at 11
thresholds per class by plain NumPy. Both take turns in one process.
parts: what a whole evaluation of a test set takes, in processor time.
memory: the highest resident memory of a whole evaluation, in a process per
number of images; the network is a stand-in that costs nothing.
"""
import argparse
import multiprocessing
import os
import os.path as osp
import sys
import tempfile
import time
from contextlib import ExitStack
from unittest import mock

import numpy as np
import torch

if not __package__:  # started by its path
    sys.path[0] = osp.dirname(osp.dirname(osp.abspath(__file__)))

import mbos.registration  # noqa: F401
from benchmarks.common import Clock, in_turn, markdown, resident
from mbos import apis
from mbos.metrics.bootstrap import Bootstrap
from mbos.tasks import LESION

KINDS = ('network', 'uniform')
GOAL = 10


def parse_args():
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('what', choices=['speed', 'memory', 'parts'])
    parser.add_argument('config', nargs='?', help='for parts')
    parser.add_argument('checkpoint', nargs='?', help='for parts')
    parser.add_argument('--dataset', default='', help='name in test_sets')
    parser.add_argument(
        '--size', type=int, default=1024, help='side of an image in pixels')
    parser.add_argument(
        '--repeat', type=int, default=7, help='runs of each side (median)')
    parser.add_argument(
        '--images', type=int, nargs='+', default=[10, 200], metavar='N')
    parser.add_argument('--threads', type=int, default=os.cpu_count())
    parser.add_argument(
        '--check', action='store_true', help='exit 1 if a goal is missed')
    args = parser.parse_args()
    if args.what == 'parts' and args.checkpoint is None:
        parser.error('parts needs CONFIG and CHECKPOINT')
    return args


def make_image(size: int,
               kind: str,
               seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (4, H, W) and labels (H, W) of round lesions.

    Probabilities of the kind 'network' are near 0 almost everywhere, and know
    something of the lesions; 'uniform' ones know nothing.
    """
    rng = np.random.default_rng(seed)
    label = np.zeros((size, size), np.uint8)
    radius = max(2, size // 100)
    rows, columns = np.mgrid[-radius:radius + 1, -radius:radius + 1]
    disc = rows**2 + columns**2 <= radius**2
    for value in range(1, 5):
        for top, left in rng.integers(0, size - 2 * radius - 1, (20, 2)):
            part = label[top:top + 2 * radius + 1, left:left + 2 * radius + 1]
            part[disc] = value
    shape = (4, size, size)
    if kind == 'uniform':
        return rng.random(shape, dtype=np.float32), label
    logit = rng.standard_normal(shape, dtype=np.float32) * 2 - 7
    logit += 6 * (label == np.arange(1, 5).reshape(4, 1, 1))
    return 1 / (1 + np.exp(-logit)), label


def baseline(prob: np.ndarray, label: np.ndarray) -> None:
    """What the speed is held against."""
    from sklearn.metrics import roc_curve
    for index, score in enumerate(prob.reshape(len(prob), -1)):
        truth = label.ravel() == index + 1
        roc_curve(truth, score)
        total = np.count_nonzero(truth)
        for threshold in np.linspace(0, 1, 11):
            found = score > threshold
            true_pos = np.count_nonzero(found & truth)
            false_pos = np.count_nonzero(found) - true_pos
            _ = (true_pos, false_pos, total - true_pos,
                 len(truth) - total - false_pos)


def measure_speed(size: int, repeat: int) -> list[dict]:
    """Medians of both sides, in processor seconds per image."""
    from mbos.metrics.sums import update
    found = []
    for kind in KINDS:
        prob, label = make_image(size, kind)
        seconds = in_turn(
            dict(
                baseline=lambda: baseline(prob, label),
                ours=lambda: update(prob, label, LESION)), repeat)
        ratio = seconds['baseline'] / seconds['ours']
        found.append(dict(scores=kind, **seconds, ratio=ratio))
    return found


def write_test_set(folder: str, count: int, size: int) -> None:
    """One photograph and mask under many names."""
    from mbos.io.files import save_image
    from mbos.io.labels import save_labels
    _, label = make_image(size, 'uniform')
    for kind in ('images', 'ann'):
        first = osp.join(folder, kind, '0.png')
        if kind == 'ann':
            save_labels(first, label)
        else:
            save_image(first, np.full((size, size, 3), 90, np.uint8))
        for index in range(1, count):
            os.link(first, osp.join(folder, kind, f'{index}.png'))


class StandIn(torch.nn.Module):
    """Gives other probabilities for every image, at no cost."""

    seed = 0

    def forward(self, img, img_metas, return_loss=False, tasks=None):
        """Count the images."""
        self.seed += 1
        prob, _ = make_image(img[0].shape[-1], 'network', self.seed)
        return [dict(lesion=prob)]


def evaluate_images(count: int, size: int, threads: int) -> dict:
    """Evaluate in this process, and look at its memory."""
    from mmcv import Config

    from mbos.datasets import PartialLabelDataset
    torch.set_num_threads(threads)
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='ImageToTensor', keys=['img']),
        dict(type='CollectImage')
    ]
    with tempfile.TemporaryDirectory() as folder:
        write_test_set(folder, count, size)
        dataset = PartialLabelDataset(
            'generated', [LESION],
            'images',
            pipeline,
            data_root=folder,
            img_suffix='.png',
            ann_dirs=dict(lesion='ann'),
            test_mode=True)
        cfg = Config(
            dict(model=dict(), work_dir=folder, data=dict(workers_per_gpu=0)))
        start = time.perf_counter()
        # any file is a checkpoint of the stand-in
        plan = apis.EvaluationPlan(__file__, Bootstrap())
        apis.evaluate_test_sets(StandIn(), dict(generated=dataset), cfg,
                                apis.Environment(torch.device('cpu')), plan)
        seconds = time.perf_counter() - start
    return dict(images=count, peak_mb=resident('VmHWM'), seconds=seconds)


def measure_memory(counts: list[int], size: int, threads: int) -> list[dict]:
    """Peak memory for each number of images, in a process of its own."""
    context = multiprocessing.get_context('spawn')
    with context.Pool(1, maxtasksperchild=1) as pool:
        return [
            pool.apply(evaluate_images, (count, size, threads))
            for count in counts
        ]


def measure_parts(args: argparse.Namespace) -> str:
    """Processor seconds of the parts of an evaluation, a Markdown table."""
    from mbos.zoo import checkpoint_path
    clock = Clock()
    cfg = apis.load_config(args.config)
    env = apis.set_up_environment('none')
    dataset = apis.build_test_set(cfg, args.dataset)
    checkpoint = checkpoint_path(args.checkpoint)
    model = apis.load_segmentor(cfg.model, checkpoint, env, cfg=cfg)
    network = type(model.module)
    plan = apis.EvaluationPlan(checkpoint, Bootstrap())
    with ExitStack() as stack:
        cfg.work_dir = stack.enter_context(tempfile.TemporaryDirectory())
        for owner, name, part in ((type(dataset), '__getitem__',
                                   'read, resize'), (network, 'simple_test',
                                                     'network'),
                                  (network, '_probabilities',
                                   'enlarge'), (type(dataset), 'pre_eval',
                                                'read masks, score'),
                                  (type(dataset), 'compute',
                                   'tables, intervals')):
            stack.enter_context(
                mock.patch.object(owner, name, clock(part,
                                                     getattr(owner, name))))
        clock('rest', apis.evaluate_test_sets)(model, {
            dataset.name: dataset
        }, cfg, env, plan)
    whole = sum(clock.seconds.values())
    parts = dict(clock.seconds, all=whole)
    rows = [('part', 'CPU s each', 'share')]
    rows += [(name, f'{seconds / len(dataset):.3f}', f'{seconds / whole:.0%}')
             for name, seconds in parts.items()]
    return f'{len(dataset)} photographs\n\n{markdown(rows)}'


def main():
    """Measure and print."""
    args = parse_args()
    torch.set_num_threads(args.threads)
    size = f'{args.size}x{args.size}, 4 classes'
    if args.what == 'parts':
        print(f'\n{measure_parts(args)}')
        return
    if args.what == 'speed':
        rows = measure_speed(args.size, args.repeat)
        for row in rows:
            print(f'{size}, {row["scores"]} scores, {args.threads} threads: '
                  f'baseline {1e3 * row["baseline"]:.0f} ms, here '
                  f'{1e3 * row["ours"]:.0f} ms, {row["ratio"]:.1f} times as '
                  'fast')
        good = min(row['ratio'] for row in rows) >= GOAL
    else:
        rows = measure_memory(args.images, args.size, args.threads)
        for row in rows:
            print(f'{row["images"]} images of {size}: peak '
                  f'{row["peak_mb"]:.0f} MB, {row["seconds"]:.0f} s')
        good = rows[-1]['peak_mb'] < 1.1 * rows[0]['peak_mb']
    if args.check and not good:
        sys.exit('Goal missed.')


if __name__ == '__main__':
    main()
