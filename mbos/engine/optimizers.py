"""Several named optimizers, for a network and its discriminators."""
from collections.abc import Collection

from mmcv.runner.optimizer import OPTIMIZER_BUILDERS, build_optimizer
from torch import nn
from torch.optim import Optimizer

from mbos.runtime.environment import unwrapped


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

    REST = 'generator'

    def __init__(self,
                 optimizer_cfg: dict[str, dict],
                 paramwise_cfg: dict | None = None):
        if paramwise_cfg is not None:
            raise ValueError('Give paramwise_cfg to the single optimizers, '
                             f'one of {sorted(optimizer_cfg)}.')
        if self.REST not in optimizer_cfg:
            raise ValueError(f'The optimizer config needs {self.REST!r}, got '
                             f'{sorted(optimizer_cfg)}.')
        self.optimizer_cfg = optimizer_cfg

    def __call__(self, model: nn.Module) -> dict[str, Optimizer]:
        """Build the optimizers.

        Raises:
            ValueError: If a name is not a submodule.
        """
        parts = dict(unwrapped(model).named_children())
        named = [n for n in self.optimizer_cfg if n != self.REST]
        unknown = [n for n in named if n not in parts]
        if unknown:
            raise ValueError(f'No part of the model is called {unknown}: it '
                             f'has {sorted(parts)}.')
        # under their own names, so that keys of paramwise_cfg still match
        rest = nn.Module()
        for name, part in parts.items():
            if name not in named:
                rest.add_module(name, part)
        wanted = {self.REST: rest, **{n: parts[n] for n in named}}
        return {
            name: build_optimizer(part, self.optimizer_cfg[name])
            for name, part in wanted.items() if list(part.parameters())
        }


def as_dict(optimizer) -> dict[str, Optimizer]:
    """Optimizers of a runner by name; a single one is the ``generator``."""
    if isinstance(optimizer, dict):
        return optimizer
    return {NamedOptimizersConstructor.REST: optimizer}


FUSED_TYPES = ('Adam', 'AdamW', 'SGD')
CHOICES = ('fused', 'foreach', 'differentiable', 'maximize')


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


def settings_of(optimizer: Optimizer) -> list[dict]:
    """Learning rate, weight decay and the like, by parameter group."""
    return [{
        k: v
        for k, v in group.items() if k != 'params'
    } for group in optimizer.param_groups]


def with_new_settings(state: dict, then: list[dict] | None,
                      now: list[dict]) -> dict:
    """Put into an optimizer's stored state what the config has changed since.

    Whatever the config left alone stays as it was stored, also where a
    schedule or a hook has moved it since the run began.

    Args:
        state (dict): Of ``Optimizer.state_dict``; not changed.
        then (list[dict], optional): :func:`settings_of` the optimizer that
            the run began with; None if that is not known.
    """
    groups = [dict(group) for group in state['param_groups']]
    for group, new, old in zip(groups, now, then or groups):
        for key, value in new.items():
            before = old.get(key)
            if then is None and key == 'lr':
                before = old.get('initial_lr', before)
            if key in old and _same(before, value):
                continue
            group[key] = value
            if key == 'lr' and 'initial_lr' in group:
                group['initial_lr'] = value
            if key in ('momentum', 'betas'):
                group.pop('initial_momentum', None)
    return dict(state, param_groups=groups)


def without_schedules(state: dict, kinds: Collection[str]) -> dict:
    """An optimizer's stored state without what schedules have done to it.

    ``kinds`` are ``lr``, ``momentum`` or both.
    """
    groups = [dict(group) for group in state['param_groups']]
    for group in groups:
        if 'lr' in kinds:
            group['lr'] = group.pop('initial_lr', group['lr'])
        first = group.pop('initial_momentum', None) \
            if 'momentum' in kinds else None
        if first is not None and 'momentum' in group:
            group['momentum'] = first
        elif first is not None:
            group['betas'] = (first, *group['betas'][1:])
    return dict(state, param_groups=groups)


def _same(one, two) -> bool:
    """Equal, a list in the place of a tuple included."""
    if isinstance(one, (list, tuple)) and isinstance(two, (list, tuple)):
        return list(one) == list(two)
    return one == two


def why_not_loadable(optimizer: Optimizer, state: dict) -> str | None:
    """What keeps an optimizer from going on with a stored state, if any."""
    try:
        theirs = [len(group['params']) for group in state['param_groups']]
    except (KeyError, TypeError):
        return 'it is not the state of an optimizer'
    ours = [len(group['params']) for group in optimizer.param_groups]
    if theirs != ours:
        return (f'it is of {len(theirs)} group(s) with {sum(theirs)} weights, '
                f'the config gives {len(ours)} with {sum(ours)} '
                '(paramwise_cfg or frozen parts have changed)')
    needs = any(group.get('amsgrad') for group in optimizer.param_groups)
    has = any(group.get('amsgrad') for group in state['param_groups'])
    if needs and not has:
        return 'amsgrad cannot be switched on within a run'
    return None
