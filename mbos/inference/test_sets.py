"""Networks on test sets: prepared images, as a pipeline gives them."""
import traceback
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from mmcv import Config, ConfigDict
from mmcv.parallel import collate
from mmseg.models import build_segmentor
from torch import nn
from torch.utils.data import Subset

from mbos.accelerate import accelerate_on_cpu
from mbos.checkpoints.loading import load_weights
from mbos.checkpoints.settings import PredictionSettings
from mbos.config import build_checked
from mbos.datasets.joint import seeded
from mbos.datasets.loader import build_test_loader
from mbos.faults import blamed_on
from mbos.runtime.environment import Environment, wrap_model

Probabilities = dict[str, np.ndarray]
"""dict[str, ndarray]: By task name, (C, H, W), float32."""
SCALES, FLIPS = (0.75, 1.0, 1.25), ('horizontal', 'vertical')  # --aug-test


def load_segmentor(model_cfg: dict,
                   checkpoint: str,
                   env: Environment,
                   cfg: Config | None = None) -> nn.Module:
    """Build the network of a config's ``model`` for inference, wrapped and in
    evaluation mode, with the weights of a checkpoint, ours or the authors'.
    ``cfg`` says whether to accelerate."""
    model_cfg = ConfigDict(model_cfg, pretrained=None)
    model = build_checked(build_segmentor, model_cfg)
    load_weights(model, checkpoint)
    accelerate_on_cpu(model, env.device, cfg)
    return wrap_model(model, env).eval()


def predict_dataset(model: nn.Module, dataset, cfg: Config,
                    env: Environment) -> Iterator[tuple[int, Probabilities]]:
    """Index and probabilities of the images in this process's share of a test
    set, one at a time."""
    mine = range(env.rank, len(dataset), env.world_size)
    loader = build_test_loader(Subset(dataset, mine), cfg, env, deal=False)
    for index, batch in zip(mine, loader):
        yield index, predict_batch(model, batch)


@torch.no_grad()
def predict_batch(model: nn.Module,
                  batch: dict,
                  tasks: Sequence[str] | None = None) -> Probabilities:
    """Probabilities of the one image of a test loader's batch, of all tasks
    or of those that are wanted."""
    result, = model(return_loss=False, tasks=tasks, **batch)
    return result


def predict_image(model: nn.Module, dataset, index: int) -> Probabilities:
    """Probabilities of one image, by one process alone: mmseg's loader makes
    all of them meet. A network in training is put back into training."""
    was_training = model.training
    try:
        return predict_batch(model.eval(), collate([dataset[index]]))
    finally:
        model.train(was_training)


def first_sample(dataset, where: str, draw: int = 0) -> dict:
    """The first sample of a dataset, so that a pipeline that does not fit
    fails at once, not in a worker process in mid-run: with an
    InvalidConfigError that says ``where`` in the config and which transform.
    ``draw`` seeds transforms."""
    try:
        with seeded((draw, )):
            return dataset[0]
    except Exception as error:
        steps = ['its first step'] + [
            type(frame.f_locals.get('self')).__name__
            for frame, _ in traceback.walk_tb(error.__traceback__)
            if frame.f_code.co_name == '__call__'
        ]
        with blamed_on(
                f'{where}: the pipeline of dataset {dataset.name!r} fails at '
                f'{steps[-1]}', 'Transforms of mmseg that read or change '
                'gt_semantic_seg do not serve, as labels are planes of several'
                ' tasks: take those of configs/_base_/datasets.'):
            raise


def predict_first(model: nn.Module,
                  datasets: Iterable,
                  where: str,
                  score: bool = False) -> None:
    """Predict, and perhaps score, the first image of each test set that has a
    pipeline of its own, or raise an InvalidConfigError on what fails. The
    network is in evaluation mode afterwards."""
    model.eval()
    by_pipeline = {
        getattr(dataset, 'pipeline_text', id(dataset)): dataset
        for dataset in datasets if len(dataset)
    }
    for dataset in by_pipeline.values():
        sample = first_sample(dataset, where)
        with blamed_on(
                f'{where}: the first image of dataset {dataset.name!r} cannot '
                'be predicted or scored as the config has it',
                'Correct its pipeline, or model.test_cfg.'):
            result = predict_batch(model, collate([sample]))
            if score:
                dataset.pre_eval([result], [0])


def augment_test_sets(cfg: Config) -> None:
    """Let the probabilities of every image of the test and validation sets be
    averaged over scales and flips; a ValueError says that a pipeline is not
    fit for that."""
    parts = [cfg.data.get('test'), cfg.data.get('val')]
    for part in [*parts, *(cfg.get('test_sets') or {}).values()]:
        for member in part.get('datasets', [part]) if part else []:
            steps = member['pipeline']
            loading = [s for s in steps if s['type'].startswith('Load')]
            member['pipeline'] = loading + PredictionSettings(steps).steps(
                SCALES, FLIPS)
