"""The hooks of a run, as its config asks for them."""
import os.path as osp
import shutil
from functools import partial

from mmcv import Config
from mmcv.runner import HOOKS
from mmcv.utils import build_from_cfg
from torch.utils.data import DataLoader

from mbos.config import build_checked, plain
from mbos.runtime.environment import Environment
from mbos.runtime.signals import StopHook, StopSignals
from .averaging import EMAWeightsHook, as_our_hook
from .checkpoint_hook import SubfolderCheckpointHook
from .evaluation_hook import SafeDistEvalHook, SafeEvalHook
from .hooks import IterationSeedHook, LossLogHook, find_hook
from .runner import EMA_PRIORITY, EVALUATION_PRIORITY, STOP_PRIORITY

ONLY_DISTRIBUTED = ('gpu_collect', 'tmpdir', 'broadcast_bn_buffer')
"""tuple[str]: Settings of ``evaluation`` for several processes."""


def register_hooks(runner, cfg: Config, env: Environment,
                   val_loader: DataLoader | None,
                   signals: StopSignals) -> None:
    """Register schedule, step, checkpoints, logs, evaluation and extras.

    Raises:
        InvalidConfigError: If a hook cannot be built.
    """
    step = plain(cfg.optimizer_config)
    step.setdefault('loss_scaling', cfg.get('precision') == 'fp16')
    # no argument of build_checked, which would blame the first of them
    build_checked(
        partial(runner.register_training_hooks, plain(cfg.lr_config), step,
                plain(cfg.checkpoint_config), plain(cfg.log_config),
                plain(cfg.get('momentum_config'))))
    runner.register_hook(LossLogHook(cfg.log_config.interval))
    runner.register_hook(
        IterationSeedHook(cfg.seed, env.rank), priority='VERY_HIGH')
    if val_loader is not None:
        build = SafeDistEvalHook if env.distributed else SafeEvalHook
        settings = dict(plain(cfg.evaluation), by_epoch=False)
        if not env.distributed:
            for key in ONLY_DISTRIBUTED:
                settings.pop(key, None)
        if not {'greater_keys', 'less_keys'} & set(settings):
            settings.setdefault('rule', 'greater')  # as of Dice and IoU
        hook = build_checked(partial(build, val_loader, **settings))
        hook.signals = signals
        runner.register_hook(hook, priority=EVALUATION_PRIORITY)
    saver = find_hook(runner, SubfolderCheckpointHook)
    runner.register_hook(
        StopHook(signals, saver, env.device), priority=STOP_PRIORITY)
    for given in plain(cfg.get('custom_hooks') or []):
        hook = as_our_hook(given)
        if hook is not given:
            runner.logger.info(
                "custom_hooks: mmcv's EMAHook uses its average nowhere in a "
                'run that counts iterations; EMAWeightsHook does its work.')
        priority = hook.pop('priority', 'NORMAL')
        built = build_checked(build_from_cfg, hook, HOOKS)
        if isinstance(built, EMAWeightsHook):
            priority = EMA_PRIORITY
        build_checked(partial(runner.register_hook, built, priority=priority))


def keep_sums_on_disk(val_set, cfg: Config, env: Environment) -> None:
    """Let evaluations during training hold no sums in memory."""
    folder = osp.join(cfg.work_dir, '.evaluation')
    if env.is_main:  # of a run that was killed while it evaluated
        shutil.rmtree(folder, ignore_errors=True)
    env.barrier()  # a resumed run may begin with an evaluation
    for dataset in val_set.datasets:
        dataset.sums_folder = folder
