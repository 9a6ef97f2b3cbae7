"""Parts of runs for tests; configs name them by custom_imports."""
import os
import os.path as osp
import signal
import sys
import time

import torch
from mmcv.runner import HOOKS, Hook
from mmcv.runner.dist_utils import get_dist_info
from mmseg.datasets import DATASETS

from mbos.datasets import PartialLabelDataset


def _raise():
    raise RuntimeError('the fault of this process')


ENDS = dict(
    exception=_raise,
    kill=lambda: os.kill(os.getpid(), signal.SIGKILL),
    exit=lambda: sys.exit(3),
    exit_well=lambda: sys.exit(0),
    exit_hard=lambda: os._exit(0),
)


def fail(how, rank):
    """End this process in some way, if it is the one of this rank."""
    if get_dist_info()[0] == rank:
        print(f'fails at {time.time()}', flush=True)
        ENDS[how]()


@HOOKS.register_module()
class SaveRankHook(Hook):
    """Saves the weights that each process has at the end of the training."""

    def after_run(self, runner):
        path = osp.join(runner.work_dir, f'rank_{runner.rank}.pth')
        torch.save(runner.model.module.state_dict(), path)


@HOOKS.register_module()
class FailingHook(Hook):
    """Fails in an iteration of the training."""

    def __init__(self, how, rank, iteration=1):
        self.fault, self.iteration = (how, rank), iteration

    def before_train_iter(self, runner):
        if runner.iter == self.iteration:
            fail(*self.fault)


@DATASETS.register_module()
class FailingDataset(PartialLabelDataset):
    """Fails when it is checked or when an image is scored."""

    def __init__(self, how, rank, where, **kwargs):
        self.fault, self.where = (how, rank), where
        super().__init__(**kwargs)

    def image_path(self, idx):
        if self.where == 'check':
            fail(*self.fault)
        return super().image_path(idx)

    def pre_eval(self, preds, indices):
        if self.where == 'scoring':
            fail(*self.fault)
        return super().pre_eval(preds, indices)
