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

import numpy as np

if not __package__:  # started by its path
    sys.path[0] = osp.dirname(osp.dirname(osp.abspath(__file__)))

from benchmarks.common import in_turn, markdown, resident

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
    parser.add_argument('--size', type=int, help='side of an image in pixels')
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
    prob = np.empty((4, size, size), np.float32)
    for index in range(4):
        if kind == 'uniform':
            prob[index] = rng.random((size, size), dtype=np.float32)
            continue
        logit = rng.standard_normal((size, size), dtype=np.float32) * 2 - 7
        prob[index] = 1 / (1 + np.exp(-logit - 6 * (label == index + 1)))
    return prob, label


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
    from mbos.tasks import LESION
    found = []
    for kind in KINDS:
        prob, label = make_image(size, kind)
        seconds = in_turn(
            dict(
                baseline=lambda: baseline(prob, label),
                ours=lambda: update(prob, label, LESION)), repeat)
        ratio = seconds['baseline'] / seconds['ours']
        found.append(dict(size=size, scores=kind, **seconds, ratio=ratio))
    return found


def write_test_set(folder: str, count: int, size: int) -> None:
    """One photograph and mask under many names."""
    from mbos.io.files import save_image
    from mbos.io.labels import save_labels
    _, label = make_image(size, 'uniform')
    first = osp.join(folder, 'images', '0.png')
    save_image(first, np.full((size, size, 3), 90, np.uint8))
    save_labels(osp.join(folder, 'ann', '0.png'), label)
    for index in range(1, count):
        for kind in ('images', 'ann'):
            os.link(
                osp.join(folder, kind, '0.png'),
                osp.join(folder, kind, f'{index}.png'))


def evaluate_images(count: int, size: int, threads: int) -> dict:
    """Evaluate in this process, and look at its memory."""
    import torch
    torch.set_num_threads(threads)
    from mmcv import Config

    from mbos.apis import Environment, EvaluationPlan, evaluate_test_sets
    from mbos.datasets import PartialLabelDataset
    from mbos.metrics.bootstrap import Bootstrap

    class StandIn(torch.nn.Module):
        """Gives other probabilities for every image."""

        seed = 0

        def forward(self, img, img_metas, return_loss=False, tasks=None):
            """Count the images."""
            self.seed += 1
            return [dict(lesion=make_image(size, 'network', self.seed)[0])]

    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='ImageToTensor', keys=['img']),
        dict(type='CollectImage')
    ]
    with tempfile.TemporaryDirectory() as folder:
        write_test_set(folder, count, size)
        dataset = PartialLabelDataset(
            'generated', ['lesion'],
            'images',
            pipeline,
            data_root=folder,
            img_suffix='.png',
            ann_dirs=dict(lesion='ann'),
            test_mode=True)
        checkpoint = osp.join(folder, 'none.pth')
        with open(checkpoint, 'wb'):
            pass
        cfg = Config(
            dict(model=dict(), work_dir=folder, data=dict(workers_per_gpu=0)))
        plan = EvaluationPlan(checkpoint, Bootstrap())
        start = time.perf_counter()
        evaluate_test_sets(StandIn(), dict(generated=dataset), cfg,
                           Environment(torch.device('cpu')), plan)
        seconds = time.perf_counter() - start
    return dict(
        images=count, size=size, peak_mb=resident('VmHWM'), seconds=seconds)


def measure_memory(counts: list[int], size: int, threads: int) -> list[dict]:
    """Peak memory for each number of images, in a process of its own."""
    context = multiprocessing.get_context('spawn')
    with context.Pool(1, maxtasksperchild=1) as pool:
        return [
            pool.apply(evaluate_images, (count, size, threads))
            for count in counts
        ]


def measure_parts(args: argparse.Namespace) -> dict[str, float]:
    """Processor seconds of the parts of an evaluation, in all."""
    from unittest import mock

    import mbos.registration  # noqa: F401
    from mbos import apis
    from mbos.metrics.bootstrap import Bootstrap
    from mbos.zoo import checkpoint_path
    spent = {}

    def timed(owner, name, part):
        """Add up what a method takes."""
        method = getattr(owner, name)

        def measured(*args, **kwargs):
            start = time.process_time()
            try:
                return method(*args, **kwargs)
            finally:
                spent[part] = (
                    spent.get(part, 0) + time.process_time() - start)

        return mock.patch.object(owner, name, measured)

    cfg = apis.load_config(args.config)
    env = apis.set_up_environment('none')
    dataset = apis.build_test_set(cfg, args.dataset)
    checkpoint = checkpoint_path(args.checkpoint)
    model = apis.load_segmentor(cfg.model, checkpoint, env, cfg=cfg)
    network = type(model.module)
    plan = apis.EvaluationPlan(checkpoint, Bootstrap())
    with tempfile.TemporaryDirectory() as folder, \
            timed(type(dataset), '__getitem__', 'read, resize'), \
            timed(network, 'simple_test', 'network, enlarge'), \
            timed(network, '_probabilities', 'enlarge'), \
            timed(type(dataset), 'pre_eval', 'read masks, score'), \
            timed(type(dataset), 'compute', 'tables, intervals'):
        cfg.work_dir = folder
        start = time.process_time()
        apis.evaluate_test_sets(model, {dataset.name: dataset}, cfg, env, plan)
        whole = time.process_time() - start
    spent['network'] = spent.pop('network, enlarge') - spent['enlarge']
    return dict(spent, rest=whole - sum(spent.values()), images=len(dataset))


def parts_table(parts: dict[str, float]) -> str:
    """Seconds per photograph and shares, in Markdown."""
    images = parts.pop('images')
    whole = sum(parts.values())
    rows = [('part', 'CPU s each', 'share')]
    rows += [(name, f'{seconds / images:.3f}', f'{seconds / whole:.0%}')
             for name, seconds in (*parts.items(), ('all', whole))]
    return f'{images} photographs\n\n{markdown(rows)}'


def main():
    """Measure and print."""
    args = parse_args()
    import torch
    torch.set_num_threads(args.threads)
    if args.what == 'parts':
        print(f'\n{parts_table(measure_parts(args))}')
        return
    if args.what == 'speed':
        rows = measure_speed(args.size or 1024, args.repeat)
        for row in rows:
            print(f'{row["size"]}x{row["size"]}, 4 classes, {row["scores"]} '
                  f'scores, {args.threads} threads: baseline '
                  f'{1e3 * row["baseline"]:.0f} ms, here '
                  f'{1e3 * row["ours"]:.0f} ms, {row["ratio"]:.1f} times as '
                  'fast')
        good = min(row['ratio'] for row in rows) >= GOAL
    else:
        rows = measure_memory(args.images, args.size or 1024, args.threads)
        for row in rows:
            print(f'{row["images"]} images of {row["size"]}x{row["size"]}, 4 '
                  f'classes: peak {row["peak_mb"]:.0f} MB, '
                  f'{row["seconds"]:.0f} s')
        good = rows[-1]['peak_mb'] < 1.1 * rows[0]['peak_mb']
    if args.check and not good:
        sys.exit('Goal missed.')


if __name__ == '__main__':
    main()
