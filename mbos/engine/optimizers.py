"""Several named optimizers, for a network and its discriminators."""
from mmcv.runner.optimizer import OPTIMIZER_BUILDERS, build_optimizer
from torch import nn
from torch.optim import Optimizer

from mbos.runtime.environment import unwrapped

REST = 'generator'
FUSED_TYPES = ('Adam', 'AdamW', 'SGD')
CHOICES = ('fused', 'foreach', 'differentiable', 'maximize')


@OPTIMIZER_BUILDERS.register_module()
class NamedOptimizersConstructor:
    """Builds one optimizer per named part of a model.

    Each key of the config is the name of a submodule, whose parameters that
    optimizer gets, with its own ``paramwise_cfg`` if wanted; the key
    ``generator`` gets all the others. Parts without parameters get none.

    Example::

        optimizer = dict(
            constructor='NamedOptimizersConstructor',
            generator=dict(type='AdamW', lr=6e-5),
            discriminators=dict(type='Adam', lr=2e-4))
    """

    def __init__(self,
                 optimizer_cfg: dict[str, dict],
                 paramwise_cfg: dict | None = None):
        if paramwise_cfg is not None or REST not in optimizer_cfg:
            raise ValueError(
                f'optimizer has {sorted(optimizer_cfg)}, expected {REST!r} '
                'and parts of the model, each with its own paramwise_cfg.')
        self.optimizer_cfg = optimizer_cfg

    def __call__(self, model: nn.Module) -> dict[str, Optimizer]:
        """Build the optimizers.

        Raises:
            ValueError: If a name is not a submodule.
        """
        parts = dict(unwrapped(model).named_children())
        named = [n for n in self.optimizer_cfg if n != REST]
        unknown = [n for n in named if n not in parts]
        if unknown:
            raise ValueError(f'optimizer has {", ".join(unknown)}, expected '
                             f'parts of the model: {", ".join(parts)}.')
        # under their own names, so that keys of paramwise_cfg still match
        rest = nn.Module()
        for name, part in parts.items():
            if name not in named:
                rest.add_module(name, part)
        wanted = {REST: rest, **{n: parts[n] for n in named}}
        return {
            name: build_optimizer(part, self.optimizer_cfg[name])
            for name, part in wanted.items() if list(part.parameters())
        }


def as_dict(optimizer: Optimizer | dict) -> dict[str, Optimizer]:
    """Optimizers of a runner by name; a single one is the ``generator``."""
    return optimizer if isinstance(optimizer, dict) else {REST: optimizer}


def fused_by_default(cfg: dict) -> dict:
    """Let torch's fused optimizers do a config's steps.

    They read and write each weight once, on CPU and on GPUs.

    Returns:
        dict: A copy with ``fused=True`` where the type has a fused variant
        and the config does not choose another one.
    """
    cfg = {
        key: fused_by_default(value) if isinstance(value, dict) else value
        for key, value in cfg.items()
    }
    if cfg.get('type') in FUSED_TYPES and not set(cfg) & set(CHOICES):
        cfg['fused'] = True
    return cfg
