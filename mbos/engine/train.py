"""Training of either stage."""
import logging
import os
import os.path as osp
import shutil
from functools import partial

import torch
from mmcv import Config
from mmcv.runner import HOOKS, build_optimizer, build_runner
from mmcv.utils import build_from_cfg
from mmseg import __version__ as mmseg_version
from mmseg.datasets import build_dataset
from mmseg.models import build_segmentor
from torch import nn

import mbos
from mbos.accelerate import accelerate_on_cpu
from mbos.checkpoints.loading import checkpoint_meta, load_weights
from mbos.checkpoints.settings import settings_of
from mbos.config import build_checked, plain
from mbos.config_rules import check_training, value_at
from mbos.datasets import JointDataset
from mbos.datasets.checks import check_data
from mbos.datasets.loader import build_test_loader, build_train_loader
from mbos.datasets.scoring import build_val_set
from mbos.faults import FaultList, InvalidConfigError, blamed_on, naming
from mbos.io.files import save_text
from mbos.models.backbones.weights import find_backbone_weights, weights_source
from mbos.models.checks import check_network
from mbos.runtime.environment import Environment, set_random_seed, wrap_model
from mbos.runtime.signals import StopHook, StopSignals
from .averaging import EMAWeightsHook
from .evaluation_hook import SafeDistEvalHook, SafeEvalHook
from .hooks import GradientStepHook, IterationSeedHook, find_hook
from .optimizers import fused_by_default
from .rehearsal import check_validation, rehearse, warn_of_useless_labels
from .resume import (check_resumable, check_same_run, choose_checkpoint,
                     run_facts)
from .run_log import LossLogHook, open_log, run_logger
from .runner import CheckedIterRunner

# The average follows the optimizers' step (40), before all hooks that look at
# the network (50); checkpoints the log line of an iteration (90), so that none
# is lost, and before evaluation, which takes long.
EMA_PRIORITY = 45
CHECKPOINT_PRIORITY, EVALUATION_PRIORITY, STOP_PRIORITY = 92, 94, 96


def train_segmentor(cfg: Config,
                    env: Environment,
                    validate: bool = True) -> None:
    """Train as a config of ``load_config`` says, from its data to its last
    checkpoint, and ``validate`` on ``data.val`` meanwhile.

    Everything that can be wrong with data, weights and config is found before
    anything is written to the work directory.

    Raises:
        Interrupted: A ``SystemExit`` of status 75, if a signal came; a
            checkpoint was saved after the running iteration.
    """
    with naming(cfg.filename), StopSignals() as signals:
        notes = check_training(cfg)
        with run_logger(cfg.log_level) as (logger, kept_lines):
            for note in notes:
                logger.warning(note)
            choose_checkpoint(cfg, env, logger)
            train_set, val_set = find_inputs(cfg, env, validate, logger)
            runner = make_runner(cfg, env, train_set, val_set, signals, logger)
            rehearse(runner, train_set, cfg.data.samples_per_gpu, val_set)
            prepare_work_dir(cfg, env, val_set)
            runner.work_dir = osp.abspath(cfg.work_dir)
            if env.is_main:
                path = osp.join(cfg.work_dir, f'{runner.timestamp}.log')
                open_log(kept_lines, path, cfg)
            logger.info(f'{env.world_size} process(es) on {env.device.type}, '
                        f'seed {cfg.seed}')
            loader = build_train_loader(train_set, cfg, env, runner.iter)
            step = find_hook(runner, GradientStepHook)
            with signals.deferred():
                runner.run([loader], [('train', 1)], backward=step.backward)


def find_inputs(cfg: Config, env: Environment, validate: bool,
                logger: logging.Logger) -> tuple:
    """The training data, and the validation data or None, once all of them
    and the weights are there and right; else an error names all faults."""
    warn_of_useless_labels(cfg, logger)
    faults = FaultList()
    train_set = val_set = None
    with faults.noting():
        key = 'resume_from' if cfg.resume_from else 'load_from'
        if cfg[key] and not osp.isfile(cfg[key]):
            raise FileNotFoundError(
                f'{key}: checkpoint {cfg[key]!r} not found.')
        source, *_ = weights_source(cfg.model)
        if source and not cfg[key]:
            find_backbone_weights(source, cfg.model.backbone.type)
    with faults.noting():
        train_set = build_train_set(cfg)
    if validate:
        with faults.noting():
            val_set = build_val_set(cfg)
            check_validation(cfg, val_set, logger)
    faults.raise_all()  # before all is read, which takes long
    check_data([train_set, val_set], env, logger)
    return train_set, val_set


def build_train_set(cfg: Config) -> JointDataset:
    """The training data of a config."""
    train_set = build_checked(build_dataset, cfg.data.train)
    if not isinstance(train_set, JointDataset):
        raise InvalidConfigError(
            f'data.train.type is {cfg.data.train.type}, expected a '
            'JointDataset of all training datasets.')
    return train_set


