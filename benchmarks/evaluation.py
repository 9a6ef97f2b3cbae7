"""Time and memory of the evaluation.

examples:
    python -m benchmarks.evaluation speed            # 1024x1024
    python -m benchmarks.evaluation speed --size 3000 --repeat 3
    python -m benchmarks.evaluation memory           # 10 against 200
    python -m benchmarks.evaluation speed --check    # exit 1 below 10x
    python -m benchmarks.evaluation parts CONFIG CHECKPOINT --dataset idrid

speed: the sums of one image of four lesion classes, from which all metrics
follow, against scikit-learn's roc_curve per class and the confusion at 11
thresholds per class by plain NumPy. Both take turns in one process.
parts: what a whole evaluation of a test set takes, in processor time.
memory: the highest resident memory of a whole evaluation, in a process per
number of images; the network is a stand-in that costs nothing.
"""
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
from mmcv import Config
from sklearn.metrics import roc_curve

import mbos.registration  # noqa: F401
from benchmarks.common import Clock, in_turn, markdown, resident
from mbos import apis
from mbos.commands.options import FLAG, make_parser
from mbos.datasets import PartialLabelDataset
from mbos.io.files import save_image
from mbos.io.labels import save_labels
from mbos.metrics.bootstrap import Bootstrap
from mbos.metrics.sums import update
from mbos.tasks import LESION
from mbos.zoo import checkpoint_path

KINDS = ('network', 'uniform')
GOAL = 10


def parse_args():
    """Parse the command line."""
    number = dict(type=int)
    parser = make_parser(__doc__, [
        ('what', '', dict(choices=['speed', 'memory', 'parts'])),
        ('config', 'for parts', dict(nargs='?')),
        ('checkpoint', 'for parts', dict(nargs='?')),
        ('--dataset', 'name in test_sets', dict(default='')),
        ('--size', 'side of an image in pixels', dict(number, default=1024)),
        ('--repeat', 'runs of each side (median)', dict(number, default=7)),
        ('--images', '', dict(number, nargs='+', default=[10, 200])),
        ('--threads', '', dict(number, default=os.cpu_count())),
        ('--check', 'exit 1 if a goal is missed', FLAG),
    ])
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
    for value, score in enumerate(prob.reshape(len(prob), -1), 1):
        truth = label.ravel() == value
        roc_curve(truth, score)
        np.count_nonzero(truth)
        for threshold in np.linspace(0, 1, 11):
            found = score > threshold
            np.count_nonzero(found & truth)
            np.count_nonzero(found)


def measure_speed(size: int, repeat: int) -> list[dict]:
    """Medians of both sides, in processor seconds per image."""
    found = []
    for kind in KINDS:
        prob, label = make_image(size, kind)
        sides = dict(
            baseline=lambda: baseline(prob, label),
            ours=lambda: update(prob, label, LESION))
        seconds = in_turn(sides, repeat)
        ratio = seconds['baseline'] / seconds['ours']
        found.append(dict(scores=kind, **seconds, ratio=ratio))
    return found


def make_test_set(folder: str, count: int, size: int) -> PartialLabelDataset:
    """One photograph and mask under many names."""
    image, label = osp.join(folder, 'i/0.png'), osp.join(folder, 'l/0.png')
    save_image(image, np.full((size, size, 3), 90, np.uint8))
    save_labels(label, make_image(size, 'uniform')[1])
    for first in (image, label):
        for index in range(1, count):
            os.link(first, osp.join(osp.dirname(first), f'{index}.png'))
    return PartialLabelDataset(
        'generated', [LESION],
        'i', [
            dict(type='LoadImageFromFile'),
            dict(type='ImageToTensor', keys=['img']),
            dict(type='CollectImage')
        ],
        data_root=folder,
        img_suffix='.png',
        ann_dirs=dict(lesion='l'),
        test_mode=True)


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
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        dataset = make_test_set(folder, count, size)
        cfg = Config(
            dict(model={}, work_dir=folder, data=dict(workers_per_gpu=0)))
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


def measure_parts(args) -> str:
    """Processor seconds of the parts of an evaluation, a Markdown table."""
    clock = Clock()
    cfg = apis.load_config(args.config)
    env = apis.set_up_environment('none')
    dataset = apis.build_test_set(cfg, args.dataset)
    checkpoint = checkpoint_path(args.checkpoint)
    model = apis.load_segmentor(cfg.model, checkpoint, env, cfg=cfg)
    data, network = type(dataset), type(model.module)
    timed = [(data, '__getitem__', 'read, resize'),
             (network, 'view_logits', 'network'),
             (network, 'aug_test', 'enlarge'),
             (data, 'pre_eval', 'read masks, score'),
             (data, 'compute', 'tables, intervals')]
    with ExitStack() as stack:
        cfg.work_dir = stack.enter_context(tempfile.TemporaryDirectory())
        for owner, name, part in timed:
            function = clock(part, getattr(owner, name))
            stack.enter_context(mock.patch.object(owner, name, function))
        clock('rest', apis.evaluate_test_sets)(model, {
            dataset.name: dataset
        }, cfg, env, apis.EvaluationPlan(checkpoint, Bootstrap()))
    whole = sum(clock.seconds.values())
    rows = [('part', 'CPU s each', 'share')]
    rows += [(name, f'{seconds / len(dataset):.3f}', f'{seconds / whole:.0%}')
             for name, seconds in dict(clock.seconds, all=whole).items()]
    return f'{len(dataset)} photographs\n\n{markdown(rows)}'


def main():
    """Measure and print."""
    args = parse_args()
    torch.set_num_threads(args.threads)
    size, good = f'{args.size}x{args.size}, 4 classes', True
    if args.what == 'parts':
        print(f'\n{measure_parts(args)}')
    elif args.what == 'speed':
        for row in measure_speed(args.size, args.repeat):
            print(f'{size}, {row["scores"]} scores, {args.threads} threads: '
                  f'baseline {1e3 * row["baseline"]:.0f} ms, here '
                  f'{1e3 * row["ours"]:.0f} ms, {row["ratio"]:.1f} times as '
                  'fast')
            good = good and row['ratio'] >= GOAL
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
