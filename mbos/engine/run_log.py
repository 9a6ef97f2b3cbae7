"""The log of a run: its file, the facts at its top, and its lines."""
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import MemoryHandler

import torch
import torch.distributed as dist
from mmcv import Config
from mmcv.runner import HOOKS, Hook, TextLoggerHook, get_dist_info
from mmcv.utils import collect_env
from mmseg import __version__ as mmseg_version
from mmseg.utils import get_root_logger

import mbos

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
    facts = collect_env()
    facts.update(MMSegmentation=mmseg_version, MBOS=mbos.__version__)
    text = '\n'.join(f'{key}: {value}' for key, value in facts.items())
    file.stream.write(f'{text}\nConfig:\n{cfg.pretty_text}\n')
    kept.setTarget(file)
    kept.flush()
    kept.capacity = 1  # lines go to the file as they come


@HOOKS.register_module()
class LossLogHook(Hook):
    """Hands the mean losses since the last line to the loggers."""

    def __init__(self, interval: int):
        self.interval = interval
        self.sums, self.count = {}, 0

    def after_train_iter(self, runner):
        """Gather the values, and pass their means on."""
        losses = dict(runner.outputs['losses'], loss=runner.outputs['loss'])
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0) + value.detach()
        self.count += 1
        if self.every_n_iters(runner, self.interval):
            means = {n: s / self.count for n, s in self._mean_sums().items()}
            runner.log_buffer.output.update(means)
            self.sums, self.count = {}, 0

    def resume_state(self, runner) -> dict:
        """Sums since the last line, as means over the processes."""
        return dict(sums=self._mean_sums(), count=self.count)

    def load_resume_state(self, state: dict, runner) -> None:
        """Go on from :meth:`resume_state`."""
        if 'sums' in state:  # version 0.1 kept them otherwise
            self.sums, self.count = dict(state['sums']), state['count']

    def _mean_sums(self) -> dict[str, float]:
        if not self.sums:
            return {}
        names, world = sorted(self.sums), get_dist_info()[1]
        stacked = torch.stack([self.sums[n].float() for n in names])
        if world > 1:
            dist.all_reduce(stacked)
        return dict(zip(names, (stacked / world).tolist()))


@HOOKS.register_module()
class CompactTextLoggerHook(TextLoggerHook):
    """mmcv's text logger, with the losses of a kind added up on the screen.

    The ``.log.json`` beside the log holds each of the dozens of terms by its
    name, ``<head>.<kind>.<task>[.on_<dataset>]`` (docs/logging.md).
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
