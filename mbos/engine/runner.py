"""An iteration-based runner whose runs can be stopped and resumed anywhere."""
import os.path as osp
from collections import Counter
from collections.abc import Iterator

import torch
from mmcv.runner import RUNNERS, IterBasedRunner, weights_to_cpu
from mmcv.runner.hooks import HOOKS, EvalHook, Hook, LrUpdaterHook
from mmcv.runner.hooks.momentum_updater import MomentumUpdaterHook
from mmcv.utils import build_from_cfg

from mbos.checkpoints.foreign_state import split_foreign, split_mmcv_average
from mbos.checkpoints.loading import read_checkpoint
from mbos.faults import blamed_on, first_of
from mbos.io.files import replace_link
from mbos.runtime.environment import unwrapped
from .averaging import EMAWeightsHook
from .checkpoint_hook import save_atomically
from .finite_guard import check_finite_weights
from .hooks import find_hook
from .optimizers import (as_dict, settings_of, with_new_settings,
                         without_schedules)
from .storable import storable

CHECKPOINT_PRIORITY = 92
"""int: Checkpoints come after the log line of an iteration (90), so that no
line is lost, and before evaluation, which takes long."""
EVALUATION_PRIORITY = 94
STOP_PRIORITY = 96
EMA_PRIORITY = 45
"""int: The average follows the optimizers' step (40), before all hooks that
look at the network (50)."""

SCHEDULES = dict(lr=LrUpdaterHook, momentum=MomentumUpdaterHook)
"""dict[str, type]: What changes settings of the optimizers, by setting."""


