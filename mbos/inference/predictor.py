"""The Python interface: a checkpoint and photographs in, label maps out."""
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from threading import Lock

import cv2
import numpy as np
import torch
from mmcv import Config, ConfigDict
from mmseg.datasets.pipelines import Compose
from mmseg.models import build_segmentor
from mmseg.utils import get_root_logger
from torch import Tensor, nn

from mbos.accelerate import accelerate, is_wanted
from mbos.checkpoints.loading import fit_weights, read_checkpoint
from mbos.checkpoints.network import describe_network, stage_of
from mbos.checkpoints.settings import settings_meta
from mbos.config import build_checked, generator_model_cfg, load_config
from mbos.faults import first_line, naming
from mbos.models.inference import complete_test_cfg, unique_views
from mbos.zoo import DEFAULT, card_path, checkpoint_path
from .prediction import (Image, PhotographPredictor, Prediction,
                         PredictionOptions)

View = tuple[Tensor, dict]  # a network input (3, h, w) and mmseg's meta of it


def load_model(checkpoint: str = DEFAULT,
               config: str | Config | None = None,
               device: str | torch.device | None = None) -> nn.Module:
    """Load a network for prediction; mmseg's log says what was assumed.

    Args:
        checkpoint: Of either stage, ours or released by the authors, or the
            name of a network that comes with the package.
        config: The config it was trained with, if the checkpoint does not hold
            what is needed of it. Default: the published one of its stage.
        device: Default: the first GPU, or CPU where there is none.

    Returns:
        nn.Module: A segmentor in evaluation mode, on CPU accelerated unless
        the config says ``accelerate = False``, with ``tasks`` (Task by
        name) and ``settings`` (``PredictionSettings``). mmseg's
        ``inference_segmentor`` takes it too.

    A ValueError says that it is no checkpoint, or does not fit the config.
    """
    logger = get_root_logger()
    name, checkpoint = checkpoint, checkpoint_path(checkpoint)
    if name != checkpoint:
        logger.info(f'{name} comes with MBOS; what it was trained on and how '
                    f'good it is: {card_path(name)}')
    content = read_checkpoint(checkpoint)
    if isinstance(config, str):
        config = load_config(config)
    model_cfg, settings = describe_network(checkpoint, content, config, logger)
    with naming(checkpoint) if config is None else nullcontext():
        model_cfg = ConfigDict(generator_model_cfg(model_cfg), pretrained=None)
        model = build_checked(build_segmentor, model_cfg)
    state, notes = fit_weights(model, checkpoint, content)
    for note in notes:
        logger.info(f'{checkpoint}: {note}')
    model.load_state_dict(state, strict=False)
    if device is None:
        device = 'cuda:0' if torch.cuda.is_available() else 'cpu'
    try:
        device = torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f'There is no device {device} ({first_line(error)}): '
                         'use cpu, cuda or cuda:N.') from error
    model = model.to(device).eval()
    if is_wanted(device, config):
        accelerate(model)
    model.settings, model.stage = settings, stage_of(content)
    pipeline = [dict(type='LoadImageFromFile')] + settings.steps()
    build_checked(Compose, pipeline)  # before the first photograph
    # what mmseg's own functions read
    vars(model).update(settings_meta(list(model.tasks.values())))
    test = dict(pipeline=pipeline)
    model.cfg = Config(dict(model=model_cfg, data=dict(test=test)))
    return model


def predict(model: nn.Module,
            images: Image | Sequence[Image],
            probabilities: bool = True,
            **options) -> Prediction | list[Prediction]:
    """Predict a photograph, a path or RGB (H, W, 3), uint8; or a list of them,
    of any sizes, which gives a list. Probabilities take 4 bytes per class and
    pixel. ``options`` are those of :class:`PredictionOptions`. A ValueError
    says that an image is not a photograph, or an option wrong.
    """
    single = isinstance(images, Image)
    found = iterate_predictions(model, [images] if single else images,
                                PredictionOptions(**options), probabilities)
    return next(found) if single else list(found)


def iterate_predictions(model: nn.Module,
                        images: Iterable[Image],
                        options: PredictionOptions = PredictionOptions(),
                        probabilities: bool = True) -> Iterator[Prediction]:
    """As :func:`predict`, one result at a time, so that memory is bounded."""
    predictor = Predictor(model, options)
    return (predictor.predict(image, probabilities) for image in images)


class Predictor(PhotographPredictor):
    """Predicts with a network in torch, of :func:`load_model`."""

    def __init__(self, model: nn.Module, options: PredictionOptions):
        super().__init__(model.tasks, model.settings, options,
                         model.align_corners)
        self.model = model
        self.device = next(model.parameters()).device
        # a GPU works no faster for two, and its memory is small
        self.turn = nullcontext() if self.device.type == 'cpu' else Lock()
        flips = ['horizontal'] if options.flip else []
        self.pipeline = Compose(model.settings.steps(options.scales, flips))
        self.test_cfg = complete_test_cfg(model.test_cfg, options.mode,
                                          options.window, options.stride)

    def share_processor(self, number: int) -> None:
        """Give each thread that predicts its part of the cores: torch's own
        threads wait for each other. ``OMP_NUM_THREADS`` is left as it is."""
        if 'OMP_NUM_THREADS' not in os.environ:
            torch.set_num_threads(max(1, torch.get_num_threads() // number))

    def make_input(self, square: np.ndarray) -> list[View]:
        """A view for each scale and flip of the test pipeline."""
        image = cv2.cvtColor(square, cv2.COLOR_RGB2BGR)  # as mmseg's are
        sizes = ('img_shape', 'ori_shape', 'pad_shape')
        results = self.pipeline(
            dict.fromkeys(sizes, image.shape) | dict(
                img=image, img_fields=['img'], scale_factor=1.0, dataset='',
                filename=None, ori_filename=None))  # yapf: disable
        images, metas = ([part.data for part in results[key]]
                         for key in ('img', 'img_metas'))
        return list(zip(*unique_views(images, metas)))

    @torch.no_grad()
    def run(self, inputs: list[View]) -> dict[str, list[np.ndarray]]:
        """Run the network, one view after the other."""
        found = defaultdict(list)
        for image, meta in inputs:
            batch = image[None].to(self.device)
            with self.turn:
                logits = self.model.view_logits(batch, [meta], self.test_cfg)
                logits = logits.float().cpu()
            for name, of_task in self.model.split(logits).items():
                found[name].append(of_task[0].numpy())
        return found
