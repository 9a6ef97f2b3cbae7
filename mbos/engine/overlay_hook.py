"""Sample predictions as pictures, at every evaluation during training."""
import os.path as osp

import numpy as np
import torch
from mmcv.runner import HOOKS, Hook, TensorboardLoggerHook, master_only
from mmcv.runner.hooks import EvalHook

from mbos.inference.test_sets import predict_image
from mbos.io.files import save_image
from mbos.io.photographs import read_photograph
from mbos.painter import draw_overlay, shrink
from .averaging import averaged_weights
from .hooks import find_hook


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
        sets = find_hook(runner, EvalHook).dataloader.dataset.datasets
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
