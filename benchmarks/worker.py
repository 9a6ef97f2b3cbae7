"""One case of the benchmark in a process of its own.

``benchmarks/speed.py`` starts it with its settings as JSON and then writes one
command a line: ``step`` runs the case once, ``memory``, ``flops`` and
``matmul`` measure. Each answer is one line of JSON.
"""
import json
import logging
import os
import os.path as osp
import sys
import time
from collections.abc import Callable

if not __package__:  # started by its path
    sys.path[0] = osp.dirname(osp.dirname(osp.abspath(__file__)))

MB = 2**20
MATMUL_SIDE = 2048


def main():
    """Serve commands until the input ends."""
    settings = json.loads(sys.argv[1])
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)  # whatever a library prints must not mix with the answers

    def answer(content):
        answers.write(json.dumps(content) + '\n')
        answers.flush()

    case = Case(settings)
    answer(dict(ready=True))
    for line in sys.stdin:
        answer(getattr(case, line.strip())())


class Case:
    """What the commands do.

    Args:
        settings (dict): See :func:`make_step`, and ``device``, ``rank``,
            ``world``, ``meeting`` (a file where the processes meet).
    """

    def __init__(self, settings: dict):
        import torch
        self.torch = torch
        torch.set_num_threads(settings['threads'])
        torch.backends.cuda.matmul.allow_tf32 = settings['tf32']
        torch.backends.cudnn.allow_tf32 = settings['tf32']
        if settings['world'] > 1:
            torch.distributed.init_process_group(
                'gloo' if settings['device'] == 'cpu' else 'nccl',
                init_method=f'file://{settings["meeting"]}',
                rank=settings['rank'],
                world_size=settings['world'])
        self.cuda = settings['device'].startswith('cuda')
        logging.disable(logging.INFO)  # mmcv logs every parameter
        import mbos.registration  # noqa: F401
        self.libraries = resident('VmRSS')
        self.work = make_step(settings)

    def step(self) -> dict:
        """Run the case once: ``seconds``, and the threads' ``cpu_seconds``."""
        if self.torch.distributed.is_initialized():
            self.torch.distributed.barrier()
        start, start_cpu = time.perf_counter(), time.process_time()
        self.work()
        if self.cuda:
            self.torch.cuda.synchronize()
        return dict(
            seconds=time.perf_counter() - start,
            cpu_seconds=time.process_time() - start_cpu)

    def memory(self) -> dict:
        """Peak so far, and what the libraries alone take, in MB.

        With CUDA the peak is that of the GPU's allocator.
        """
        if self.cuda:
            peak = self.torch.cuda.max_memory_allocated() / MB
            return dict(peak_mb=peak, libraries_mb=0.0)
        return dict(peak_mb=resident('VmHWM'), libraries_mb=self.libraries)

    def flops(self) -> dict:
        """Floating-point operations of one step, a multiply-add being two."""
        return dict(flops=count_flops(self.work))

    def matmul(self) -> dict:
        """Best rate of float32 matrix products, in FLOP/s."""
        torch = self.torch
        a = torch.randn(
            MATMUL_SIDE, MATMUL_SIDE, device='cuda' if self.cuda else 'cpu')
        best = float('inf')
        for _ in range(8):
            start = time.perf_counter()
            a @ a
            if self.cuda:
                torch.cuda.synchronize()
            best = min(best, time.perf_counter() - start)
        return dict(rate=2 * MATMUL_SIDE**3 / best)


def resident(field: str) -> float:
    """Memory of this process in MB.

    Args:
        field (str): ``VmRSS``, now, or ``VmHWM``, the peak since the program
            started (``ru_maxrss`` may be the parent's).
    """
    with open('/proc/self/status') as file:
        for line in file:
            if line.startswith(field + ':'):
                return int(line.split()[1]) / 1024
    raise RuntimeError(f'/proc/self/status has no {field}.')


