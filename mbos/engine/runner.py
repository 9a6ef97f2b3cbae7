"""An iteration-based runner whose runs can be stopped and resumed anywhere,
and its checkpoints: whole or not there."""
import errno
import os
import os.path as osp
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from mmcv.runner import (RUNNERS, CheckpointHook, IterBasedRunner,
                         allreduce_params, master_only, weights_to_cpu)
from mmcv.runner.hooks import HOOKS, EvalHook
from mmcv.utils import build_from_cfg

from mbos.checkpoints.loading import read_checkpoint, without_foreign
from mbos.faults import blamed_on, first_line
from mbos.io.files import (remove_leftovers, replace_link, sync_folder,
                           whole_path)
from mbos.runtime.environment import unwrapped
from .averaging import EMAWeightsHook
from .hooks import check_finite_weights, find_hook
from .optimizers import as_dict

# The average follows the optimizers' step (40), before all hooks that look at
# the network (50); checkpoints the log line of an iteration (90), so that none
# is lost, and before evaluation, which takes long.
EMA_PRIORITY = 45
CHECKPOINT_PRIORITY, EVALUATION_PRIORITY, STOP_PRIORITY = 92, 94, 96
_NAME = re.compile(r'iter_(\d+)\.pth$')


@RUNNERS.register_module()
class CheckedIterRunner(IterBasedRunner):
    """mmcv's runner, with whole checkpoints that hold all of a run's state.

    ``meta['iter']`` is the number of finished iterations; mmcv stores one
    less. Hooks that have a state give it with ``resume_state(runner)``, called
    in all processes, and take it with ``load_resume_state(state, runner)``.

    A checkpoint may be taken before the evaluation that its iteration asks
    for; a run that is resumed from it starts with that evaluation.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.evaluation_pending = False
        self._hook_states = {}

    def register_checkpoint_hook(self, checkpoint_config) -> None:
        """Register the checkpoint hook behind the loggers."""
        self.register_hook(
            build_from_cfg(checkpoint_config, HOOKS),
            priority=CHECKPOINT_PRIORITY)

    def call_hook(self, fn_name: str) -> None:
        """Call all hooks; a library's that fails is the config's fault."""
        for hook in self.hooks:
            if type(hook).__module__.startswith('mbos.'):
                getattr(hook, fn_name)(self)
                continue
            with blamed_on(
                    f'The hook {type(hook).__name__} fails as the config has '
                    'it', 'Correct its settings, or take it out.'):
                getattr(hook, fn_name)(self)

    def evaluation_is_due(self) -> bool:
        """Whether the running iteration ends with an evaluation."""
        hook = find_hook(self, EvalHook)
        return hook is not None and hook._should_evaluate(self)

    def gather_states(self) -> None:
        """Collect what hooks keep over iterations, in all processes, unless
        the weights are broken."""
        self._hook_states = {
            type(hook).__name__: hook.resume_state(self)
            for hook in self.hooks if hasattr(hook, 'resume_state')
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
        meta = dict(meta or {}, **self.meta, epoch=self.epoch + 1, iter=done)
        state, training = unwrapped(self.model).state_dict(), {}
        average = find_hook(self, EMAWeightsHook)
        if average is not None:
            state, training = average.states(unwrapped(self.model))
        content = dict(meta=storable(meta), state_dict=weights_to_cpu(state))
        if save_optimizer:
            if training:
                content['training_weights'] = weights_to_cpu(training)
            optimizers = as_dict(self.optimizer).items()
            content['optimizer'] = storable({
                name: one.state_dict()
                for name, one in optimizers
            })
            content['progress'] = storable(
                dict(evaluation_pending=self.evaluation_pending,
                     hooks=self._hook_states))  # yapf: disable
        name = filename_tmpl.format(done)
        save_atomically(content, osp.join(out_dir, name))
        if create_symlink:
            replace_link(name, osp.join(out_dir, 'latest.pth'))

    def resume(self, checkpoint: str, resume_optimizer: bool = True) -> None:
        """Go on from a checkpoint; hooks must be registered before. See
        docs/reliability.md, "What a resumed run takes from where"."""
        content = read_checkpoint(checkpoint)
        meta, progress = content['meta'], content.get('progress') or {}
        self._hook_states = progress.get('hooks') or {}
        self.evaluation_pending = progress.get('evaluation_pending', False)
        self._load_weights(content)
        self._iter = self._inner_iter = meta['iter']
        self._epoch = meta['epoch'] - 1
        self.meta['hook_msgs'] = meta.get('hook_msgs') or {}
        if resume_optimizer:
            for name, optimizer in as_dict(self.optimizer).items():
                # their settings are the config's, and what schedules do to
                # them follows from the iteration
                groups = optimizer.state_dict()['param_groups']
                optimizer.load_state_dict(
                    dict(content['optimizer'][name], param_groups=groups))
        for hook in self.hooks:
            state = self._hook_states.get(type(hook).__name__)
            if state is not None and hasattr(hook, 'load_resume_state'):
                hook.load_resume_state(state, self)
        self.logger.info(f'resumed from {checkpoint}, iteration {self.iter}')

    def _load_weights(self, content: dict) -> None:
        """Load the weights that training had, and their average if any."""
        model = unwrapped(self.model)
        state = without_foreign(content['state_dict'], model.state_dict())
        training = content.get('training_weights') or {}
        model.load_state_dict({**state, **training})
        hook = find_hook(self, EMAWeightsHook)
        if hook is not None and training:
            device = next(model.parameters()).device
            average = {name: state[name].to(device) for name in training}
            steps = self._hook_states['EMAWeightsHook']['steps']
            hook.start_from(average, steps)


@HOOKS.register_module()
class SubfolderCheckpointHook(CheckpointHook):
    """mmcv's checkpoint hook, writing into a subfolder of the work directory.

    Of the checkpoints up to the present iteration, the last
    ``max_keep_ckpts`` are kept, whichever run or signal wrote them; older
    ones go when the new one is on the disk.
    """

    def __init__(self, subfolder: str = '', **kwargs):
        super().__init__(**kwargs)
        self.subfolder = subfolder
        self.saved = 0  # iteration of the last one

    def before_run(self, runner):
        """Settle where checkpoints go, and clear up after killed runs."""
        super().before_run(runner)
        self.out_dir = osp.join(runner.work_dir, self.subfolder)
        if osp.exists(osp.join(self.out_dir, f'iter_{runner.iter}.pth')):
            self.saved = runner.iter
        if runner.rank == 0:
            for folder in {runner.work_dir, self.out_dir}:
                remove_leftovers(folder)

    def after_train_iter(self, runner):
        """Save where it is time, in any case before an evaluation's end."""
        runner.evaluation_pending = runner.evaluation_is_due()
        if self.every_n_iters(
                runner, self.interval) or (self.save_last
                                           and self.is_last_iter(runner)):
            self.save(runner)
        elif runner.evaluation_pending:  # it may be interrupted
            runner.gather_states()

    def save(self, runner) -> str:
        """Save the present state, in all processes, unless it is saved; return
        the path."""
        if self.saved != runner.iter + 1:
            runner.logger.info(f'Saving checkpoint at {runner.iter + 1} '
                               'iterations')
            if self.sync_buffer:
                allreduce_params(runner.model.buffers())
            runner.gather_states()
        return self.save_gathered(runner)

    def save_gathered(self, runner) -> str:
        """The same when the states are gathered; others may not be here."""
        if self.saved != runner.iter + 1:
            self._write(runner)
            self.saved = runner.iter + 1
        return osp.join(self.out_dir, f'iter_{runner.iter + 1}.pth')

    def after_evaluation(self, runner) -> None:
        """Note in the checkpoint that its evaluation is done."""
        runner.evaluation_pending = False
        if self.saved == runner.iter + 1:
            self._write(runner)

    @master_only
    def _write(self, runner):
        """Write the checkpoint, then remove older ones."""
        runner.save_checkpoint(
            self.out_dir, save_optimizer=self.save_optimizer, **self.args)
        if self.max_keep_ckpts > 0:
            found = [
                path for iteration, path in list_checkpoints(self.out_dir)
                if iteration <= runner.iter + 1
            ]
            for path in found[self.max_keep_ckpts:]:
                with suppress(FileNotFoundError):
                    os.remove(path)
            sync_folder(self.out_dir)


