"""Evaluate a model or write its predictions.

``mbos test CONFIG CHECKPOINT --eval mIoU [--datasets all] [--OD]``
``mbos test CONFIG CHECKPOINT --vis --source MODE --output_dir DIR``
"""
import argparse
import os.path as osp

import mmcv
import torch

from mbos import apis
from mbos.config_overrides import add_config_options
from mbos.faults import InvalidConfigError, naming
from mbos.inference.test_sets import predict_first
from mbos.io.files import save_image
from mbos.io.labels import save_labels
from mbos.io.photographs import read_photograph
from mbos.metrics.bootstrap import Bootstrap
from mbos.painter import draw_overlay
from mbos.runtime.environment import add_launcher_arguments
from mbos.tasks import build_tasks
from mbos.zoo import checkpoint_path

SOURCES = dict(refuge='odoc', ddr='lesion', idrid='vessel', reta='vessel')


def parse_args():
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        'checkpoint',
        type=checkpoint_path,
        help='checkpoint of the same config, or the name of a network of '
        "mbos.zoo, 'fundus-light'")
    add_evaluation_arguments(parser.add_argument_group('evaluation'))
    add_picture_arguments(parser.add_argument_group('pictures'))
    parser.add_argument(
        '--datasets',
        nargs='+',
        default=[''],
        metavar='NAME',
        help="test sets of the config's test_sets, or 'all' "
        '(default: data.test)')
    add_launcher_arguments(parser)
    add_config_options(parser)
    args = parser.parse_args()
    if not args.eval and not args.vis and not args.OD:
        parser.error('nothing to do: give --eval mIoU, --vis, or both')
    if args.vis and not args.output_dir:
        parser.error('--vis needs --output_dir')
    if args.OD and args.datasets != ['']:
        parser.error('--OD has a test set of its own, idrid_od: leave out '
                     '--datasets, or name idrid_od there instead of --OD')
    if args.source and not args.vis:
        parser.error('--source is for --vis')
    if args.report_images < 0:
        parser.error('--report-images must be at least 0')
    return args


def add_evaluation_arguments(group):
    """Add the options of the evaluation."""
    group.add_argument(
        '--eval',
        nargs='+',
        choices=['mIoU', 'mDice', 'mFscore'],
        help='compute the metrics; all of them, whichever is named')
    group.add_argument(
        '--OD',
        action='store_true',
        help='evaluate on the optic disc masks of IDRiD (test_sets.idrid_od)')
    group.add_argument(
        '--work-dir', help='where the metrics go as JSON and CSV')
    group.add_argument(
        '--threshold-from-val',
        action='store_true',
        help='also score at the threshold that gives each class its best '
        'Dice on data.val')
    group.add_argument(
        '--aug-test',
        action='store_true',
        help='average over scales and flips (aug_test in the config; '
        'default: scales 0.75, 1, 1.25, both flips)')
    group.add_argument(
        '--bootstrap',
        type=int,
        default=1000,
        metavar='N',
        help='resamples of the 95 %% intervals, 0 for none (default: 1000)')
    group.add_argument(
        '--no-report', action='store_true', help='do not write report.html')
    group.add_argument(
        '--report-images',
        type=int,
        default=3,
        metavar='K',
        help='show the K best and K worst images of each task in the report,\n'
        'which are predicted once more; 0 for none (default: 3)')


def add_picture_arguments(group):
    """Add the options of the pictures."""
    group.add_argument(
        '--vis', action='store_true', help='write label maps and overlays')
    group.add_argument(
        '--source',
        metavar='MODE',
        help='task to write: its name, or a dataset that stands for it '
        f'({", ".join(f"{d}: {t}" for d, t in SOURCES.items())}); default: '
        'every task. The images are those of data.test or --datasets')
    group.add_argument('--output_dir', '--output-dir', help='for --vis')


def task_of_source(source, cfg):
    """The task that ``--source`` means: its name, or that of a dataset, a
    published one or a training set of the config that labels one task.

    Raises:
        ValueError: If it is neither.
    """
    tasks = [task.name for task in build_tasks(cfg.model.tasks)]
    sources = {}
    for member in apis.member_datasets(cfg.data.train):
        if len(member.get('ann_dirs') or ()) == 1:
            sources[member['name']], = member['ann_dirs']
    sources |= SOURCES
    task = source if source in tasks else sources.get(
        source, sources.get(source.lower()))
    if task not in tasks:
        raise ValueError(
            f'Unknown --source {source!r}: use a task ({", ".join(tasks)}) or '
            f'a dataset ({", ".join(sources)}).')
    return task


