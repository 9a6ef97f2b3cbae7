"""Writing checkpoints whole, keeping the last ones, and the hook for it."""
import errno
import os
import os.path as osp
import re
import shutil
from contextlib import suppress

import torch
from mmcv.runner import HOOKS, CheckpointHook, allreduce_params, master_only

from mbos.io.files import remove_leftovers, sync_folder, whole_file

_NAME = re.compile(r'iter_(\d+)\.pth$')
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class _Remembering:
    """A file that remembers why a write failed; torch only says so."""

    def __init__(self, file):
        self.file = file
        self.error = None

    def write(self, data) -> int:
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.file.flush()


def save_atomically(content: dict, path: str) -> None:
    """Write a checkpoint so that its name never stands for half a file.

    Raises:
        OSError: If the disk is full or refuses; what was there before is
            left alone.
    """
    watched = None
    try:
        with whole_file(path) as file:
            watched = _Remembering(file)
            torch.save(content, watched)
    except (OSError, RuntimeError) as error:
        cause = watched.error if watched and watched.error else error
        if not isinstance(cause, OSError):
            raise
        raise _explained(cause, path) from error


def _explained(error: OSError, path: str) -> OSError:
    folder = osp.dirname(osp.abspath(path))
    remedy = ''
    if error.errno in _FULL:
        with suppress(OSError):
            free = shutil.disk_usage(folder).free
            remedy = f' ({free / 2**20:.0f} MB are free there)'
        remedy += ': make room, or keep fewer checkpoints ' \
            '(checkpoint_config.max_keep_ckpts)'
    return OSError(
        error.errno, f'{error.strerror or error}{remedy}. The checkpoint was '
        'not written; earlier ones are untouched, go on from them with '
        '--auto-resume', path)


def list_checkpoints(folder: str) -> list[tuple[int, str]]:
    """Iteration and path of each ``iter_<N>.pth``, the newest first."""
    if not osp.isdir(folder):
        return []
    found = [(int(match[1]), osp.join(folder, match[0]))
             for match in map(_NAME.fullmatch, os.listdir(folder)) if match]
    return sorted(found, reverse=True)


@HOOKS.register_module()
class SubfolderCheckpointHook(CheckpointHook):
    """mmcv's checkpoint hook, writing into a folder of the work directory.

    Of the checkpoints up to the present iteration, the last
    ``max_keep_ckpts`` are kept, whichever run or signal wrote them; older
    ones go when the new one is on the disk.

    Args:
        subfolder (str): Its name, such as ``ckpt``; '' is the work directory
            itself. Default: ''.
        **kwargs: As mmcv's ``CheckpointHook``.
    """

    def __init__(self, subfolder: str = '', **kwargs):
        super().__init__(**kwargs)
        self.subfolder = subfolder
        self.saved = 0

    def before_run(self, runner):
        """Settle where checkpoints go, and clear up after killed runs."""
        super().before_run(runner)
        self.out_dir = osp.join(runner.work_dir, self.subfolder)
        if osp.exists(osp.join(self.out_dir, f'iter_{runner.iter}.pth')):
            self.saved = runner.iter
        if runner.rank == 0:
            for folder in {runner.work_dir, self.out_dir}:
                for name in remove_leftovers(folder):
                    runner.logger.info(
                        f'Removed {osp.join(folder, name)}, which a run that '
                        'was killed left half written.')

    def after_train_iter(self, runner):
        """Save where it is time, in any case before an evaluation's end."""
        due = self.every_n_iters(
            runner, self.interval) or (self.save_last
                                       and self.is_last_iter(runner))
        runner.evaluation_pending = runner.evaluation_is_due()
        if due:
            self._save(runner)
        elif runner.evaluation_pending:  # it may be interrupted
            runner.gather_states()

    def ensure(self, runner) -> str:
        """Save the present state unless it is saved; all processes must call.
        """
        if self.saved != runner.iter + 1:
            self._save(runner)
        return self.path_of(runner)

    def path_of(self, runner) -> str:
        """The file of the present iteration."""
        return osp.join(self.out_dir, f'iter_{runner.iter + 1}.pth')

    def after_evaluation(self, runner) -> None:
        """Note in the checkpoint that its evaluation is done."""
        runner.evaluation_pending = False
        if self.saved == runner.iter + 1:
            self._save_checkpoint(runner)

    def interrupted_evaluation(self, runner) -> None:
        """Save the state before an evaluation that will not end.

        Processes need not be at the same point, so nothing is exchanged.
        """
        if self.saved != runner.iter + 1:
            self._save_checkpoint(runner)

    def _save(self, runner):
        runner.logger.info(f'Saving checkpoint at {runner.iter + 1} '
                           'iterations')
        if self.sync_buffer:
            allreduce_params(runner.model.buffers())
        runner.gather_states()
        self._save_checkpoint(runner)
        self.saved = runner.iter + 1

    @master_only
    def _save_checkpoint(self, runner):
        """Save, then remove what is older than the last ones."""
        runner.save_checkpoint(
            self.out_dir, save_optimizer=self.save_optimizer, **self.args)
        if self.max_keep_ckpts <= 0:
            return
        old = [
            path for iteration, path in list_checkpoints(self.out_dir)
            if iteration <= runner.iter + 1
        ][self.max_keep_ckpts:]
        for path in old:
            with suppress(FileNotFoundError):
                os.remove(path)
        if old:
            sync_folder(self.out_dir)
