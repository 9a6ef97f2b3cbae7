"""Several named optimizers, for a network and its discriminators."""
from mmcv.runner.optimizer import OPTIMIZER_BUILDERS, build_optimizer
from torch import nn
from torch.optim import Optimizer

from mbos.runtime.environment import unwrapped

REST = 'generator'
FUSED_TYPES = ('Adam', 'AdamW', 'SGD')
CHOICES = {'fused', 'foreach', 'differentiable', 'maximize'}


@OPTIMIZER_BUILDERS.register_module()
class NamedOptimizersConstructor:
    """Builds one optimizer per named part of a model.

    Each key of the config is the name of a submodule, whose parameters that
    optimizer gets, with its own ``paramwise_cfg`` if wanted; the key
    ``generator`` gets all the others. Parts without parameters get none.
    ``configs/_base_/schedules/schedule_60k_gan.py`` is an example.
    """

    def __init__(self,
                 optimizer_cfg: dict[str, dict],
                 paramwise_cfg: dict | None = None):
        self.optimizer_cfg, self.paramwise_cfg = optimizer_cfg, paramwise_cfg

    def __call__(self, model: nn.Module) -> dict[str, Optimizer]:
        parts = dict(unwrapped(model).named_children())
        named = set(self.optimizer_cfg)
        known = REST in named and named <= {REST, *parts}
        if self.paramwise_cfg is not None or not known:
            raise ValueError(
                f'optimizer has {", ".join(sorted(named))}, expected {REST!r} '
                f'and parts of the model ({", ".join(parts)}), each with its '
                'own paramwise_cfg.')
        # under their own names, so that keys of paramwise_cfg still match
        parts[REST] = nn.Module()
        for name in set(parts) - named:
            parts[REST].add_module(name, parts[name])
        return {
            name: build_optimizer(parts[name], cfg)
            for name, cfg in self.optimizer_cfg.items()
            if list(parts[name].parameters())
        }


def as_dict(optimizer: Optimizer | dict) -> dict[str, Optimizer]:
    """Optimizers of a runner by name; a single one is the ``generator``."""
    return optimizer if isinstance(optimizer, dict) else {REST: optimizer}


def fused_by_default(cfg: dict) -> dict:
    """A copy of an optimizer's config with torch's fused steps, which read and
    write each weight once, unless the type has none or the config chooses."""
    cfg = {key: fused_by_default(value) if isinstance(value, dict) else value
           for key, value in cfg.items()}  # yapf: disable
    if cfg.get('type') in FUSED_TYPES and not CHOICES & set(cfg):
        cfg['fused'] = True
    return cfg
