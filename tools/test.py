"""Evaluate a model or write its predictions.

``python tools/test.py CONFIG CHECKPOINT --eval mIoU [--datasets all] [--OD]``
``python tools/test.py CONFIG CHECKPOINT --vis --source MODE --output_dir DIR``
"""
import argparse
import os.path as osp
import sys

import mmcv
import torch
from mmcv import DictAction

sys.path.insert(0, osp.dirname(osp.dirname(osp.abspath(__file__))))

from mbos.apis import (build_test_set, load_config,  # noqa: E402
                       load_segmentor, predict_dataset, score_dataset,
                       set_up_environment)
from mbos.core.files import save_json  # noqa: E402
from mbos.core.visualization import draw_overlay  # noqa: E402
from mbos.datasets import save_labels  # noqa: E402

SOURCES = dict(
    refuge='odoc', ddr='lesion', idrid='vessel', reta='vessel')  # yapf: disable


def parse_args():
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint of the same config')
    parser.add_argument(
        '--eval', nargs='+', metavar='mIoU', help='compute the metrics')
    parser.add_argument(
        '--OD',
        action='store_true',
        help='evaluate on the optic disc masks of IDRiD (test_sets.idrid_od)')
    parser.add_argument(
        '--datasets',
        nargs='+',
        default=[''],
        metavar='NAME',
        help="test sets of the config's test_sets, or 'all' "
        '(default: data.test)')
    parser.add_argument(
        '--vis', action='store_true', help='write label maps and overlays')
    parser.add_argument(
        '--source',
        metavar='MODE',
        help='task to write: its name, or a dataset that labels it '
        f'({", ".join(SOURCES)}); default: every task')
    parser.add_argument('--output_dir', '--output-dir', help='for --vis')
    parser.add_argument('--work-dir', help='where the figures go as JSON')
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm'], default='none')
    parser.add_argument(
        '--cfg-options',
        '--options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override parts of the config')
    args = parser.parse_args()
    if not args.eval and not args.vis and not args.OD:
        parser.error('nothing to do: give --eval mIoU, --vis, or both')
    if args.vis and not args.output_dir:
        parser.error('--vis needs --output_dir')
    if args.source and not args.vis:
        parser.error('--source is for --vis')
    return args


def task_of_source(source, tasks):
    """The task that ``--source`` means.

    Args:
        source (str): A task's name, or the name of a dataset.
        tasks (Sequence[str]): The model's tasks.

    Returns:
        str: The task's name.

    Raises:
        ValueError: If it is neither.
    """
    task = SOURCES.get(source.lower(), source)
    if task not in tasks:
        raise ValueError(
            f'Unknown --source {source!r}: use a task ({", ".join(tasks)}) or '
            f'a dataset ({", ".join(SOURCES)}).')
    return task


def test_set_names(args, cfg):
    """Names of the test sets to run on; '' is ``data.test``."""
    if args.OD:
        return ['idrid_od']
    if args.datasets == ['all']:
        return list(cfg.get('test_sets') or ['']) or ['']
    return args.datasets


def evaluate(model, dataset, cfg, env, checkpoint):
    """Print the tables of a test set and write the figures."""
    results = score_dataset(model, dataset, cfg, env)
    if not env.is_main:
        return
    figures = dataset.evaluate(results)
    path = osp.join(cfg.work_dir, f'eval_{dataset.name}.json')
    save_json(
        path, dict(dataset=dataset.name, checkpoint=checkpoint,
                   images=len(dataset), figures=figures))
    print(f'Figures written to {path}')


def visualise(model, dataset, cfg, env, args):
    """Write label maps and overlay pictures of a test set."""
    tasks = {task.name: task for task in dataset.tasks}
    wanted = list(tasks)
    if args.source:
        wanted = [task_of_source(args.source, wanted)]
    progress = mmcv.ProgressBar(len(dataset)) if env.is_main else None
    for index, prob in predict_dataset(model, dataset, cfg, env):
        labels = {
            name: tasks[name].decode(torch.from_numpy(prob[name])).numpy()
            for name in wanted
        }
        stem = dataset.stem(index)
        for name, plane in labels.items():
            folder = args.output_dir if args.source else osp.join(
                args.output_dir, name)
            save_labels(osp.join(folder, f'{stem}.png'), plane)
        image = mmcv.imread(dataset.image_path(index), channel_order='rgb')
        overlay = draw_overlay(image, labels, [tasks[n] for n in wanted])
        mmcv.imwrite(overlay[..., ::-1],
                     osp.join(args.output_dir, 'overlays', f'{stem}.jpg'))
        if progress:
            progress.update()
    if env.is_main:
        print(f'\nPredictions written to {args.output_dir}')


def main():
    """Run the network on the wanted test sets."""
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    names = test_set_names(args, cfg)
    datasets = [build_test_set(cfg, name) for name in names]
    env = set_up_environment(args.launcher)
    model = load_segmentor(cfg.model, args.checkpoint, env)
    for dataset in datasets:
        if args.eval or args.OD:
            evaluate(model, dataset, cfg, env, args.checkpoint)
        if args.vis:
            visualise(model, dataset, cfg, env, args)
        env.barrier()


if __name__ == '__main__':
    try:
        main()
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'{type(error).__name__}: {error}')
