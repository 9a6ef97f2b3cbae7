"""Training of either stage."""
import logging
import os
import os.path as osp
import time

import torch
from mmcv import Config
from mmcv.runner import build_optimizer, build_runner
from mmseg import __version__ as mmseg_version
from mmseg.datasets import build_dataset
from mmseg.models import build_segmentor
from torch import nn

import mbos
from mbos.accelerate import accelerate_on_cpu
from mbos.checkpoints.loading import checkpoint_meta, load_weights
from mbos.checkpoints.settings import settings_of
from mbos.config import build_checked, plain
from mbos.datasets import JointDataset, build_train_loader
from mbos.datasets.checks import check_data
from mbos.datasets.evaluation_sets import build_val_set
from mbos.datasets.loader import build_test_loader
from mbos.faults import FaultList, InvalidConfigError, blamed_on, naming
from mbos.io.files import save_text
from mbos.models.backbones.weights import find_backbone_weights, weights_source
from mbos.models.checks import check_network
from mbos.runtime.environment import Environment, set_random_seed, wrap_model
from mbos.runtime.signals import StopSignals
from .config_checks import check_training, complete_training
from .hooks import GradientStepHook, find_hook
from .optimizers import fused_by_default
from .rehearsal import rehearse, rehearse_schedules
from .resume import (check_resumable, check_same_run, continue_from_newest,
                     run_facts, warn_if_finished)
from .run_hooks import keep_sums_on_disk, register_hooks
from .run_log import hold_log, log_environment, quiet_logger, release_log
from .runner import CheckedIterRunner
from .validation import (check_save_best, warn_of_test_images,
                         warn_of_unlabelled_classes,
                         warn_of_unread_pseudo_labels)


def train_segmentor(cfg: Config,
                    env: Environment,
                    validate: bool = True) -> None:
    """Train as a config says, from its data to its last checkpoint.

    Everything that can be wrong with data, weights and config is found before
    the first iteration, and before anything is written to the work directory.

    SIGTERM, SIGINT, SIGHUP and SIGUSR1 end the run after the running
    iteration, with a checkpoint.

    Args:
        cfg (Config): Completed by ``load_config``. With ``auto_resume``, the
            run goes on from the newest checkpoint of its work directory.
        validate (bool): Whether to evaluate on ``data.val`` while training.

    Raises:
        Interrupted: A ``SystemExit`` of status 75, if a signal came.
    """
    with StopSignals(announce=env.is_main) as signals, naming(cfg.filename):
        _train(cfg, env, validate, signals)


def _train(cfg: Config, env: Environment, validate: bool,
           signals: StopSignals) -> None:
    timestamp = time.strftime('%Y%m%d_%H%M%S')
    complete_training(cfg)
    logger = hold_log(cfg.log_level)
    log_environment(cfg, env, logger)
    check_training(cfg, logger)
    if cfg.get('auto_resume') and continue_from_newest(cfg, env, logger):
        return
    train_set, val_set = find_inputs(cfg, env, validate, logger)
    set_backends(cfg)

    model = prepare_model(cfg, env, logger)
    with blamed_on('The backbone takes no image as the config has it',
                   'Correct model.backbone.'):
        check_network(model,
                      cfg.data.samples_per_gpu * train_set.samples_per_item)
    optimizer = build_checked(build_optimizer, model,
                              fused_by_default(plain(cfg.optimizer)))
    facts = run_facts(cfg, env, train_set)
    if cfg.resume_from:
        stored = check_resumable(model, optimizer, cfg.resume_from)
        check_same_run(stored, facts, cfg, logger)
        warn_if_finished(stored, cfg, logger)
    runner = make_runner(cfg, env, model, optimizer, facts, logger)
    runner.timestamp = timestamp
    val_loader = build_test_loader(val_set, cfg, env) if val_set else None
    register_hooks(runner, cfg, env, val_loader, signals)
    rehearse_schedules(runner)
    rehearse(runner.model, train_set, cfg.data.samples_per_gpu, val_set)
    prepare_work_dir(cfg, env, timestamp, logger)
    runner.work_dir = osp.abspath(cfg.work_dir)
    if val_set is not None:
        keep_sums_on_disk(val_set, cfg, env)
    if cfg.resume_from:
        runner.resume(cfg.resume_from)
        logger.info(
            'From the checkpoint: weights, states of the optimizers, '
            'iteration, loss scale, best score. All else is from the config '
            '(docs/reliability.md).' +
            (f' load_from ({cfg.load_from}) is not read.' if cfg.
             load_from else ''))
    loader = build_loader(train_set, cfg, env, start=runner.iter)
    step = find_hook(runner, GradientStepHook)
    with signals.deferred():
        runner.run([loader], [('train', 1)], backward=step.backward)


def find_inputs(cfg: Config, env: Environment, validate: bool, logger):
    """Look for weights and data, and read the data.

    Returns:
        tuple: The training data, and the validation data or None.

    Raises:
        ValueError: Or FileNotFoundError; names all that is missing or wrong.
    """
    warn_of_unread_pseudo_labels(cfg, logger)
    warn_of_unlabelled_classes(cfg, logger)
    faults = FaultList()
    train_set = val_set = None
    with faults.noting():
        check_files(cfg)
    with faults.noting():
        train_set = build_train_set(cfg)
    if validate:
        with faults.noting():
            check_save_best(cfg)
            warn_of_test_images(cfg, logger)
        with faults.noting():
            val_set = build_val_set(cfg)
    with faults.noting():
        # reading all takes long, and something is to be mended in any case
        check_data([train_set, val_set], env, logger, full=not faults.errors)
    faults.raise_all()
    return train_set, val_set


