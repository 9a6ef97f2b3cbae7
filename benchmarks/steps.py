"""Training steps and inference that the benchmarks measure."""
import sys
import types
from collections.abc import Callable

import torch

import mbos.registration  # noqa: F401
from benchmarks import model as networks
from benchmarks.baseline import ReleaseSchedule
from mbos.accelerate import ACCELERATORS, accelerate, keep_freed_memory
from mbos.engine.hooks import GradientStepHook
from mbos.models.inference import mean_probabilities


def make_step(settings: dict) -> Callable:
    """The work of a case, to be done by each call.

    ``settings`` are the options of benchmarks/speed.py, and ``case`` (stage1,
    stage2, inference) and ``side``: baseline, ours, low_memory, or ours as
    without_NAME, an accelerator, 'allocator' or 'all'."""
    case, side, device = (settings[k] for k in ('case', 'side', 'device'))
    stage, ours = 1 if case == 'stage1' else 2, side != 'baseline'
    cfg = networks.stage_config(
        stage,
        settings['width'],
        settings['tasks'],
        images_per_pass='auto',
        precision=settings['precision'] if ours else 'float32',
        low_memory=side == 'low_memory')
    model = networks.build_network(cfg).to(device)
    if ours and settings['compile']:
        model.compile_parts()
    elif ours and device == 'cpu' and side != 'without_all':
        accelerate(model, [n for n in ACCELERATORS if n not in side])
        if 'allocator' not in side:
            keep_freed_memory()
    if case == 'inference':
        size = settings['inference_size']
        image = torch.randn(1, 3, size, size, device=device)
        return predict_step(model.eval(), image, ours)
    batch = networks.make_batch(cfg, stage, settings['size'],
                                settings['images'], device)
    if ours:
        return train_step(model, cfg, batch)
    optimizers = networks.build_optimizers(model, networks.unfused(cfg))
    return lambda: ReleaseSchedule(model, optimizers).step(batch)


def predict_step(model, image, ours: bool) -> Callable:
    """Probabilities of one whole image, on the device."""
    shape = (*image.shape[2:], 3)
    meta = dict(ori_shape=shape, img_shape=shape)

    @torch.no_grad()
    def predict():
        if ours:
            views = model.view_logits(image, [meta])
            return mean_probabilities(views, shape[:2], model.align_corners)
        return ReleaseSchedule(model, {}).predict(image)

    return predict


def train_step(model, cfg, batch) -> Callable:
    """One training iteration as the runner does it, without the logs."""
    hook = GradientStepHook(
        loss_scaling=cfg.model.train_cfg.precision == 'fp16')
    runner = types.SimpleNamespace(
        meta={},
        iter=0,
        _max_iters=sys.maxsize,
        model=model,
        optimizer=networks.build_optimizers(model, cfg),
        data_batch=batch)

    def iteration():
        hook.before_train_iter(runner)
        runner.outputs = model.train_step(batch, backward=hook.backward)
        hook.after_train_iter(runner)

    return iteration
