"""An iteration-based runner whose runs can be stopped and resumed anywhere,
and its checkpoints: whole or not there."""
import errno
import os
import os.path as osp
import re
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from glob import glob
from typing import Any

import numpy as np
import torch
from mmcv.runner import (HOOKS, RUNNERS, CheckpointHook, Hook, IterBasedRunner,
                         master_only, weights_to_cpu)
from mmcv.runner.hooks import EvalHook

from mbos.faults import blamed_on, first_line
from mbos.io.files import remove_leftovers, sync_folder, whole_path
from mbos.runtime.environment import unwrapped
from .averaging import EMAWeightsHook
from .hooks import check_finite_weights, find_hook
from .optimizers import as_dict

_NAME = re.compile(r'iter_(\d+)\.pth$')


@RUNNERS.register_module()
class CheckedIterRunner(IterBasedRunner):
    """mmcv's runner, with whole checkpoints that hold all of a run's state.

    ``meta['iter']`` is the number of finished iterations; mmcv stores one
    less. Hooks that have a state give it with ``resume_state(runner)``, called
    in all processes, and take it with ``load_resume_state(state, runner)``.

    A checkpoint is taken before the evaluation that its iteration asks for; a
    run that is resumed from it starts with that evaluation.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.evaluation_pending = False
        self.hook_states = {}

    def call_hook(self, fn_name: str, kinds: tuple = (Hook, )) -> None:
        """Call all hooks, or those of some kinds; a library's that fails is
        the config's fault."""
        for hook in self.hooks:
            ours = type(hook).__module__.startswith('mbos.')
            with nullcontext() if ours else blamed_on(
                    f'The hook {type(hook).__name__} fails as the config has '
                    'it', 'Correct lr_config, custom_hooks or the like.'):
                if isinstance(hook, kinds):
                    getattr(hook, fn_name)(self)

    def evaluation_is_due(self) -> bool:
        """Whether the running iteration ends with an evaluation."""
        hook = find_hook(self, EvalHook)
        return hook is not None and hook._should_evaluate(self)

    def save_checkpoint(self,
                        out_dir: str,
                        filename_tmpl: str = 'iter_{}.pth',
                        create_symlink: bool = True) -> None:
        """Write ``out_dir/iter_<finished iterations>.pth``."""
        done, model = self.iter + 1, unwrapped(self.model)
        average = find_hook(self, EMAWeightsHook)
        state, training = model.state_dict(), {}
        if average is not None:
            state, training = average.states(model)
        optimizers = as_dict(self.optimizer).items()
        content = dict(
            meta=storable(dict(self.meta, epoch=1, iter=done)),
            state_dict=weights_to_cpu(state),
            optimizer=storable({n: o.state_dict() for n, o in optimizers}),
            progress=storable(dict(evaluation_pending=self.evaluation_pending,
                                   hooks=self.hook_states)))  # yapf: disable
        if training:
            content['training_weights'] = weights_to_cpu(training)
        name = filename_tmpl.format(done)
        save_atomically(content, osp.join(out_dir, name))
        if create_symlink:
            link = osp.join(out_dir, 'latest.pth')
            with suppress(OSError), whole_path(link) as link:
                os.symlink(name, link)  # where the disk has links

    def resume(self, checkpoint: dict) -> None:
        """Go on from what ``check_resumable`` returns; hooks must be
        registered before. See docs/reliability.md, "What a resumed run takes
        from where"."""
        meta, progress = checkpoint['meta'], checkpoint.get('progress') or {}
        self.hook_states = progress.get('hooks') or {}
        self.evaluation_pending = progress.get('evaluation_pending', False)
        self._iter = self._inner_iter = meta['iter']
        self.meta['hook_msgs'] = meta.get('hook_msgs') or {}
        model, state = unwrapped(self.model), checkpoint['state_dict']
        training = checkpoint.get('training_weights') or {}
        # beside them may be buffers that hooks of the user's had added
        model.load_state_dict({**state, **training}, strict=False)
        average = find_hook(self, EMAWeightsHook)
        if average is not None:
            device = next(model.parameters()).device
            average.average = {n: state[n].to(device) for n in training}
        for name, optimizer in as_dict(self.optimizer).items():
            # their settings are the config's, and what schedules do to them
            # follows from the iteration
            groups = optimizer.state_dict()['param_groups']
            optimizer.load_state_dict(
                dict(checkpoint['optimizer'][name], param_groups=groups))
        for hook in self.hooks:
            found = self.hook_states.get(type(hook).__name__)
            if found is not None and hasattr(hook, 'load_resume_state'):
                hook.load_resume_state(found, self)
        self.logger.info(f'resumed at iteration {self.iter}')


@HOOKS.register_module()
class SubfolderCheckpointHook(CheckpointHook):
    """Saves at intervals and before evaluations, into a subfolder.

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
        self.out_dir = osp.join(runner.work_dir, self.subfolder)
        if osp.exists(osp.join(self.out_dir, f'iter_{runner.iter}.pth')):
            self.saved = runner.iter
        if runner.rank == 0:
            overlays = glob(osp.join(runner.work_dir, 'overlays', '*'))
            for folder in {runner.work_dir, self.out_dir, *overlays}:
                remove_leftovers(folder)

    def after_train_iter(self, runner):
        """Save where it is time."""
        runner.evaluation_pending = runner.evaluation_is_due()
        if (runner.evaluation_pending
                or self.every_n_iters(runner, self.interval)
                or self.save_last and self.is_last_iter(runner)):
            self.save(runner)

    def save(self, runner) -> None:
        """Save the present state, in all processes, unless it is saved."""
        if self.saved != runner.iter + 1:
            self.saved = runner.iter + 1
            runner.logger.info(f'Saving checkpoint at {self.saved} iterations')
            runner.hook_states = {
                type(hook).__name__: hook.resume_state(runner)
                for hook in runner.hooks if hasattr(hook, 'resume_state')
            }
            check_finite_weights(runner.model, self.saved)
            self._write(runner)

    def after_evaluation(self, runner) -> None:
        """Note in the checkpoint that its evaluation is done."""
        runner.evaluation_pending = False
        if self.saved == runner.iter + 1:
            self._write(runner)

    @master_only
    def _write(self, runner):
        """Write the checkpoint, then remove older ones."""
        runner.save_checkpoint(self.out_dir)
        if self.max_keep_ckpts > 0:
            found = [path for iteration, path in list_checkpoints(self.out_dir)
                     if iteration <= runner.iter + 1]  # yapf: disable
            for path in found[self.max_keep_ckpts:]:
                with suppress(FileNotFoundError):
                    os.remove(path)
            sync_folder(self.out_dir)


def save_atomically(content: dict, path: str) -> None:
    """Write a checkpoint, whole or not at all, as when the disk is full."""
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
    matches = filter(None, map(_NAME.fullmatch, names))
    found = [(int(match[1]), osp.join(folder, match[0])) for match in matches]
    return sorted(found, reverse=True)


def storable(value: Any) -> Any:
    """What a checkpoint may hold, so that it is read without running code:
    values of NumPy become plain ones, anything unknown its text."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, Mapping):
        return {storable(key): storable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        kind = tuple if isinstance(value, tuple) else list
        return kind(map(storable, value))
    plain = bool, int, float, str, type(None)
    if type(value) in plain or isinstance(value, torch.Tensor):
        return value
    return str(value)