def count_flops(work: Callable) -> int:
    """Operations of the matrix products and convolutions that a call does."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import flop_registry, sdpa_flop
    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    known = dict(flop_registry)
    known[attention] = lambda query, key, value, *args, **kwargs: sdpa_flop(
        query, key, value)
    known[torch.ops.aten.addmm_] = flop_registry[torch.ops.aten.addmm]
    linear = getattr(torch.ops.mkldnn, '_linear_pointwise', None)
    known[linear] = lambda x, weight, *args, out_val, **kwargs: (
        2 * out_val.numel() * x.shape[-1])

    class Counter(TorchDispatchMode):
        """torch's own counter cannot see gradients taken within a pass."""

        total = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            count = known.get(func._overloadpacket)
            if count is not None:
                self.total += count(*args, **(kwargs or {}), out_val=out)
            return out

    with Counter() as counter:
        work()
    return counter.total


def make_step(settings: dict) -> Callable:
    """The work of a case.

    Args:
        settings (dict): ``case`` (stage1, stage2, inference), ``side``
            (baseline, ours, low_memory), ``size``, ``width``, ``tasks``,
            ``images`` per dataset, ``device``, ``precision``, ``compile``,
            ``images_per_pass``; ``accelerators``, the names of those to use
            on CPU (default: all).

    Returns:
        callable: Does it once.
    """
    import torch

    from benchmarks.model import (build_network, build_optimizers, make_batch,
                                  stage_config, unfused)
    stage = 1 if settings['case'] == 'stage1' else 2
    ours = settings['side'] != 'baseline'
    cfg = stage_config(
        stage,
        settings['width'],
        settings['tasks'],
        images_per_pass=settings['images_per_pass'],
        precision=settings['precision'] if ours else 'float32',
        low_memory=settings['side'] == 'low_memory')
    model = build_network(cfg).to(settings['device'])
    if ours and settings['compile']:
        from mbos.models import compile_parts
        compile_parts(model)
    elif ours and settings['device'] == 'cpu':
        use_accelerators(model, settings.get('accelerators'))
    size, device = settings['size'], settings['device']
    if settings['case'] == 'inference':
        image = torch.randn(1, 3, size, size, device=device)
        return predict_step(model.eval(), image, ours)
    batch = make_batch(cfg, stage, size, settings['images'], device)
    if ours:
        return train_step(model, cfg, batch)
    from benchmarks.baseline import ReleaseSchedule
    schedule = ReleaseSchedule(model, build_optimizers(model, unfused(cfg)))
    return lambda: schedule.step(batch)


def use_accelerators(model, names: list[str] | None) -> None:
    """Accelerate a network as the tools do, or with some means only.

    Args:
        model (nn.Module): The network.
        names (list[str], optional): Of ``ACCELERATORS``, and 'allocator'.
            Default: all.
    """
    from mbos.accelerate import ACCELERATORS, accelerate, keep_freed_memory
    if names is None:
        names = [*ACCELERATORS, 'allocator']
    accelerate(model, [name for name in names if name != 'allocator'])
    if 'allocator' in names:
        keep_freed_memory()


def predict_step(model, image, ours: bool) -> Callable:
    """Probabilities of one whole image, on the device."""
    import torch

    from benchmarks.baseline import ReleaseSchedule
    schedule = ReleaseSchedule(model, {})
    side = image.shape[-1]
    meta = dict(ori_shape=(side, side, 3), img_shape=(side, side, 3))

    def predict():
        with torch.no_grad():
            if ours:
                return model.inference(image, [meta], True)
            return schedule.predict(image)

    return predict


def train_step(model, cfg, batch) -> Callable:
    """One training iteration as the runner does it, without the logs."""
    import types

    from benchmarks.model import build_optimizers
    from mbos.engine.hooks import GradientStepHook
    hook = GradientStepHook(
        loss_scaling=cfg.model.train_cfg.precision == 'fp16')
    runner = types.SimpleNamespace(
        meta={},
        iter=0,
        model=model,
        optimizer=build_optimizers(model, cfg),
        data_batch=batch)

    def iteration():
        hook.before_train_iter(runner)
        runner.outputs = model.train_step(batch, backward=hook.backward)
        hook.after_train_iter(runner)

    return iteration


if __name__ == '__main__':
    main()
