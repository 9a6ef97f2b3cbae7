"""The Python interface: a checkpoint and photographs in, label maps out.

    from mbos.apis import load_model, predict
    model = load_model('iter_60000.pth')
    result = predict(model, 'eye.jpg')
    result.labels['vessel']         # (H, W), uint8, as the photograph
"""
import logging
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import (Dict, Iterable, Iterator, List, Mapping, Optional,
                    Sequence, Union)

import numpy as np
import torch
from mmcv import Config
from mmseg.models import build_segmentor
from mmseg.utils import get_root_logger
from torch import nn

from mbos.accelerate import accelerate, is_wanted
from mbos.checkpoints.loading import fit_weights, read_checkpoint
from mbos.checkpoints.settings import (RULES, Postprocessing,
                                       PredictionSettings, published_config,
                                       settings_from_meta, settings_meta,
                                       settings_of, stage_of)
from mbos.checkpoints.stored_network import building, stored_model_cfg
from mbos.config import build_checked, generator_model_cfg, load_config
from mbos.io.field_of_view import FieldOfView
from mbos.io.photographs import Photograph, read_photograph
from mbos.models.inference import complete_test_cfg
from mbos.tasks import Task, Threshold
from mbos.zoo import DEFAULT, checkpoint_path
from .geometry import PreparedPhotograph, prepare_photograph
from .postprocessing import postprocess
from .restoring import TaskMaps
from .views import Views, make_views, run_views

Image = Union[str, np.ndarray]


@dataclass(frozen=True)
class PredictionOptions:
    """What may differ from one prediction to the next.

    Attributes:
        scales (tuple[float]): Factors of the size that the network was tested
            at; predicted is the mean over them. Default: (), only that size.
        flip (bool): Whether the mirrored photograph is predicted too.
        mode (str, optional): ``'whole'`` image or ``'slide'``, a sliding
            window. Default: as the model's ``test_cfg``.
        window (int, optional): Side of the window in pixels of the scaled
            photograph. Default: as the model's ``test_cfg``, or 512.
        stride (int, optional): Between two windows. Default: as the model's
            ``test_cfg``, or two thirds of the window.
        threshold (float | dict, optional): Probability that a class must
            exceed: a number for all, or by task name, a number or numbers by
            class. Default: as the checkpoint says.
        crop (str, optional): ``'fov'``, ``'pad'`` or ``'none'``, as
            :class:`PredictionSettings`. Default: as the checkpoint says.
        postprocess (bool | Sequence[str]): Which of the network's rules of
            :class:`Postprocessing` are applied: all, none, or these: ``rim``,
            ``one_object``, ``specks``. Default: True.
    """

    scales: Sequence[float] = ()
    flip: bool = False
    mode: Optional[str] = None
    window: Optional[int] = None
    stride: Optional[int] = None
    threshold: Union[float, Mapping[str, Threshold], None] = None
    crop: Optional[str] = None
    postprocess: Union[bool, Sequence[str]] = True

    def __post_init__(self):
        if self.mode not in (None, 'whole', 'slide'):
            raise ValueError(f'Unknown mode {self.mode!r}: use whole, slide.')
        if any(not 0 < s <= 8 for s in self.scales):
            raise ValueError(f'scales are {self.scales}, expected factors '
                             'above 0 and up to 8.')
        for name in ('window', 'stride'):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f'{name} is {value}, expected pixels.')
        if not isinstance(self.postprocess, bool):
            unknown = sorted(set(self.postprocess) - set(RULES))
            if unknown:
                raise ValueError(f'Unknown postprocessing {unknown[0]!r}: '
                                 f'use {", ".join(RULES)}.')

    def threshold_of(self, task: Task,
                     settings: PredictionSettings) -> Threshold:
        """What the classes of a task must exceed: a number, or by class.

        Raises:
            ValueError: If a class is unknown, or no probability is given.
        """
        given, stored = self.threshold, settings.threshold(task.name)
        if isinstance(given, Mapping):
            given = given.get(task.name)
        if given is None:
            given = stored
        elif isinstance(given, Mapping):  # other classes as stored
            given = {**task.thresholds(stored), **given}
        by_class = task.thresholds(given)
        return by_class if isinstance(given, Mapping) else given

    def postprocessing(self, settings: PredictionSettings) -> Postprocessing:
        """What is taken out of label maps."""
        if isinstance(self.postprocess, bool):
            return (settings.postprocessing
                    if self.postprocess else Postprocessing())
        return settings.postprocessing.only(self.postprocess)

    def test_cfg(self, own: Mapping) -> dict:
        """The model's ``test_cfg`` with what is asked for here."""
        return complete_test_cfg(own, self.mode, self.window, self.stride)


