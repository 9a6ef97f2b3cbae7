"""Train a model: ``mbos train CONFIG [options]``.

Runs on one GPU, on CPU, or as one of several processes that torchrun or Slurm
start (``tools/dist_train_*.sh``, ``tools/slurm_train.sh``). SIGTERM, SIGINT,
SIGHUP and SIGUSR1 make it save a checkpoint and end with status 75; the same
command with ``--auto-resume`` goes on (docs/reliability.md).
"""
from mbos import apis
from mbos.zoo import checkpoint_path
from .options import FLAG, LAUNCHER, config_options, make_parser

ARGUMENTS = [
    ('config', 'config file', {}),
    ('--work-dir', 'where logs and checkpoints go', {}),
    ('--load-from', 'checkpoint to start from, or fundus-light', {}),
    ('--resume-from', 'checkpoint to go on from', {}),
    ('--auto-resume', 'go on from the newest whole checkpoint of the work '
     'directory, if there is one', FLAG),
    ('--no-validate', 'do not evaluate on data.val during training', FLAG),
    ('--seed', 'random seed (default: 0)', dict(type=int)),
    *LAUNCHER,
    config_options('the config, such as runner.max_iters=100'),
]


def main() -> None:
    """Complete the config and train."""
    args = make_parser(__doc__.splitlines()[0], ARGUMENTS).parse_args()
    cfg = apis.load_config(args.config, args.cfg_options)
    for key in ('work_dir', 'load_from', 'resume_from', 'seed'):
        if getattr(args, key) is not None:
            cfg[key] = getattr(args, key)
    if cfg.get('load_from'):
        cfg.load_from = checkpoint_path(cfg.load_from)
    cfg.setdefault('seed', 0)
    cfg.auto_resume = args.auto_resume or cfg.get('auto_resume', False)
    validate = not args.no_validate and cfg.data.get('val') is not None
    apis.train_segmentor(
        cfg, apis.set_up_environment(args.launcher), validate=validate)
