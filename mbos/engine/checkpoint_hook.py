"""Writing checkpoints whole, keeping the last ones, and the hook for it."""
import errno
import os
import os.path as osp
import re
from contextlib import suppress

import torch
from mmcv.runner import HOOKS, CheckpointHook, allreduce_params, master_only

from mbos.faults import first_line
from mbos.io.files import remove_leftovers, sync_folder, whole_path

_NAME = re.compile(r'iter_(\d+)\.pth$')


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
