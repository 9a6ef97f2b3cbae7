"""The log of a run: its file, its lines, and the facts at its top."""
import logging
import os.path as osp
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import MemoryHandler
from shutil import which

from mmcv import Config
from mmcv.runner import HOOKS, TextLoggerHook
from mmcv.utils import collect_env
from mmseg import __version__ as mmseg_version
from mmseg.utils import get_root_logger

import mbos
from mbos.config import REPOSITORY

FORMAT = '%(asctime)s - %(name)s - %(levelname)s - %(message)s'


@contextmanager
def run_logger(level: str) -> Iterator[tuple[logging.Logger, MemoryHandler]]:
    """Context of a run's logger, and of the handler that keeps its lines until
    :func:`open_log`."""
    logger = get_root_logger(log_level=level)
    kept = MemoryHandler(10**6, flushLevel=logging.CRITICAL + 1)
    logger.addHandler(kept)
    try:
        yield logger, kept
    finally:
        logger.removeHandler(kept)
        if kept.target is not None:
            kept.target.close()


def open_log(kept: MemoryHandler, path: str, cfg: Config) -> None:
    """Begin the log file with environment, config and all lines so far."""
    file = logging.FileHandler(path)
    file.setFormatter(logging.Formatter(FORMAT))
    facts = dict(
        collect_env(),
        MMSegmentation=mmseg_version,
        MBOS=f'{mbos.__version__}+{git_commit()}')
    text = '\n'.join(f'{key}: {value}' for key, value in facts.items())
    file.stream.write(f'{text}\nConfig:\n{cfg.pretty_text}\n')
    kept.setTarget(file)
    kept.flush()
    kept.capacity = 1  # lines go to the file as they come


@contextmanager
def without_info() -> Iterator[None]:
    """Context in which loggers pass on warnings only."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(before)


def git_commit() -> str:
    """The commit of this checkout, or 'unknown' where it is none."""
    if not osp.exists(osp.join(REPOSITORY, '.git')) or not which('git'):
        return 'unknown'
    command = ['git', '-C', REPOSITORY, 'rev-parse', '--short', 'HEAD']
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() or 'unknown'


@HOOKS.register_module()
class CompactTextLoggerHook(TextLoggerHook):
    """mmcv's text logger, with the losses of a kind added up on the screen.

    The ``.log.json`` beside the log holds each of the dozens of terms by its
    name, ``<head>.<kind>.<task>[.on_<dataset>]``. The line on the screen has
    their sums by kind (``loss_truth``, ``loss_pseudo``, ``loss_adv``, ...),
    and the mean accuracy of the discriminators.
    """

    def _log_info(self, log_dict, runner):
        super()._log_info(condense(log_dict), runner)


def condense(values: dict[str, float]) -> dict[str, float]:
    """Add up losses by kind and average the discriminators' accuracies."""
    result, accuracies = {}, {}
    for name, value in values.items():
        kind = name.split('.')[1] if name.count('.') > 1 else ''
        if kind.startswith('loss_'):
            result[kind] = result.get(kind, 0) + value
        elif kind.startswith('disc_acc_'):
            accuracies.setdefault(kind, []).append(value)
        else:
            result[name] = value
    return result | {k: sum(v) / len(v) for k, v in accuracies.items()}