@dataclass
class Prediction:
    """What a network says about a photograph, in the photograph's geometry.

    H and W are the height and the width of the photograph when upright, which
    is how EXIF says that it should be shown.

    Attributes:
        labels (dict[str, ndarray]): By task name, label map (H, W), uint8: 0
            background, k the task's class number k. For nested tasks, the
            innermost class that holds the pixel: 1 disc rim, 2 cup.
        probabilities (dict[str, ndarray]): By task name, (C, H, W), float32,
            one plane per class in the order of the label values; 0 outside
            the crop to the field of view. Empty if they were not asked for.
        field_of_view (FieldOfView): ``box`` (left, top, width, height),
            ``mask`` (H, W), uint8, and ``certain``, False if nothing in the
            photograph looks like the retina of an eye.
        notes (tuple[str]): What was done to read the photograph.
    """

    labels: Dict[str, np.ndarray]
    probabilities: Dict[str, np.ndarray]
    field_of_view: FieldOfView
    notes: Sequence[str] = field(default_factory=tuple)


def load_model(checkpoint: str = DEFAULT,
               config: Optional[Union[str, Config]] = None,
               device: Optional[Union[str, torch.device]] = None,
               logger: Optional[logging.Logger] = None) -> nn.Module:
    """Load a network for prediction.

    Args:
        checkpoint (str): Of either stage, ours or released by the authors, or
            the name of a network that comes with the package. Default:
            'fundus-light', which finds vessels, lesions, disc and cup.
        config (str | Config, optional): The config it was trained with. Not
            needed: checkpoints tell their network and their preprocessing;
            where one does not, as those of the authors, the published config
            of its stage is taken, and said.
        device (str | torch.device, optional): Default: the first GPU, or CPU
            where there is none.
        logger (logging.Logger, optional): Told what was assumed or dropped.
            Default: mmseg's.

    Returns:
        nn.Module: A segmentor in evaluation mode, on CPU accelerated unless
        the config says ``accelerate = False``, with ``tasks`` (Task by
        name) and ``settings`` (:class:`PredictionSettings`). mmseg's
        ``inference_segmentor`` and ``show_result`` take it too.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no checkpoint, or does not fit the config.
    """
    logger = logger or get_root_logger()
    checkpoint = checkpoint_path(checkpoint)
    content = read_checkpoint(checkpoint)
    if isinstance(config, str):
        config = load_config(config)
    model_cfg, settings, stage = _find_settings(checkpoint, content, config,
                                                logger)
    with building(checkpoint) if config is None else nullcontext():
        model_cfg = dict(generator_model_cfg(model_cfg), pretrained=None)
        model_cfg = Config(dict(model=model_cfg)).model
        model = build_checked(build_segmentor, model_cfg)
    state, notes = fit_weights(model, checkpoint, content)
    for note in notes:
        logger.info(f'{checkpoint}: {note}')
    model.load_state_dict(state, strict=False)
    device = _device(device)
    model = model.to(device).eval()
    if is_wanted(device, config):
        accelerate(model)
    model.settings, model.stage = settings, stage
    # what mmseg's own functions read
    meta = settings_meta(list(model.tasks.values()))
    model.CLASSES, model.PALETTE = meta['CLASSES'], meta['PALETTE']
    pipeline = [dict(type='LoadImageFromFile')] + settings.steps()
    model.cfg = Config(
        dict(model=model_cfg, data=dict(test=dict(pipeline=pipeline))))
    return model


