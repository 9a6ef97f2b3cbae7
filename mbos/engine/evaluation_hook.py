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
from mbos.runtime.processes import wait_for_all
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
        before = runner.meta.get('hook_msgs', {}).get('best_of')
        if self.save_best and before not in (None, self._best_of()):
            runner.logger.warning(f'The best score so far is of {before}; '
                                  f'that of {self._best_of()} begins anew.')
            runner.meta['hook_msgs'].clear()
        if runner.evaluation_pending:
            runner.mode = 'train'
            runner._iter -= 1  # the iteration that it belongs to
            schedule = find_hook(runner, LrUpdaterHook)
            try:
                if schedule is not None:
                    schedule.before_train_iter(runner)  # the rate is logged
                self.after_train_iter(runner)
            finally:
                runner._iter += 1

    def _best_of(self) -> dict:
        """What the best score is a score of."""
        sets = [d.name for d in self.dataloader.dataset.datasets]
        return dict(metric=self.save_best, rule=self.rule, sets=sets)

    def after_train_iter(self, runner):
        """Evaluate and log, behind the loggers and the checkpoint."""
        if not self._should_evaluate(runner):
            return
        saver = find_hook(runner, SubfolderCheckpointHook)
        runner.log_buffer.clear()
        try:
            with self.signals.at_once(), averaged_weights(runner):
                self._do_evaluate(runner)
        except (Interrupted, Exception) as error:
            # a worker process that a signal ended fails the evaluation too
            if self.signals.received is None:
                raise
            path = saver.save_gathered(runner)
            runner.logger.warning(
                f'Interrupted while evaluating iteration {runner.iter + 1}; '
                f'saved {path}. The same command with --auto-resume evaluates '
                'it and goes on.')
            raise Interrupted from error
        for hook in runner.hooks:
            if isinstance(hook, LoggerHook) and runner.log_buffer.ready:
                hook.log(runner)
        runner.log_buffer.clear()
        saver.after_evaluation(runner)

    def _save_ckpt(self, runner, key_score):
        """Save the best checkpoint, then remove this run's that it beats; what
        other runs left in the folder stays.

        A score that is undefined, NaN, is never the best.
        """
        messages = runner.meta['hook_msgs']
        messages['best_of'] = self._best_of()
        beaten = messages.get('best_ckpt')
        self.best_ckpt_path = None  # mmcv would remove it first
        super()._save_ckpt(runner, key_score)
        if self.best_ckpt_path is None:
            return
        best, beaten = Path(self.best_ckpt_path), Path(beaten or '')
        # a run that was resumed in another folder leaves the first one alone
        if beaten != best and beaten.parent == best.parent:
            beaten.unlink(missing_ok=True)
        sync_folder(self.out_dir)


class SafeEvalHook(_SafeEvaluation, EvalHook):
    """mmseg's evaluation in one process."""


class SafeDistEvalHook(_SafeEvaluation, DistEvalHook):
    """mmseg's evaluation in several processes."""

    def _do_evaluate(self, runner):
        super()._do_evaluate(runner)
        wait_for_all()  # the first process writes metrics, pictures, pages


@HOOKS.register_module()
class EvaluationOverlayHook(Hook):
    """Draws predictions on images of the validation sets.

    Whenever the run evaluates, ``samples`` images of every validation set,
    spread evenly over it, are predicted and drawn: the photograph, the
    prediction of all tasks, and the ground truth where there is one, side by
    side, the longest side of each ``size`` pixels. The pictures go to
    ``<work_dir>/overlays/iter_<N>`` and to TensorBoard.
    """

    def __init__(self, samples: int = 2, size: int = 512):
        self.samples = samples
        self.size = size

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
        done = runner.iter + 1
        name = f'{dataset.name}_{dataset.stem(index)}'
        folder = osp.join(runner.work_dir, 'overlays', f'iter_{done}')
        picture = overlay_panels(runner.model, dataset, index, self.size)
        save_image(osp.join(folder, f'{name}.jpg'), picture)
        for hook in runner.hooks:
            if isinstance(hook, TensorboardLoggerHook):
                hook.writer.add_image(
                    f'overlays/{name}', picture, done, dataformats='HWC')


def overlay_panels(model, dataset, index: int, size: int) -> np.ndarray:
    """Photograph, prediction and, where there is one, ground truth: RGB (H,
    2 W or 3 W, 3), uint8."""
    prob = predict_image(model, dataset, index)
    layers = [{}, {
        task.name: task.decode(torch.from_numpy(prob[task.name])).numpy()
        for task in dataset.tasks
    }]
    if dataset.truth:
        layers.append(dataset.get_gt_seg_map_by_idx(index))
    image = shrink(read_photograph(dataset.image_path(index)).image, size)
    panels = [draw_overlay(image, layer, dataset.tasks) for layer in layers]
    return np.concatenate(panels, axis=1)
