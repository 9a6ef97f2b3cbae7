"""Evaluation and prediction on test sets."""
import os.path as osp
from typing import Dict, Iterator, Tuple

import torch
from mmcv import Config
from mmseg.apis import multi_gpu_test, single_gpu_test
from mmseg.datasets import build_dataset
from mmseg.models import build_segmentor
from torch import nn

from .checkpoint import load_weights
from .config import build_checked, find_test_set
from .environment import Environment, wrap_model
from .train import build_test_loader

TRUTH_KEYS = ('ann_dirs', 'binary_truth', 'fov_dir')


def load_segmentor(model_cfg: dict,
                   checkpoint: str,
                   env: Environment,
                   logger=None) -> nn.Module:
    """Build a network for inference and load a checkpoint.

    Args:
        model_cfg (dict): The config's ``model``.
        checkpoint (str): Of ours or of the authors'.
        env (Environment): Where this process runs.
        logger (logging.Logger, optional): Told what was dropped.

    Returns:
        nn.Module: The wrapped network in evaluation mode.
    """
    model_cfg = dict(model_cfg, pretrained=None)
    model = build_checked(build_segmentor, Config(dict(model=model_cfg)).model)
    load_weights(model, checkpoint, logger)
    return wrap_model(model, env).eval()


def score_dataset(model: nn.Module, dataset, cfg: Config,
                  env: Environment) -> list:
    """Run a network over a test set, keeping only each image's sums.

    Args:
        model (nn.Module): The wrapped network.
        dataset (Dataset): A test set; :func:`check_data` first.
        cfg (Config): For the loader's workers.
        env (Environment): Where this process runs.

    Returns:
        list[dict]: What ``dataset.pre_eval`` gives, for all images; None in
        other processes than the first.
    """
    loader = build_test_loader(dataset, cfg, env)
    if not env.distributed:
        return single_gpu_test(model, loader, pre_eval=True)
    return multi_gpu_test(
        model,
        loader,
        tmpdir=osp.join(cfg.work_dir, '.collect'),
        pre_eval=True)


@torch.no_grad()
def predict_dataset(model: nn.Module, dataset, cfg: Config,
                    env: Environment) -> Iterator[Tuple[int, Dict]]:
    """Predictions of this process's share of a test set, one at a time.

    Args:
        model (nn.Module): The wrapped network.
        dataset (Dataset): A test set.
        cfg (Config): For the loader's workers.
        env (Environment): Where this process runs.

    Yields:
        tuple[int, dict[str, ndarray]]: Index of the image and its
        probabilities (C, H, W) by task name.
    """
    loader = build_test_loader(dataset, cfg, env)
    for indices, batch in zip(loader.batch_sampler, loader):
        results = model(return_loss=False, **batch)
        yield from zip(indices, results)


def build_test_set(cfg: Config, name: str = '', with_truth: bool = True):
    """The test set of a config.

    Args:
        cfg (Config): Completed by ``load_config``.
        name (str): One of ``test_sets``; '' is ``data.test``.
        with_truth (bool): Whether predictions will be scored. Otherwise
            images are enough. Default: True.

    Returns:
        Dataset: In test mode.

    Raises:
        ValueError: If the config has no such test set.
    """
    test_set = find_test_set(cfg, name) if name else cfg.data.test
    if not with_truth:
        test_set = {k: v for k, v in test_set.items() if k not in TRUTH_KEYS}
    return build_checked(build_dataset, test_set, dict(test_mode=True))