def _device(device) -> torch.device:
    """The device that is asked for, or the best there is."""
    if device is None:
        device = 'cuda:0' if torch.cuda.is_available() else 'cpu'
    try:
        device = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f'Unknown device {device!r}: use cpu, cuda or '
                         'cuda:N.') from error
    if device.type == 'cuda':
        gpus = torch.cuda.device_count()
        if (device.index or 0) >= gpus:
            raise ValueError(f'There is no device {device}: this machine '
                             f'shows {gpus} GPU(s) to torch; use cpu.')
    return device


def _find_settings(path, content, config, logger):
    """Network, settings and stage: of the config, the checkpoint, or the
    published ones."""
    meta = content['meta']
    if config is not None:
        stage = getattr(config.model, 'stage',
                        None) or ('adversarial' if config.model['type']
                                  == 'AdversarialSegmentor' else 'multi_task')
        told = None if config.data.get('test') else settings_from_meta(meta)
        return config.model, told or settings_of(config), stage
    stage = stage_of(content)
    model_cfg = stored_model_cfg(path, content)
    settings = settings_from_meta(meta)
    if model_cfg is None:
        logger.info(f'{path}: tells no network; taken to be the published one '
                    f'of stage {stage}')
        model_cfg = published_config(stage).model
    if settings is None:
        settings = settings_of(published_config(stage))
        norm = settings.normalization
        logger.info(
            f'{path}: tells no preprocessing; the published one is taken: '
            f'scaled into {settings.image_scale}, mean {norm["mean"]}, std '
            f'{norm["std"]}, threshold 0.5. Give the config if it was trained '
            'otherwise.')
    return model_cfg, settings, stage


def predict(model: nn.Module,
            images: Union[Image, Sequence[Image]],
            probabilities: bool = True,
            batch_size: int = 1,
            **options) -> Union[Prediction, List[Prediction]]:
    """Predict photographs.

    Args:
        model (nn.Module): Of :func:`load_model`.
        images (str | ndarray | list): A path, or an RGB photograph (H, W, 3),
            uint8; or a list of these, of any sizes.
        probabilities (bool): Whether to keep probabilities, which take 4
            bytes per class and pixel. Default: True.
        batch_size (int): How many photographs go through the network
            together. Default: 1.
        **options: As :class:`PredictionOptions`: ``scales``, ``flip``,
            ``mode``, ``window``, ``stride``, ``threshold``, ``crop``.

    Returns:
        Prediction | list[Prediction]: For one image, or for a list.

    Raises:
        ValueError: If an image is not a photograph, or an option is wrong.
    """
    single = isinstance(images,
                        (str, np.ndarray)) or hasattr(images, '__fspath__')
    wanted = [images] if single else list(images)
    found = list(
        iterate_predictions(model, wanted, PredictionOptions(**options),
                            probabilities, batch_size))
    return found[0] if single else found


def iterate_predictions(model: nn.Module,
                        images: Iterable[Image],
                        options: PredictionOptions = PredictionOptions(),
                        probabilities: bool = True,
                        batch_size: int = 1) -> Iterator[Prediction]:
    """As :func:`predict`, one result at a time, so that memory is bounded."""
    if batch_size < 1:
        raise ValueError(f'batch_size is {batch_size}, expected at least 1.')
    predictor = Predictor(model, options)
    batch = []
    for image in images:
        batch.append(predictor.prepare(as_photograph(image)))
        if len(batch) == batch_size:
            yield from predictor.predict_batch(batch, probabilities)
            batch = []
    yield from predictor.predict_batch(batch, probabilities)