def test_set_names(args, cfg):
    """Names of the test sets to run on; '' is ``data.test``."""
    if args.OD:
        return ['idrid_od']
    if args.datasets == ['all']:
        return list(cfg.get('test_sets') or ['']) or ['']
    return args.datasets


def build_test_sets(cfg, names, scored):
    """The test sets, or what is wrong with any of them.

    Raises:
        ValueError: With the problems of all.
    """
    datasets, errors = [], []
    for name in names:
        try:
            datasets.append(apis.build_test_set(cfg, name, scored))
        except ValueError as error:
            errors.append(error)
    if errors:
        worst = next((e for e in errors if isinstance(e, InvalidConfigError)),
                     errors[0])
        raise type(worst)('\n'.join(map(str, errors))) from worst
    return datasets


def evaluate(model, datasets, cfg, env, args):
    """Print the tables of all test sets and write the metrics."""
    bootstrap = Bootstrap(args.bootstrap) if args.bootstrap else None
    chosen = {}
    if args.threshold_from_val:
        chosen = apis.thresholds_from_val(model, datasets, cfg, env,
                                          args.checkpoint)
    plan = apis.EvaluationPlan(args.checkpoint, bootstrap, chosen)
    try:
        written = apis.evaluate_test_sets(model, datasets, cfg, env, plan)
    except apis.EvaluationError:
        report(model, datasets, cfg, env, args, images=0)
        raise
    for path in written:
        print(f'Metrics written to {path}')
    report(model, datasets, cfg, env, args, args.report_images)


def report(model, datasets, cfg, env, args, images):
    """Write the page of what has been evaluated, if it is wanted."""
    if env.is_main and not args.no_report:
        sha256 = apis.file_sha256(args.checkpoint)
        page = apis.write_report(model, datasets, cfg, sha256, images)
        print(f'Report written to {page}')


def visualise(model, dataset, cfg, env, output_dir, only=None):
    """Write ``overlays`` of a test set, and label maps of all tasks, a folder
    each, or of one only."""
    tasks = [t for t in dataset.tasks if only in (None, t.name)]
    progress = mmcv.ProgressBar(len(dataset)) if env.is_main else None
    for index, prob in apis.predict_dataset(model, dataset, cfg, env):
        stem, labels = dataset.stem(index), {}
        for task in tasks:
            plane = task.decode(torch.from_numpy(prob[task.name])).numpy()
            folder = output_dir if only else osp.join(output_dir, task.name)
            save_labels(osp.join(folder, f'{stem}.png'), plane, task)
            labels[task.name] = plane
        image = read_photograph(dataset.image_path(index)).image
        overlay = draw_overlay(image, labels, tasks)
        save_image(osp.join(output_dir, 'overlays', f'{stem}.jpg'), overlay)
        if progress:
            progress.update()
    if env.is_main:
        print(f'\nPredictions written to {output_dir}')


def main():
    """Run the network on the wanted test sets."""
    args = parse_args()
    cfg = apis.load_config(args.config, args.cfg_options)
    with naming(cfg.filename):
        run(cfg, args)


def run(cfg, args):
    """Run the network of a config, as the command line says."""
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    if args.aug_test:
        apis.augment_test_sets(cfg)
    only = task_of_source(args.source, cfg) if args.source else None
    names = test_set_names(args, cfg)
    env = apis.set_up_environment(args.launcher)
    scored = bool(args.eval or args.OD)
    datasets = build_test_sets(cfg, names, scored)
    apis.check_data(datasets, env)
    model = apis.load_segmentor(cfg.model, args.checkpoint, env, cfg=cfg)
    named = {n or d.name: d for n, d in zip(names, datasets)}
    predict_first(model, datasets, 'data.test or test_sets')
    if scored:
        evaluate(model, named, cfg, env, args)
    for name, dataset in named.items() if args.vis else ():
        # two sets may have images of the same name
        folder = (
            args.output_dir if len(names) == 1 else osp.join(
                args.output_dir, name))
        visualise(model, dataset, cfg, env, folder, only)
    env.barrier()
