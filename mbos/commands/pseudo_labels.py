"""Write the pseudo labels that stage 2 reads.

``mbos pseudo-labels STAGE2_CONFIG STAGE1_CHECKPOINT``

Every folder that the config names in ``pseudo_dirs`` is written, image by
image; a run that was stopped goes on where it was. A report,
``pseudo_label_report.json``, is written beside the checkpoint, or into the
config's ``work_dir`` if the network comes with MBOS. Several processes:
``python tools/launch.py --standalone --nproc-per-node=N
tools/generate_pseudo_labels.py ... --launcher pytorch``.
"""
import argparse
import os.path as osp

from mmcv import Config

from mbos.apis import load_config, set_up_environment
from mbos.datasets.scoring import format_table
from mbos.faults import naming
from mbos.io.files import save_json
from mbos.pseudo_labels import report
from mbos.pseudo_labels.generation import (find_image_folders,
                                           generate_pseudo_labels)
from mbos.zoo import NETWORKS, checkpoint_path
from .options import FLAG, LAUNCHER, SOME, config_options, make_parser

ARGUMENTS = [
    ('config', 'stage-2 config', {}),
    ('checkpoint', 'stage-1 checkpoint', dict(type=checkpoint_path)),
    ('--threshold', 'probability to exceed (default: 0.5, as published)',
     dict(type=float, default=0.5)),
    ('--margin', 'ignore pixels with a probability nearer to the threshold '
     'than this (default: 0, as published)', dict(type=float, default=0.0)),
    ('--model-config', "config with the checkpoint's network (default: what "
     "the checkpoint holds, else the stage-2 config's without stage 2)",
     dict(metavar='CONFIG')),
    ('--truth', 'their ground truth, where there is any, for the report',
     dict(SOME, metavar='DATASET.TASK=FOLDER')),
    ('--allow-stage2', 'accept a stage-2 checkpoint', FLAG),
    ('--overwrite', 'replace labels that have no manifest', FLAG),
    *LAUNCHER,
    config_options('the stage-2 config'),
]
OPTIONS = 'threshold', 'margin', 'allow_stage2', 'overwrite'


def main() -> None:
    """Write all labels, then report on them."""
    args = make_parser(__doc__, ARGUMENTS).parse_args()
    cfg = load_config(args.config, args.cfg_options)
    with naming(cfg.filename):
        write_labels(cfg, args)


def write_labels(cfg: Config, args: argparse.Namespace) -> None:
    """Write the labels that a config reads, as the command line says."""
    truth = report.parse_truth(args.truth, find_image_folders(cfg))
    env = set_up_environment(args.launcher)
    options = {name: getattr(args, name) for name in OPTIONS}
    if args.model_config:
        options['model_cfg'] = load_config(args.model_config).model
    labelled = generate_pseudo_labels(cfg, args.checkpoint, env, **options)
    if not env.is_main:
        return
    rows = report.make_report(labelled, truth)
    ours = args.checkpoint in map(checkpoint_path, NETWORKS)
    folder = cfg.work_dir if ours else osp.dirname(args.checkpoint)
    path = osp.join(folder, 'pseudo_label_report.json')
    names = 'checkpoint', 'config', 'threshold', 'margin'
    made_by = {name: getattr(args, name) for name in names}
    save_json(path, dict(made_by, folders=rows))
    print('\n' + format_table(report.report_table(rows)))
    for row in rows:
        print(f'{row["folder"]}: {row["images"]} labels')
    print(f'Report written to {path}')