def as_photograph(image: Image) -> Photograph:
    """A photograph from a path or an array.

    Raises:
        ValueError: If it is neither, or of another shape or kind.
    """
    if isinstance(image, str) or hasattr(image, '__fspath__'):
        return read_photograph(str(image))
    if not isinstance(image, np.ndarray):
        raise ValueError('Expected a path or a NumPy array, got '
                         f'{type(image).__name__}.')
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 \
            or not image.size:
        raise ValueError(
            'Expected an RGB photograph of shape (H, W, 3) and dtype uint8, '
            f'got shape {image.shape} and {image.dtype}; give the path '
            'instead to have other kinds converted.')
    return Photograph(image)


class Predictor:
    """Photographs in, label maps out: prepares, runs and restores.

    The three steps are separate so that reading, the network and writing can
    go on at the same time.

    Args:
        model (nn.Module): Of :func:`load_model`.
        options (PredictionOptions): What differs from the model's settings.

    Raises:
        ValueError: If the options do not fit the model.
    """

    def __init__(self,
                 model: nn.Module,
                 options: PredictionOptions = PredictionOptions()):
        settings: PredictionSettings = model.settings
        self.model = model
        self.tasks: dict[str, Task] = model.tasks
        self.crop = options.crop or settings.crop
        self.steps = settings.steps(options.scales, options.flip)
        self.test_cfg = options.test_cfg(model.test_cfg)
        self.thresholds = {
            name: options.threshold_of(task, settings)
            for name, task in self.tasks.items()
        }
        self.postprocessing = options.postprocessing(settings)

    def prepare(self,
                photograph: Photograph) -> tuple[PreparedPhotograph, Views]:
        """Find the field of view and make the network's input."""
        prepared, square = prepare_photograph(photograph, self.crop)
        return prepared, make_views(square, self.steps)

    def run(self, views: Sequence[Views]) -> list[dict[str, list]]:
        """Run the network on several photographs.

        Returns:
            list[dict[str, list[ndarray]]]: Per photograph, by task name, the
            logits of each view, (C, h, w), not mirrored any more.
        """
        results = []
        for logits in run_views(self.model, views, self.test_cfg):
            by_task = {name: [] for name in self.tasks}
            for view in logits:
                for name, part in self.model.split(view[None]).items():
                    by_task[name].append(part[0].numpy())
            results.append(by_task)
        return results

    def restore(
        self,
        task: str,
        logits: Sequence[np.ndarray],
        prepared: PreparedPhotograph,
        with_probabilities: bool = True
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Put the prediction of a task back into the photograph.

        Returns:
            tuple[ndarray, ndarray | None]: Labels (H, W), uint8,
            postprocessed, and probabilities (C, H, W), float32, as the
            network gives them, if they are wanted.
        """
        maps = TaskMaps(self.tasks[task], logits, prepared.geometry,
                        self.model.align_corners)
        threshold = self.thresholds[task]
        prob = None
        if with_probabilities:
            labels, prob = maps.labels_and_probabilities(threshold)
        else:
            labels = maps.labels(threshold)
        postprocess(self.tasks[task], labels, maps if prob is None else prob,
                    prepared.field_of_view, self.postprocessing)
        return labels, prob

    def predict_batch(self,
                      batch: Sequence[tuple[PreparedPhotograph, Views]],
                      probabilities: bool = True) -> Iterator[Prediction]:
        """Predict photographs that :meth:`prepare` has prepared."""
        results = self.run([views for _, views in batch])
        for (prepared, _), logits in zip(batch, results):
            labels, prob = {}, {}
            for name in self.tasks:
                labels[name], values = self.restore(name, logits[name],
                                                    prepared, probabilities)
                if values is not None:
                    prob[name] = values
            yield Prediction(labels, prob, prepared.field_of_view,
                             prepared.notes)
