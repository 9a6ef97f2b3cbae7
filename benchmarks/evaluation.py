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
import os
import os.path as osp
import sys
import tempfile
import time

import numpy as np
import torch
from mmcv import Config
from sklearn.metrics import roc_curve

import mbos.registration  # noqa: F401
from benchmarks.common import (in_own_process, in_turn, markdown, resident,
                               time_parts)
from mbos import apis
from mbos.commands.options import FLAG, make_parser
from mbos.datasets import PartialLabelDataset
from mbos.io.files import save_image
from mbos.io.labels import save_labels
from mbos.metrics.bootstrap import Bootstrap
from mbos.metrics.sums import update
from mbos.tasks import LESION
from mbos.zoo import checkpoint_path

GOAL = 10


def make_image(size: int,
               kind: str,
               seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (4, H, W) and labels (H, W) of square lesions.

    Probabilities of the kind 'network' are near 0 almost everywhere, and know
    something of the lesions; 'uniform' ones know nothing."""
    rng = np.random.default_rng(seed)
    label = np.zeros((size, size), np.uint8)
    side = max(4, size // 50)
    for number, (top,
                 left) in enumerate(rng.integers(0, size - side, (80, 2))):
        label[top:top + side, left:left + side] = 1 + number % 4
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


def measure_speed(size: int, kind: str, repeat: int) -> dict[str, float]:
    """Medians of both sides, in processor seconds per image."""
    prob, label = make_image(size, kind)
    sides = dict(
        baseline=lambda: baseline(prob, label),
        ours=lambda: update(prob, label, LESION))
    return in_turn(sides, repeat)


class StandIn(torch.nn.Module):
    """Gives other probabilities for every image, at no cost."""

    seed = 0

    def forward(self, img, img_metas, return_loss=False, tasks=None):
        """Count the images."""
        self.seed += 1
        prob, _ = make_image(img[0].shape[-1], 'network', self.seed)
        return [dict(lesion=prob)]


def measure_memory(count: int, size: int, threads: int) -> dict[str, float]:
    """Evaluate one photograph and mask under many names in this process, and
    look at its memory."""
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        image, label = osp.join(folder, 'i/0.png'), osp.join(folder, 'l/0.png')
        save_image(image, np.full((size, size, 3), 90, np.uint8))
        save_labels(label, make_image(size, 'uniform')[1])
        for first in (image, label):
            for index in range(1, count):
                os.link(first, osp.join(osp.dirname(first), f'{index}.png'))
        dataset = PartialLabelDataset(
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
        cfg = Config(
            dict(model={}, work_dir=folder, data=dict(workers_per_gpu=0)))
        start = time.perf_counter()
        # any file is a checkpoint of the stand-in
        plan = apis.EvaluationPlan(__file__, Bootstrap())
        apis.evaluate_test_sets(StandIn(), dict(generated=dataset), cfg,
                                apis.Environment(torch.device('cpu')), plan)
        seconds = time.perf_counter() - start
    return dict(peak_mb=resident('VmHWM'), seconds=seconds)


def measure_parts(config: str, checkpoint: str, test_set: str) -> str:
    """Processor seconds of the parts of an evaluation, a Markdown table."""
    cfg, env = apis.load_config(config), apis.set_up_environment('none')
    dataset = apis.build_test_set(cfg, test_set)
    checkpoint = checkpoint_path(checkpoint)
    model = apis.load_segmentor(cfg.model, checkpoint, env, cfg=cfg)
    data, network = type(dataset), type(model.module)
    parts = [(data, '__getitem__', 'read, resize'),
             (network, 'view_logits', 'network'),
             (network, 'aug_test', 'enlarge'),
             (data, 'pre_eval', 'read masks, score'),
             (data, 'compute', 'tables, intervals')]
    plan = apis.EvaluationPlan(checkpoint, Bootstrap())
    with tempfile.TemporaryDirectory() as cfg.work_dir:
        seconds = time_parts(
            lambda: apis.evaluate_test_sets(model, {dataset.name: dataset},
                                            cfg, env, plan), parts)
    whole = sum(seconds.values())
    rows = [('part', 'CPU s each', 'share')]
    rows += [(name, f'{own / len(dataset):.3f}', f'{own / whole:.0%}')
             for name, own in dict(seconds, all=whole).items()]
    return f'{len(dataset)} photographs\n\n{markdown(rows)}'


def main() -> None:
    """Measure and print."""
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
    torch.set_num_threads(args.threads)
    size, good = f'{args.size}x{args.size}, 4 classes', True
    if args.what == 'parts':
        if args.checkpoint is None:
            parser.error('parts needs CONFIG and CHECKPOINT')
        print(f'\n{measure_parts(args.config, args.checkpoint, args.dataset)}')
    elif args.what == 'speed':
        for kind in ('network', 'uniform'):
            found = measure_speed(args.size, kind, args.repeat)
            ratio = found['baseline'] / found['ours']
            print(f'{size}, {kind} scores, {args.threads} threads: baseline '
                  f'{1e3 * found["baseline"]:.0f} ms, here '
                  f'{1e3 * found["ours"]:.0f} ms, {ratio:.1f} times as fast')
            good = good and ratio >= GOAL
    else:
        peaks = []
        for count in args.images:
            found = in_own_process(measure_memory, count, args.size,
                                   args.threads)
            peaks.append(found['peak_mb'])
            print(f'{count} images of {size}: peak {peaks[-1]:.0f} MB, '
                  f'{found["seconds"]:.0f} s')
        good = peaks[-1] < 1.1 * peaks[0]
    if args.check and not good:
        sys.exit('Goal missed.')


if __name__ == '__main__':
    main()