def save_atomically(content: dict, path: str) -> None:
    """Write a checkpoint so that its name never stands for half a file; if the
    disk is full, what was there before is left alone."""
    try:
        with whole_path(path) as temporary:
            torch.save(content, temporary)
    except (OSError, RuntimeError) as error:  # torch's own for a full disk
        raise OSError(
            getattr(error, 'errno', None) or errno.EIO,
            f'the checkpoint was not written ({first_line(error)}). Make '
            'room, or keep fewer (checkpoint_config.max_keep_ckpts); earlier '
            'ones are untouched, go on from them with --auto-resume',
            path) from error


def list_checkpoints(folder: str) -> list[tuple[int, str]]:
    """Iteration and path of each ``iter_<N>.pth``, the newest first."""
    names = os.listdir(folder) if osp.isdir(folder) else []
    return sorted(((int(match[1]), osp.join(folder, match[0]))
                   for match in map(_NAME.fullmatch, names) if match),
                  reverse=True)


def storable(value: Any) -> Any:
    """What a checkpoint may hold, so that it is read without running code.

    Values of NumPy become plain ones, anything unknown its text.
    """
    plain = bool, int, float, str, type(None)
    if type(value) in plain or isinstance(value, torch.Tensor):
        return value
    if isinstance(value, Mapping):
        return {storable(key): storable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [storable(item) for item in value]
        return tuple(items) if isinstance(value, tuple) else items
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    return str(value)
