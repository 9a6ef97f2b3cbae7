"""Evaluation during training that may be interrupted and repeated."""
import math
import os
import os.path as osp
import re
import time
from contextlib import suppress

from mmcv.runner import LoggerHook
from mmseg.core import DistEvalHook, EvalHook

from mbos.io.files import sync_folder
from mbos.runtime.signals import Interrupted, at_once
from mbos.runtime.waiting import wait_for_all
from .averaging import averaged_weights
from .checkpoint_hook import SubfolderCheckpointHook
from .hooks import find_hook

_PATIENCE = 20.0


class _SafeEvaluation:
    """What both of mmseg's hooks lack.

    The state before an evaluation is saved where it is time or a signal
    comes; a run that goes on from there evaluates first. The best checkpoint
    is written before the one that it replaces is removed.

    Attributes:
        signals (StopSignals | None): End an evaluation; set by training.
    """

    signals = None

    def before_run(self, runner):
        """Do the evaluation that the run before did not get to."""
        super().before_run(runner)
        self._forget_another_best(runner)
        if getattr(runner, 'evaluation_pending', False):
            runner.mode = 'train'
            runner._iter -= 1  # the iteration that it belongs to
            try:
                self.after_train_iter(runner)
            finally:
                runner._iter += 1

    def _best_of(self):
        """What the best score is a score of."""
        sets = self.dataloader.dataset
        names = [d.name for d in getattr(sets, 'datasets', [sets])
                 if hasattr(d, 'name')]  # yapf: disable
        return dict(metric=self.key_indicator, rule=self.rule, sets=names)

    def _forget_another_best(self, runner):
        """Compare with no best score of another metric or other images."""
        messages = runner.meta.setdefault('hook_msgs', {})
        if not self.save_best or 'best_score' not in messages:
            return
        before = messages.get('best_of')
        if self.save_best == 'auto' or before in (None, self._best_of()):
            return
        runner.logger.warning(
            f'The best score so far, {messages["best_score"]:.4f}, is of '
            f'{before}; that of {self._best_of()} begins anew.')
        for key in ('best_score', 'best_ckpt', 'best_of'):
            messages.pop(key, None)

    def after_train_iter(self, runner):
        """Evaluate and log, behind the loggers and the checkpoint."""
        if not self._should_evaluate(runner):
            return
        saver = find_hook(runner, SubfolderCheckpointHook)
        runner.log_buffer.clear()
        try:
            with at_once(self.signals), averaged_weights(runner):
                self._do_evaluate(runner)
        except (Interrupted, Exception) as error:
            # a worker process that a signal ended fails the evaluation too
            received = self.signals and self.signals.received
            if saver is None or not received:
                raise
            self._save_and_leave(runner, saver, received, error)
        for hook in runner.hooks:
            if isinstance(hook, LoggerHook) and runner.log_buffer.ready:
                hook.log(runner)
        runner.log_buffer.clear()
        if saver is not None:
            saver.after_evaluation(runner)

    def evaluate(self, runner, results):
        """Log all metrics, and give the one that the best is chosen by.

        Returns:
            float | None: NaN where it is undefined, None where nobody
            computes it.
        """
        try:
            return super().evaluate(runner, results)
        except KeyError:
            metrics = runner.log_buffer.output
            if self.key_indicator in metrics:
                raise
            runner.logger.warning(
                f'evaluation.save_best is {self.key_indicator!r}, which the '
                'validation sets do not give: no best checkpoint is kept. '
                f'There are {", ".join(map(str, metrics))}.')
            return None

    def _save_and_leave(self, runner, saver, received, error):
        saver.interrupted_evaluation(runner)
        path = saver.path_of(runner)
        end = time.monotonic() + _PATIENCE
        while not osp.exists(path) and time.monotonic() < end:
            time.sleep(0.1)  # launchers end all when the first has left
        runner.logger.warning(
            f'Interrupted while evaluating iteration {runner.iter + 1}; '
            f'saved {path}. The same command with --auto-resume evaluates '
            'it and goes on.')
        raise Interrupted(received) from error

    def _save_ckpt(self, runner, key_score):
        """Save the best checkpoint, then remove those that it beats."""
        messages = runner.meta.setdefault('hook_msgs', {})
        key_score = float(key_score)
        if math.isnan(key_score):
            runner.logger.warning(
                f'{self.key_indicator} of iteration {runner.iter + 1} is '
                'undefined, so it is not the best: neither masks nor '
                'predictions hold a class that is scored.')
            return
        best = messages.get('best_score', self.init_value_map[self.rule])
        if not self.compare_func(key_score, best):
            return
        done = runner.iter + 1
        name = f'best_{self.key_indicator}_iter_{done}.pth'
        self.best_ckpt_path = osp.join(self.out_dir, name)
        messages.update(
            best_score=key_score,
            best_ckpt=self.best_ckpt_path,
            best_of=self._best_of())
        runner.save_checkpoint(
            self.out_dir, filename_tmpl=name, create_symlink=False)
        runner.logger.info(
            f'Best {self.key_indicator} so far: {key_score:.4f} in iteration '
            f'{done}, saved as {name}.')
        pattern = re.compile(
            f'best_{re.escape(self.key_indicator)}_iter_\\d+\\.pth')
        for other in os.listdir(self.out_dir):
            if pattern.fullmatch(other) and other != name:
                with suppress(FileNotFoundError):
                    os.remove(osp.join(self.out_dir, other))
        sync_folder(self.out_dir)


class SafeEvalHook(_SafeEvaluation, EvalHook):
    """mmseg's evaluation in one process."""


class SafeDistEvalHook(_SafeEvaluation, DistEvalHook):
    """mmseg's evaluation in several processes."""

    def _do_evaluate(self, runner):
        super()._do_evaluate(runner)
        wait_for_all()  # the first process writes metrics, pictures, pages
