"""Networks on test sets: prepared images, as a pipeline gives them."""
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from mmcv import Config
from mmcv.parallel import collate
from mmseg.models import build_segmentor
from torch import nn
from torch.utils.data import Subset

from mbos.accelerate import accelerate_on_cpu
from mbos.checkpoints.loading import load_weights
from mbos.config import build_checked
from mbos.datasets.loader import build_test_loader
from mbos.runtime.environment import Environment, wrap_model

Probabilities = dict[str, np.ndarray]
"""dict[str, ndarray]: By task name, (C, H, W), float32."""


def load_segmentor(model_cfg: dict,
                   checkpoint: str,
                   env: Environment,
                   logger=None,
                   cfg: Config | None = None) -> nn.Module:
    """Build a network for inference and load a checkpoint.

    Args:
        model_cfg (dict): The config's ``model``.
        checkpoint (str): Of ours or of the authors'.
        env (Environment): Where this process runs.
        logger (logging.Logger, optional): Logs what was dropped.
        cfg (Config, optional): Of the run, for ``accelerate``.

    Returns:
        nn.Module: The wrapped network in evaluation mode.
    """
    model_cfg = dict(model_cfg, pretrained=None)
    model = build_checked(build_segmentor, Config(dict(model=model_cfg)).model)
    load_weights(model, checkpoint, logger)
    accelerate_on_cpu(model, env.device, cfg)
    return wrap_model(model, env).eval()


@torch.no_grad()
def predict_dataset(model: nn.Module, dataset, cfg: Config,
                    env: Environment) -> Iterator[tuple[int, Probabilities]]:
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
    mine = range(env.rank, len(dataset), env.world_size)
    loader = build_test_loader(Subset(dataset, mine), cfg, env, deal=False)
    for index, batch in zip(mine, loader):
        yield index, predict_batch(model, batch)


@torch.no_grad()
def predict_batch(model: nn.Module,
                  batch: dict,
                  tasks: Sequence[str] | None = None) -> Probabilities:
    """Probabilities of the one image of a test loader's batch.

    Args:
        model (nn.Module): The wrapped network, in evaluation mode.
        batch (dict): As ``build_test_loader`` gives them.
        tasks (list[str], optional): Those that are wanted. Default: all.
    """
    options = {} if tasks is None else dict(tasks=tuple(tasks))
    result, = model(return_loss=False, **batch, **options)
    return result


def predict_image(model: nn.Module, dataset, index: int) -> Probabilities:
    """Probabilities of one image, without a loader.

    mmseg's loader makes all processes meet; this runs in one of them. A
    network in training is put back into training.

    Args:
        model (nn.Module): The wrapped network.
        dataset (Dataset): A test set.
        index (int): Position of the image.
    """
    was_training = model.training
    model.eval()
    try:
        batch = collate([dataset[index]], samples_per_gpu=1)
        return predict_batch(model, batch)
    finally:
        model.train(was_training)
