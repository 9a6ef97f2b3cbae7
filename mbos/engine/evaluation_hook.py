"""Evaluation during training, which may be interrupted and repeated, and its
sample pictures."""
import os.path as osp
from pathlib import Path

import numpy as np
import torch
from mmcv.runner import (HOOKS, Hook, LoggerHook, LrUpdaterHook,
                         TensorboardLoggerHook, master_only)
from mmseg.core import DistEvalHook, EvalHook

from mbos.inference.test_sets import predict_image
from mbos.io.files import save_image, sync_folder
from mbos.io.photographs import read_photograph
from mbos.painter import draw_overlay, shrink
from mbos.runtime.environment import wait_for_all
from mbos.runtime.signals import Interrupted, StopSignals
from .averaging import averaged_weights
from .hooks import find_hook
from .runner import SubfolderCheckpointHook


class _SafeEvaluation:
    """What both of mmseg's hooks lack: a run that goes on from before an
    evaluation does it first, and the best checkpoint is written before the one
    that it replaces is removed."""

    def __init__(self, *args, signals: StopSignals, **kwargs):
        super().__init__(*args, **kwargs)
        self.signals = signals

    def before_run(self, runner):
        """Do the evaluation that the run before did not get to."""
        super().before_run(runner)
        if self.save_best:
            sets = [d.name for d in self.dataloader.dataset.datasets]
            now = dict(metric=self.save_best, rule=self.rule, sets=sets)
            messages = runner.meta['hook_msgs']
            before = messages.get('best_of', now)
            if before != now:
                runner.logger.warning(f'The best score so far is of {before}; '
                                      f'that of {now} begins anew.')
                messages.clear()
            messages['best_of'] = now
        if runner.evaluation_pending:
            # of the iteration that it belongs to, whose rate is logged
            runner.mode, runner._iter = 'train', runner.iter - 1
            schedule = find_hook(runner, LrUpdaterHook)
            if schedule is not None:
                schedule.before_train_iter(runner)
            self.after_train_iter(runner)
            runner._iter += 1

    def after_train_iter(self, runner):
        """Evaluate and log, behind the loggers and the checkpoint."""
        if not self._should_evaluate(runner):
            return
        runner.log_buffer.clear()
        try:
            with self.signals.at_once(), averaged_weights(runner):
                self._do_evaluate(runner)
                wait_for_all()  # the first writes metrics, pictures, pages
        except (Interrupted, Exception) as error:
            # a worker process that a signal ended fails the evaluation too
            if self.signals.received is None:
                raise
            runner.logger.warning(
                f'Interrupted while evaluating iteration {runner.iter + 1}, '
                'which is saved. The same command with --auto-resume '
                'evaluates it and goes on.')
            raise Interrupted from error
        for hook in runner.hooks:
            if isinstance(hook, LoggerHook) and runner.log_buffer.ready:
                hook.log(runner)
        runner.log_buffer.clear()
        find_hook(runner, SubfolderCheckpointHook).after_evaluation(runner)

    def _save_ckpt(self, runner, key_score):
        """Save the best checkpoint, then remove this run's that it beats; what
        other runs left in the folder, or this one in another, stays.

        A score that is undefined, NaN, is never the best.
        """
        beaten = runner.meta['hook_msgs'].get('best_ckpt')
        self.best_ckpt_path = None  # mmcv would remove it first
        super()._save_ckpt(runner, key_score)
        best = self.best_ckpt_path
        if best and beaten and beaten != best \
                and osp.dirname(beaten) == osp.dirname(best):
            Path(beaten).unlink(missing_ok=True)
            sync_folder(self.out_dir)


class SafeEvalHook(_SafeEvaluation, EvalHook):
    """mmseg's evaluation in one process."""


class SafeDistEvalHook(_SafeEvaluation, DistEvalHook):
    """mmseg's evaluation in several processes."""


@HOOKS.register_module()
class EvaluationOverlayHook(Hook):
    """Draws predictions on images of the validation sets.

    At each evaluation, for ``samples`` images spread over each set:
    photograph, prediction of all tasks, and ground truth where there is one,
    side by side, the longest side of each ``size`` pixels, in
    ``<work_dir>/overlays/iter_<N>`` and TensorBoard.
    """

    def __init__(self, samples: int = 2, size: int = 512):
        self.samples, self.size = samples, size

    @master_only
    def after_train_iter(self, runner):
        """Draw if the evaluation hook evaluates in this iteration."""
        if not runner.evaluation_is_due():
            return
        sets = find_hook(runner, _SafeEvaluation).dataloader.dataset.datasets
        with averaged_weights(runner):
            for dataset in sets:
                count = min(self.samples, len(dataset))
                for i in range(count):
                    self._draw(runner, dataset, i * len(dataset) // count)

    def _draw(self, runner, dataset, index):
        prob = predict_image(runner.model, dataset, index)
        layers = [{}, {t.name: t.decode(torch.from_numpy(prob[t.name])).numpy()
                       for t in dataset.tasks}]  # yapf: disable
        truth = {t: dataset.get_gt_plane(index, t) for t in dataset.truth}
        layers += [truth] if truth else []
        photo = read_photograph(dataset.image_path(index)).image
        photo = shrink(photo, self.size)
        picture = np.concatenate(
            [draw_overlay(photo, layer, dataset.tasks) for layer in layers], 1)
        done, name = runner.iter + 1, f'{dataset.name}_{dataset.stems[index]}'
        folder = osp.join(runner.work_dir, 'overlays', f'iter_{done}')
        save_image(osp.join(folder, f'{name}.jpg'), picture)
        for hook in runner.hooks:
            if isinstance(hook, TensorboardLoggerHook):
                hook.writer.add_image(
                    f'overlays/{name}', picture, done, dataformats='HWC')
