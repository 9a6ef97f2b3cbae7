"""Training steps and inference that the benchmarks measure."""
import types
from collections.abc import Callable

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_flop

import mbos.registration  # noqa: F401
from benchmarks import model as networks
from benchmarks.baseline import ReleaseSchedule
from mbos.accelerate import ACCELERATORS, accelerate, keep_freed_memory
from mbos.engine.hooks import GradientStepHook
from mbos.models.inference import mean_probabilities


def make_step(settings: dict) -> Callable:
    """The work of a case, to be done by each call.

    ``settings`` have ``case`` (stage1, stage2, inference), ``side`` (baseline,
    ours, low_memory), ``size``, ``width``, ``tasks``, ``images`` per dataset,
    ``device``, ``precision``, ``compile``; ``without``, accelerators of ours
    to leave out on CPU, and 'allocator'.
    """
    stage = 1 if settings['case'] == 'stage1' else 2
    ours = settings['side'] != 'baseline'
    size, device = settings['size'], settings['device']
    cfg = networks.stage_config(
        stage,
        settings['width'],
        settings['tasks'],
        images_per_pass='auto',
        precision=settings['precision'] if ours else 'float32',
        low_memory=settings['side'] == 'low_memory')
    model = networks.build_network(cfg).to(device)
    if ours and settings['compile']:
        model.compile_parts()
    elif ours and device == 'cpu':
        left_out = settings.get('without', ())
        accelerate(model, [n for n in ACCELERATORS if n not in left_out])
        if 'allocator' not in left_out:
            keep_freed_memory()
    if settings['case'] == 'inference':
        image = torch.randn(1, 3, size, size, device=device)
        return predict_step(model.eval(), image, ours)
    batch = networks.make_batch(cfg, stage, size, settings['images'], device)
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
        model=model,
        optimizer=networks.build_optimizers(model, cfg),
        data_batch=batch)

    def iteration():
        hook.before_train_iter(runner)
        runner.outputs = model.train_step(batch, backward=hook.backward)
        hook.after_train_iter(runner)

    return iteration


class FlopCounter(TorchDispatchMode):
    """Counts operations; torch's own counter cannot see gradients that are
    taken within a pass.
    """

    def __init__(self):
        super().__init__()
        self.total = 0
        aten = torch.ops.aten
        attention = aten._scaled_dot_product_flash_attention_for_cpu
        linear = getattr(torch.ops.mkldnn, '_linear_pointwise', None)
        self.known = flop_registry | {
            attention: lambda q, k, v, *args, **kwargs: sdpa_flop(q, k, v),
            aten.addmm_: flop_registry[aten.addmm],
            linear: lambda x, weight, *args, out_val, **kwargs:
                2 * out_val.numel() * x.shape[-1]
        }  # yapf: disable

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        count = self.known.get(func._overloadpacket, lambda *args, **kw: 0)
        self.total += count(*args, **(kwargs or {}), out_val=out)
        return out


def count_flops(work: Callable) -> int:
    """Operations of the matrix products and convolutions that a call does."""
    with FlopCounter() as counter:
        work()
    return counter.total