def make_runner(cfg: Config, env: Environment, model: nn.Module, optimizer,
                facts: dict, logger: logging.Logger) -> CheckedIterRunner:
    """The runner of a run, without hooks and without a work directory.

    Returns:
        CheckedIterRunner: Checkpoints get ``facts``, the config, and what
        prediction needs as their meta information.
    """
    settings = settings_of(cfg) if cfg.data.get('test') else None
    meta = dict(
        checkpoint_meta(model, plain(cfg.model), settings),
        seed=cfg.seed,
        config=cfg.pretty_text,
        mbos_run=facts,
        exp_name=osp.basename(cfg.work_dir.rstrip(os.sep)),
        mbos_version=mbos.__version__,
        mmseg_version=mmseg_version)
    return build_checked(
        build_runner, plain(cfg.runner),
        dict(
            model=wrap_model(model, env),
            optimizer=optimizer,
            logger=logger,
            meta=meta))


def set_backends(cfg: Config) -> None:
    """Choose how NVIDIA GPUs compute.

    ``tf32`` says whether float32 products and convolutions may round to TF32,
    None for torch's defaults.
    """
    torch.backends.cudnn.benchmark = cfg.get('cudnn_benchmark', False)
    tf32 = cfg.get('tf32')
    if tf32 is not None:
        torch.backends.cuda.matmul.allow_tf32 = bool(tf32)
        torch.backends.cudnn.allow_tf32 = bool(tf32)


def build_train_set(cfg: Config) -> JointDataset:
    """The training data of a config.

    Raises:
        InvalidConfigError: If they are not a ``JointDataset``.
    """
    train_set = build_checked(build_dataset, cfg.data.train)
    if not isinstance(train_set, JointDataset):
        raise InvalidConfigError(
            f'data.train.type is {cfg.data.train.type}, expected a '
            'JointDataset of all training datasets.')
    return train_set


def check_files(cfg: Config) -> None:
    """Complain about missing weights before the data are read.

    Raises:
        FileNotFoundError: If a file that training starts from is missing.
    """
    for key in ('resume_from', 'load_from'):
        if key == 'load_from' and cfg.get('resume_from'):
            continue  # not read
        if '://' in (cfg.get(key) or ''):
            raise InvalidConfigError(
                f'{key} is the address {cfg[key]}, and nothing is downloaded: '
                'download the file and name its path.')
        if cfg.get(key) and not osp.isfile(cfg[key]):
            raise FileNotFoundError(
                f'{key}: checkpoint {cfg[key]!r} not found (looked in '
                f'{os.getcwd()}).')
    source, _ = weights_source(cfg.model)
    if source and not starting_point(cfg):
        find_backbone_weights(source, cfg.model.backbone.type)


def starting_point(cfg: Config) -> str | None:
    """The checkpoint that all weights come from, if there is one."""
    return cfg.get('resume_from') or cfg.get('load_from')


def prepare_work_dir(cfg: Config, env: Environment, timestamp: str,
                     logger) -> None:
    """Make the work directory, write the config there, open the log."""
    try:
        os.makedirs(cfg.work_dir, exist_ok=True)
    except OSError as error:
        raise InvalidConfigError(
            f'work_dir: the folder {cfg.work_dir!r} cannot be made '
            f'({error.strerror}); give another by --work-dir.') from error
    if env.is_main:
        path = osp.join(cfg.work_dir, osp.basename(cfg.filename))
        save_text(path, cfg.pretty_text)
        release_log(logger, osp.join(cfg.work_dir, f'{timestamp}.log'))


def prepare_model(cfg: Config, env: Environment, logger) -> nn.Module:
    """Build and initialise the network, the same in every process."""
    set_random_seed(cfg.seed)
    precision = cfg.get('precision', 'float32')
    cfg.model.train_cfg = dict(
        cfg.model.get('train_cfg') or {}, precision=precision)
    model = build_checked(build_segmentor, cfg.model)
    if starting_point(cfg):
        # everything is overwritten, so ImageNet weights are not needed
        model.pretrained = None
    with quiet_logger('mmcv'):  # it has a line for every parameter
        model.init_weights()
    if cfg.load_from and not cfg.resume_from:
        load_weights(model, cfg.load_from, logger, allow_missing=True)
    if cfg.get('compile'):
        model.compile_parts()
    else:
        accelerate_on_cpu(model, env.device, cfg)
    return model


def build_loader(dataset, cfg: Config, env: Environment, start: int):
    """The endless loader of the training images."""
    return build_train_loader(
        dataset,
        samples_per_gpu=cfg.data.samples_per_gpu,
        workers_per_gpu=cfg.data.workers_per_gpu,
        seed=cfg.seed,
        rank=env.rank,
        world_size=env.world_size,
        start=start,
        pin_memory=env.device.type == 'cuda')