@RUNNERS.register_module()
class CheckedIterRunner(IterBasedRunner):
    """mmcv's runner, with whole checkpoints that hold all of a run's state.

    mmcv's stores an iteration less than were done, so that a resumed run
    repeats one; here ``meta['iter']`` is the number of finished iterations.
    Hooks that have a state give it with ``resume_state(runner)``, called in
    all processes, and take it with ``load_resume_state(state, runner)``.

    A checkpoint may be taken before the evaluation that its iteration asks
    for; a run that is resumed from it starts with that evaluation.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.evaluation_pending = False
        self._hook_states = {}
        # what hooks add to the network's state, and what a run before had
        self._own_names = set(unwrapped(self.model).state_dict())
        self._added_before = {}
        self._left_out = set()
        self._optimizer_settings = {
            name: settings_of(optimizer)
            for name, optimizer in as_dict(self.optimizer).items()
        } if self.optimizer is not None else {}

    def register_checkpoint_hook(self, checkpoint_config) -> None:
        """Register the checkpoint hook behind the loggers."""
        if checkpoint_config is None:
            return
        if isinstance(checkpoint_config, dict):
            checkpoint_config.setdefault('type', 'SubfolderCheckpointHook')
            checkpoint_config = build_from_cfg(checkpoint_config, HOOKS)
        self.register_hook(checkpoint_config, priority=CHECKPOINT_PRIORITY)

    def call_hook(self, fn_name: str) -> None:
        """Call all hooks; after ``before_run`` see what they have added.

        Raises:
            InvalidConfigError: If one of a library fails.
        """
        for hook in self.hooks:
            if type(hook).__module__.startswith('mbos.'):
                getattr(hook, fn_name)(self)
                continue
            with blamed_on(
                    f'The hook {type(hook).__name__} fails as the config has '
                    'it', 'Correct its settings, or take it out.'):
                getattr(hook, fn_name)(self)
        if fn_name == 'before_run':
            self._check_added_state()
            self._storable(self.meta or {}, 'meta')

    def _whole_state(self) -> dict[str, torch.Tensor]:
        """The network's state, with what hooks have added.

        Raises:
            ValueError: If checkpoints could not be used: weights are gone or
                have other names, or a part's state is not a tensor.
        """
        state = unwrapped(self.model).state_dict()
        gone = sorted(self._own_names - set(state))
        odd = sorted(k for k, v in state.items() if not torch.is_tensor(v))
        if gone or odd:
            raise ValueError(
                f'{(gone + odd)[0]}: a hook of custom_hooks has renamed or '
                'removed it, or it is not a tensor, so that checkpoints of '
                'this run could not be loaded: take the hook or the part out.')
        return state

    def _check_added_state(self) -> None:
        """Name what hooks have added to the network's state, and restore it.

        Checkpoints keep it apart from the weights, so that they can be used
        without the hooks.
        """
        state = self._whole_state()
        added = {k: v for k, v in state.items() if k not in self._own_names}
        for name, value in added.items():
            before = self._added_before.get(name)
            if before is not None and before.shape == value.shape:
                with torch.no_grad():
                    value.copy_(before)
        lost = sorted(set(self._added_before) - set(added))
        if added:
            self.logger.warning(
                "Hooks have added to the network's state: "
                f'{first_of(sorted(added))}. Checkpoints keep it for resumed '
                'runs, apart from the weights; prediction, tests and '
                'publishing leave it out.')
        if lost:
            self.logger.warning(
                f'The checkpoint has what hooks had added: {first_of(lost)}. '
                'No hook adds it now, so it is dropped.')

    def evaluation_is_due(self) -> bool:
        """Whether the running iteration ends with an evaluation."""
        return any(
            isinstance(hook, EvalHook) and not hook.by_epoch
            and hook._should_evaluate(self) for hook in self.hooks)

    def _named_hooks(self) -> Iterator[tuple[str, Hook]]:
        """Hooks by type, further ones of a type numbered."""
        counts: Counter[str] = Counter()
        for hook in self.hooks:
            name = type(hook).__name__
            counts[name] += 1
            yield (name if counts[name] == 1 else f'{name} {counts[name]}',
                   hook)

    def _storable(self, value: object, where: str):
        """As ``storable``; what is left out is named once in a run."""
        left_out: dict[str, str] = {}
        plain = storable(value, where, left_out)
        new = {k: v for k, v in left_out.items() if k not in self._left_out}
        self._left_out.update(new)
        if new:
            named = ', '.join(f'{k} ({v})' for k, v in new.items())
            self.logger.warning(
                f'Checkpoints hold None in place of {named}: they are read '
                'without running code, so they hold tensors, numbers, texts '
                'and lists and dicts of them only.')
        return plain

    def gather_states(self) -> None:
        """Collect what hooks keep over iterations; all processes must call.

        Raises:
            FloatingPointError: In all processes, if the weights are broken.
        """
        self._hook_states = {
            name: hook.resume_state(self)
            for name, hook in self._named_hooks()
            if hasattr(hook, 'resume_state')
        }
        check_finite_weights(self.model, self.iter + 1)

    def save_checkpoint(self,
                        out_dir: str,
                        filename_tmpl: str = 'iter_{}.pth',
                        meta: dict | None = None,
                        save_optimizer: bool = True,
                        create_symlink: bool = True) -> None:
        """Write ``out_dir/iter_<finished iterations>.pth``."""
        done = self.iter + 1
        meta = {
            **(meta or {}),
            **(self.meta or {}), 'epoch': self.epoch + 1,
            'iter': done
        }
        model = unwrapped(self.model)
        average = find_hook(self, EMAWeightsHook)
        state, training = self._whole_state(), {}
        if average is not None:
            state, training = average.states(model)
        own = {k: v for k, v in state.items() if k in self._own_names}
        content = dict(
            meta=self._storable(meta, 'meta'), state_dict=weights_to_cpu(own))
        if save_optimizer:
            if len(own) < len(state):
                content['added_state'] = weights_to_cpu({
                    k: v
                    for k, v in state.items() if k not in own
                })
            if training:
                content['training_weights'] = weights_to_cpu(training)
            content['optimizer'] = self._storable(
                {
                    name: optimizer.state_dict()
                    for name, optimizer in as_dict(self.optimizer).items()
                }, 'optimizer')
            content['progress'] = self._storable(
                dict(
                    evaluation_pending=self.evaluation_pending,
                    optimizer_settings=self._optimizer_settings,
                    hooks=self._hook_states), 'progress')
        name = filename_tmpl.format(done)
        save_atomically(content, osp.join(out_dir, name))
        if create_symlink:
            replace_link(name, osp.join(out_dir, 'latest.pth'))

    def resume(self, checkpoint: str, resume_optimizer: bool = True) -> None:
        """Go on from a checkpoint of :meth:`save_checkpoint`.

        Hooks must be registered before, as they get their states. Settings of
        the optimizers that the config has changed since the run began are the
        config's; see docs/reliability.md, "What a resumed run takes from
        where".
        """
        content = read_checkpoint(checkpoint)
        self._load_weights(content)
        self._added_before = content.get('added_state') or {}
        self._iter = self._inner_iter = content['meta']['iter']
        self._epoch = content['meta']['epoch'] - 1
        messages = content['meta'].get('hook_msgs')
        if self.meta is not None and messages:
            self.meta['hook_msgs'] = messages
        progress = content.get('progress') or {}
        if resume_optimizer:
            then = progress.get('optimizer_settings') or {}
            ended = self._ended_schedules(content['meta'])
            for name, optimizer in as_dict(self.optimizer).items():
                state = without_schedules(content['optimizer'][name], ended)
                optimizer.load_state_dict(
                    with_new_settings(state, then.get(name),
                                      settings_of(optimizer)))
        self.evaluation_pending = progress.get('evaluation_pending', False)
        self._hook_states = progress.get('hooks') or {}
        for name, hook in self._named_hooks():
            state = self._hook_states.get(name)
            if state is not None and hasattr(hook, 'load_resume_state'):
                hook.load_resume_state(state, self)
        self.logger.info(f'resumed from {checkpoint}, iteration {self.iter}')

    def _ended_schedules(self, meta: dict) -> list[str]:
        """Which schedules of a checkpoint's run this run does without."""
        before = meta.get('mbos_run') or {}
        return [
            kind for kind, hook in SCHEDULES.items()
            if before.get(f'{kind}_config') and find_hook(self, hook) is None
        ]

    def _load_weights(self, content: dict) -> None:
        """Load the weights that training had, and their average if any."""
        state, average = split_mmcv_average(content['state_dict'])
        steps = content['meta']['iter']
        training = content.get('training_weights')
        if training:
            average = {name: state[name] for name in training}
            state = {**state, **training}
            hooks = (content.get('progress') or {}).get('hooks') or {}
            steps = (hooks.get('EMAWeightsHook') or {}).get('steps', steps)
        model = unwrapped(self.model)
        state, foreign = split_foreign(state, self._own_names)
        if foreign:
            self.logger.warning(
                f'The checkpoint has {first_of(foreign)}, which belongs to no '
                'part of the network and is dropped.')
        model.load_state_dict(state)
        hook = find_hook(self, EMAWeightsHook)
        if not average:
            return
        if hook is None:
            self.logger.warning(
                'The checkpoint holds averaged weights (EMA), the config has '
                'no EMAWeightsHook in custom_hooks: training goes on without '
                'the average.')
            return
        device = next(model.parameters()).device
        hook.start_from({k: v.to(device) for k, v in average.items()}, steps)
