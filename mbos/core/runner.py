"""An iteration-based runner whose checkpoints are whole and say who made them.
"""
import os
import os.path as osp
from typing import Optional

import torch
from mmcv.runner import (HOOKS, RUNNERS, CheckpointHook, IterBasedRunner,
                         weights_to_cpu)

from .optimizers import as_dict


def save_atomically(content: dict, path: str) -> None:
    """Write a checkpoint so that its name never stands for half a file.

    Args:
        content (dict): What to save.
        path (str): The file.
    """
    os.makedirs(osp.dirname(osp.abspath(path)), exist_ok=True)
    temporary = f'{path}.{os.getpid()}.tmp'
    try:
        with open(temporary, 'wb') as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        if osp.exists(temporary):
            os.remove(temporary)


@RUNNERS.register_module()
class CheckedIterRunner(IterBasedRunner):
    """mmcv's runner, with atomic checkpoints that count iterations right.

    mmcv's stores an iteration less than were done, so that a resumed run
    repeats one; here ``meta['iter']`` is the number of finished iterations.
    """

    def save_checkpoint(self,
                        out_dir: str,
                        filename_tmpl: str = 'iter_{}.pth',
                        meta: Optional[dict] = None,
                        save_optimizer: bool = True,
                        create_symlink: bool = True) -> None:
        """Write ``out_dir/iter_<finished iterations>.pth``.

        Args:
            out_dir (str): The folder.
            filename_tmpl (str): Name with a place for the iteration.
            meta (dict, optional): Added to the runner's own.
            save_optimizer (bool): Whether to keep the optimizers' states.
            create_symlink (bool): Whether ``latest.pth`` shall point to it.
        """
        done = self.iter + 1
        meta = {
            **(meta or {}),
            **(self.meta or {}), 'epoch': self.epoch + 1,
            'iter': done
        }
        model = getattr(self.model, 'module', self.model)
        content = dict(
            meta=meta, state_dict=weights_to_cpu(model.state_dict()))
        if save_optimizer:
            content['optimizer'] = {
                name: optimizer.state_dict()
                for name, optimizer in as_dict(self.optimizer).items()
            }
        name = filename_tmpl.format(done)
        save_atomically(content, osp.join(out_dir, name))
        if create_symlink:
            link = osp.join(out_dir, 'latest.pth')
            temporary = f'{link}.{os.getpid()}.tmp'
            os.symlink(name, temporary)
            os.replace(temporary, link)

    def resume(self,
               checkpoint: str,
               resume_optimizer: bool = True,
               map_location='cpu') -> None:
        """Go on from a checkpoint of :meth:`save_checkpoint`.

        Args:
            checkpoint (str): The file.
            resume_optimizer (bool): Whether to load the optimizers' states.
            map_location (str | Callable): As ``torch.load``.
        """
        content = torch.load(
            checkpoint, map_location=map_location, weights_only=True)
        model = getattr(self.model, 'module', self.model)
        model.load_state_dict(content['state_dict'])
        self._iter = self._inner_iter = content['meta']['iter']
        self._epoch = content['meta']['epoch'] - 1
        messages = content['meta'].get('hook_msgs')
        if self.meta is not None and messages:
            self.meta['hook_msgs'] = messages
        if resume_optimizer:
            for name, optimizer in as_dict(self.optimizer).items():
                optimizer.load_state_dict(content['optimizer'][name])
        self.logger.info(f'resumed from {checkpoint}, iteration {self.iter}')


@HOOKS.register_module()
class SubfolderCheckpointHook(CheckpointHook):
    """mmcv's checkpoint hook, writing into a folder of the work directory.

    Args:
        subfolder (str): Its name, such as ``ckpt``; '' is the work directory
            itself. Default: ''.
        **kwargs: As mmcv's ``CheckpointHook``.
    """

    def __init__(self, subfolder: str = '', **kwargs):
        super().__init__(**kwargs)
        self.subfolder = subfolder

    def before_run(self, runner):
        """Settle where checkpoints go."""
        super().before_run(runner)
        self.out_dir = osp.join(runner.work_dir, self.subfolder)