def make_runner(cfg: Config, env: Environment, train_set, val_set,
                signals: StopSignals,
                logger: logging.Logger) -> CheckedIterRunner:
    """The runner with all hooks, where its checkpoint, if any, left off."""
    torch.backends.cudnn.benchmark = cfg.get('cudnn_benchmark', False)
    if cfg.get('tf32') is not None:  # else torch decides
        torch.backends.cuda.matmul.allow_tf32 = cfg.tf32
        torch.backends.cudnn.allow_tf32 = cfg.tf32
    model = prepare_model(cfg, env, logger)
    images = cfg.data.samples_per_gpu * len(train_set.turns)
    with blamed_on('The backbone takes no image as the config has it',
                   'Correct model.backbone.'):
        check_network(model, images)
    optimizer = build_checked(build_optimizer, model,
                              fused_by_default(plain(cfg.optimizer)))
    facts = run_facts(cfg, env, train_set)
    settings = settings_of(cfg) if cfg.data.get('test') else None
    meta = dict(
        checkpoint_meta(model, plain(cfg.model), settings), seed=cfg.seed,
        config=cfg.pretty_text, mbos_run=facts, mbos_version=mbos.__version__,
        mmseg_version=mmseg_version)  # yapf: disable
    parts = dict(model=wrap_model(model, env), optimizer=optimizer,
                 logger=logger, meta=meta)  # yapf: disable
    runner = build_checked(build_runner, plain(cfg.runner), parts)
    register_hooks(runner, cfg, env, val_set, signals)
    if cfg.resume_from:
        stored = check_resumable(model, optimizer, cfg.resume_from)
        check_same_run(stored['meta'], facts, cfg, logger)
        runner.resume(stored)
    return runner


def prepare_model(cfg: Config, env: Environment,
                  logger: logging.Logger) -> nn.Module:
    """Build and initialise the network, the same in every process."""
    set_random_seed(cfg.seed)
    settings = cfg.model.get('train_cfg') or {}
    precision = cfg.get('precision', 'float32')
    cfg.model.train_cfg = dict(settings, precision=precision)
    model = build_checked(build_segmentor, cfg.model)
    if cfg.get('resume_from') or cfg.get('load_from'):
        # everything is overwritten, so ImageNet weights are not needed
        model.pretrained = None
    before = logging.root.manager.disable
    logging.disable(logging.INFO)  # mmcv has a line for every parameter
    model.init_weights()
    logging.disable(before)
    if cfg.get('load_from') and not cfg.get('resume_from'):
        load_weights(model, cfg.load_from, logger, allow_missing=True)
    if cfg.get('compile'):
        model.compile_parts()
    else:
        accelerate_on_cpu(model, env.device, cfg)
    return model


def register_hooks(runner: CheckedIterRunner, cfg: Config, env: Environment,
                   val_set, signals: StopSignals) -> None:
    """Register schedule, step, checkpoints, logs, evaluation and extras."""
    scaling = dict(loss_scaling=cfg.get('precision') == 'fp16')
    # no arguments of build_checked, which would blame the first of them
    build_checked(
        partial(runner.register_training_hooks, plain(cfg.lr_config),
                scaling | plain(cfg.optimizer_config), None,
                plain(cfg.log_config), plain(cfg.get('momentum_config'))))
    check_intervals(cfg, find_hook(runner, GradientStepHook).accumulate)
    runner.register_hook(LossLogHook(cfg.log_config.interval))
    runner.register_hook(IterationSeedHook(cfg.seed, env.rank), 'VERY_HIGH')
    saver = build_checked(build_from_cfg, plain(cfg.checkpoint_config), HOOKS)
    runner.register_hook(saver, CHECKPOINT_PRIORITY)
    if val_set is not None:
        # of Dice and IoU, the greater is the better
        settings = dict(rule='greater') | plain(cfg.evaluation)
        settings.update(signals=signals, pre_eval=True)
        kind = SafeDistEvalHook if env.distributed else SafeEvalHook
        loader = build_test_loader(val_set, cfg, env)
        hook = build_checked(partial(kind, loader, **settings))
        runner.register_hook(hook, EVALUATION_PRIORITY)
    runner.register_hook(StopHook(signals, saver), STOP_PRIORITY)
    for given in plain(cfg.get('custom_hooks') or []):
        priority = given.pop('priority', 'NORMAL')
        hook = build_checked(build_from_cfg, given, HOOKS)
        if isinstance(hook, EMAWeightsHook):
            priority = EMA_PRIORITY
        build_checked(partial(runner.register_hook, hook, priority))


def check_intervals(cfg: Config, accumulate: int) -> None:
    """Let checkpoints come after whole steps of the optimizers only."""
    for key in ('checkpoint_config.interval', 'evaluation.interval',
                'evaluation.start'):
        value = value_at(cfg, key) or 0
        if 0 < value < cfg.runner.max_iters and value % accumulate:
            raise InvalidConfigError(
                f'{key} is {value}, expected a multiple of '
                f'optimizer_config.accumulate, {accumulate}.')


def prepare_work_dir(cfg: Config, env: Environment, val_set) -> None:
    """Make the work directory, for the config and for sums of evaluations."""
    os.makedirs(cfg.work_dir, exist_ok=True)
    sums = osp.join(cfg.work_dir, '.evaluation')
    if env.is_main:
        path = osp.join(cfg.work_dir, osp.basename(cfg.filename))
        save_text(path, cfg.pretty_text)
        # of a run that was killed while it evaluated
        shutil.rmtree(sums, ignore_errors=True)
    env.barrier()  # a resumed run may begin with an evaluation
    for dataset in getattr(val_set, 'datasets', ()):
        dataset.sums_folder = sums
