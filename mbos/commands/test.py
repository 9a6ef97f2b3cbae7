"""Evaluate a model or write its predictions.

``mbos test CONFIG CHECKPOINT --eval mIoU [--datasets all] [--OD]``
``mbos test CONFIG CHECKPOINT --vis --source MODE --output_dir DIR``
"""
import argparse
import os.path as osp

import mmcv
import torch
from tqdm import tqdm

from mbos import apis
from mbos.faults import FaultList, naming
from mbos.inference.test_sets import predict_first
from mbos.io.files import save_image
from mbos.io.labels import save_labels
from mbos.io.photographs import read_photograph
from mbos.metrics.bootstrap import Bootstrap
from mbos.painter import draw_overlay
from mbos.tasks import build_tasks
from mbos.zoo import checkpoint_path
from .options import FLAG, LAUNCHER, config_options, make_parser

SOURCES = dict(refuge='odoc', ddr='lesion', idrid='vessel', reta='vessel')
ARGUMENTS = [
    ('config', 'config file', {}),
    ('checkpoint', 'checkpoint of the same config, or the name of a network '
     "of mbos.zoo, 'fundus-light'", dict(type=checkpoint_path)),
    ('--datasets', "test sets of the config's test_sets, the name of "
     "data.test, or 'all' (default: data.test)",
     dict(nargs='+', default=[''], metavar='NAME')),
    *LAUNCHER,
    config_options(),
]
EVALUATION = [
    ('--eval', 'compute the metrics; all of them, whichever is named',
     dict(nargs='+', choices=['mIoU', 'mDice', 'mFscore'])),
    ('--OD', 'evaluate on the optic disc masks of IDRiD (test_sets.idrid_od)',
     FLAG),
    ('--work-dir', 'where the metrics go as JSON and CSV', {}),
    ('--threshold-from-val', 'also score at the threshold that gives each '
     'class its best Dice on data.val', FLAG),
    ('--aug-test', 'average over scales 0.75, 1, 1.25 and both flips', FLAG),
    ('--bootstrap', 'resamples of the 95 %% intervals, 0: none '
     '(default: 1000)', dict(type=int, default=1000, metavar='N')),
    ('--no-report', 'do not write report.html', FLAG),
    ('--report-images', 'show the K best and K worst images of each task '
     '(default: 3)', dict(type=int, default=3, metavar='K')),
]
PICTURES = [
    ('--vis', 'write label maps and overlays', FLAG),
    ('--source', 'task to write: its name, or a dataset that stands for it '
     f'({", ".join(f"{d}: {t}" for d, t in SOURCES.items())}); default: all',
     dict(metavar='MODE')),
    ('--output_dir --output-dir', 'for --vis', {}),
]


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    groups = dict(evaluation=EVALUATION, pictures=PICTURES)
    parser = make_parser(__doc__, ARGUMENTS, groups)
    args = parser.parse_args()
    if not args.eval and not args.vis and not args.OD:
        parser.error('nothing to do: give --eval mIoU, --vis, or both')
    if args.vis and not args.output_dir:
        parser.error('--vis needs --output_dir')
    if args.source and not args.vis:
        parser.error('--source is for --vis')
    if args.OD and args.datasets != ['']:
        parser.error('--OD is of idrid_od: name that in --datasets instead')
    return args


def task_of_source(source: str, cfg: mmcv.Config) -> str:
    """The task that ``--source`` means: its name, or that of a dataset."""
    tasks = [task.name for task in build_tasks(cfg.model.tasks)]
    task = source if source in tasks else SOURCES.get(source.lower())
    if task not in tasks:
        known = tasks + [name for name in SOURCES if SOURCES[name] in tasks]
        raise ValueError(f'--source {source!r}: use {", ".join(known)}.')
    return task


def evaluate(model, datasets: dict, cfg: mmcv.Config, env,
             args: argparse.Namespace) -> None:
    """Print the tables, write the metrics and, if it is wanted, their page."""
    bootstrap = Bootstrap(args.bootstrap) if args.bootstrap else None
    path, chosen = args.checkpoint, {}
    if args.threshold_from_val:
        chosen = apis.thresholds_from_val(model, datasets, cfg, env, path)
    plan = apis.EvaluationPlan(path, bootstrap, chosen)
    for path in apis.evaluate_test_sets(model, datasets, cfg, env, plan):
        print(f'Metrics written to {path}')
    if env.is_main and not args.no_report:
        page = apis.write_report(model, datasets, cfg, apis.file_sha256(
            args.checkpoint), args.report_images)  # yapf: disable
        print(f'Report written to {page}')


def visualise(model, dataset, cfg: mmcv.Config, env, output_dir: str,
              only: str | None) -> None:
    """Write ``overlays`` of a test set, and label maps of all tasks, a folder
    each, or of one only."""
    tasks = [t for t in dataset.tasks if only in (None, t.name)]
    found = apis.predict_dataset(model, dataset, cfg, env)
    quiet = None if env.is_main else True
    for index, prob in tqdm(found, total=len(dataset), disable=quiet):
        stem, labels = dataset.stems[index], {}
        for task in tasks:
            plane = task.decode(torch.from_numpy(prob[task.name])).numpy()
            folder = output_dir if only else osp.join(output_dir, task.name)
            save_labels(osp.join(folder, f'{stem}.png'), plane, task)
            labels[task.name] = plane
        image = read_photograph(dataset.image_path(index)).image
        overlay = draw_overlay(image, labels, tasks)
        save_image(osp.join(output_dir, 'overlays', f'{stem}.jpg'), overlay)
    if env.is_main:
        print(f'\nPredictions written to {output_dir}')


def main() -> None:
    """Run the network on the wanted test sets."""
    args = parse_args()
    cfg = apis.load_config(args.config, args.cfg_options)
    with naming(cfg.filename):
        run(cfg, args)


def run(cfg: mmcv.Config, args: argparse.Namespace) -> None:
    """Run the network of a config, as the command line says."""
    cfg.work_dir = args.work_dir or cfg.work_dir
    if args.aug_test:
        apis.augment_test_sets(cfg)
    only = task_of_source(args.source, cfg) if args.source else None
    names = ['idrid_od'] if args.OD else args.datasets
    if names == ['all']:
        names = list(cfg.get('test_sets') or [''])
    env = apis.set_up_environment(args.launcher)
    scored = bool(args.eval or args.OD)
    datasets, faults = {}, FaultList()
    for name in names:
        with faults.noting():
            dataset = apis.build_test_set(cfg, name, scored)
            datasets[name or dataset.name] = dataset
    faults.raise_all()
    apis.check_data(list(datasets.values()), env)
    model = apis.load_segmentor(cfg.model, args.checkpoint, env, cfg=cfg)
    predict_first(model, datasets.values(), 'data.test or test_sets')
    if scored:
        evaluate(model, datasets, cfg, env, args)
    for name, dataset in datasets.items() if args.vis else ():
        # two sets may have images of the same name
        folder = osp.join(args.output_dir, name if len(names) > 1 else '')
        visualise(model, dataset, cfg, env, folder, only)
    env.barrier()
