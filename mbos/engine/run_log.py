"""The log of a run: its file, its lines, and the facts at its top."""
import io
import logging
import os
import os.path as osp
import subprocess
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from mmcv import Config
from mmcv.runner import HOOKS, TextLoggerHook
from mmcv.utils import collect_env
from mmseg import __version__ as mmseg_version
from mmseg.utils import get_root_logger

import mbos
from mbos.config import REPOSITORY
from mbos.runtime.environment import Environment

FORMAT = '%(asctime)s - %(name)s - %(levelname)s - %(message)s'


class HeldLog(logging.FileHandler):
    """Keeps log lines as text until a run is known to start.

    It is a file handler because mmcv writes how weights were initialised into
    the streams of such, and to the console if there is none.
    """

    def __init__(self):
        super().__init__(os.devnull, delay=True)
        self.stream = io.StringIO()
        self.setFormatter(logging.Formatter(FORMAT))


def hold_log(level: str = 'INFO') -> logging.Logger:
    """Start logging to the console, and keep what shall go to a file later."""
    logger = get_root_logger()
    logger.setLevel(level)  # mmcv sets the level of a new logger only
    _stop_holding(logger)
    logger.addHandler(HeldLog())
    return logger


def release_log(logger: logging.Logger, path: str) -> None:
    """Write what was held to a file, and from now on everything."""
    file = logging.FileHandler(path)
    file.setFormatter(logging.Formatter(FORMAT))
    for held in _stop_holding(logger):
        file.stream.write(held.stream.getvalue())
    logger.addHandler(file)


def _stop_holding(logger):
    held = [h for h in logger.handlers if isinstance(h, HeldLog)]
    for handler in held:
        logger.removeHandler(handler)
    return held


@contextmanager
def quiet_logger(name: str) -> Iterator[None]:
    """Context in which a logger passes on warnings only."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def log_environment(cfg: Config, env: Environment,
                    logger: logging.Logger) -> None:
    """Log versions, hardware, processes, seed and, in the file, the config."""
    facts = dict(
        collect_env(),
        MMSegmentation=mmseg_version,
        MBOS=f'{mbos.__version__}+{git_commit()}')
    logger.info('Environment:\n' + '\n'.join(f'{k}: {v}'
                                             for k, v in facts.items()))
    logger.info(f'{env.world_size} process(es) on {env.device.type}, seed '
                f'{cfg.seed}')
    config = logger.makeRecord(logger.name, logging.INFO, __file__, 0,
                               f'Config:\n{cfg.pretty_text}', (), None)
    for handler in logger.handlers:
        if isinstance(handler, HeldLog):  # too long for the console
            handler.handle(config)


def git_commit() -> str:
    """The commit of this checkout, or 'unknown' where it is none."""
    if not osp.exists(osp.join(REPOSITORY, '.git')):
        return 'unknown'
    try:
        done = subprocess.run(['git', 'rev-parse', '--short', 'HEAD'],
                              cwd=REPOSITORY,
                              capture_output=True,
                              text=True)
    except OSError:
        return 'unknown'
    return done.stdout.strip() or 'unknown'


@HOOKS.register_module()
class CompactTextLoggerHook(TextLoggerHook):
    """mmcv's text logger, with the losses of a kind added up on the screen.

    Stage 2 has dozens of loss terms. The line on the screen shows the sum of
    each kind (``loss_truth``, ``loss_pseudo``, ``loss_adv``, ...) over heads,
    tasks and datasets, and the mean accuracy of the discriminators; the
    ``.log.json`` beside the log holds every term by its name.
    """

    def _log_info(self, log_dict, runner):
        super()._log_info(condense(log_dict), runner)


def condense(values: dict[str, float]) -> dict[str, float]:
    """Add up losses by kind and average the discriminators' accuracies.

    Terms are named ``<head>.<kind>.<task>[.on_<dataset>]``.
    """
    result, accuracies = OrderedDict(), {}
    for name, value in values.items():
        kind = name.split('.')[1] if name.count('.') > 1 else ''
        if kind.startswith('loss_'):
            result[kind] = result.get(kind, 0) + value
        elif kind.startswith('disc_acc_'):
            accuracies.setdefault(kind, []).append(value)
        else:
            result[name] = value
    for kind, shares in accuracies.items():
        result[kind] = sum(shares) / len(shares)
    return result
