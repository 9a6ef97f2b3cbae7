"""What prediction needs besides weights; it travels in the checkpoint.

Training writes these settings into the checkpoint's meta, so that nobody who
uses a model has to know its scale, its normalisation or its thresholds.

mmcv is imported where a config is read: prediction with a network in another
runtime reads settings without torch.
"""
from __future__ import annotations
import copy
import numbers
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING

from mbos.faults import InvalidConfigError, blamed_on
from mbos.tasks import Task, Threshold, build_tasks

if TYPE_CHECKING:
    from mmcv import Config

META_KEY = 'mbos_prediction'
AUGMENTATION = 'MultiScaleFlipAug'
CROPS = ('fov', 'pad', 'none')
DEFAULT_THRESHOLD = 0.5
PUBLISHED_CONFIGS = dict(
    multi_task='configs/_multi_task_/upernet_swin_tiny_patch4_window7_512x512_'
    '40k_multi_pretrain_224x224_1K_group_idrid_ddr_refuge.py',
    adversarial='configs/_multi_gan_/gan_bdice_vessel_lesion_OD_idrid_ddr_'
    'refuge_semi_OD_0.1_0.05_60k_128_group_window_size16.py')
"""dict[str, str]: The published config of each stage."""
STAGE2_NAMES = ('generator.', 'discriminators.',
                'decode_head.cross_task_attention.')


@dataclass(frozen=True)
class Postprocessing:
    """What prediction takes out of label maps.

    Attributes:
        rim (float | None): Nothing is found outside the field of view, nor
            this close to its edge, a share of its diameter. None: anywhere.
        one_object (list[str]): Tasks with one object in a photograph, of
            which the most probable one is kept: optic disc and cup.
        specks (dict[str, float | dict[str, float]]): By task name, for all
            classes or by class: parts below this share of the field of view's
            area are removed.
    """

    rim: float | None = None
    one_object: list[str] = field(default_factory=list)
    specks: dict[str, float | dict[str, float]] = field(default_factory=dict)

    def __post_init__(self):
        shares = {'rim': self.rim or 0}
        for task, given in self.specks.items():
            by_class = given if isinstance(given, dict) else {'*': given}
            shares.update({
                f'specks.{task}.{c}': v
                for c, v in by_class.items()
            })
        for name, value in shares.items():
            if not isinstance(value, numbers.Real) or not 0 <= value < 0.5:
                raise ValueError(f'prediction.postprocessing.{name} is '
                                 f'{value!r}, expected a share, at least 0 '
                                 'and below 0.5.')

    def smallest(self, task: str, name: str) -> float:
        """The share of the field of view below which parts are removed."""
        given = self.specks.get(task, 0)
        return given.get(name, 0) if isinstance(given, dict) else given

    def only(self, rules: Collection[str]) -> 'Postprocessing':
        """Some of the rules, given by name."""
        return Postprocessing(**{n: getattr(self, n) for n in rules})


RULES = tuple(f.name for f in fields(Postprocessing))
"""tuple[str]: Names of what postprocessing does."""


@dataclass(frozen=True)
class PredictionSettings:
    """How a photograph becomes input, and probabilities become labels.

    Attributes:
        pipeline (list[dict]): The test pipeline, as mmseg's configs have it:
            loading, then ``MultiScaleFlipAug``.
        crop (str): ``'fov'`` crops to the field of view and pads to a square,
            ``'pad'`` only pads, ``'none'`` takes the photograph as it comes.
        thresholds (dict[str, float | dict[str, float]]): By task name, the
            probability to exceed, of all classes or by class.
        postprocessing (Postprocessing): What is taken out of label maps.
            Default: nothing.
    """

    pipeline: list[dict]
    crop: str = 'fov'
    thresholds: dict[str, Threshold] = field(default_factory=dict)
    postprocessing: Postprocessing = field(default_factory=Postprocessing)

    def __post_init__(self):
        if self.crop not in CROPS:
            raise ValueError(f'Unknown crop {self.crop!r}: use one of '
                             f'{", ".join(CROPS)}.')
        for task, given in self.thresholds.items():
            values = given if isinstance(given, dict) else {'': given}
            for name, value in values.items():
                if not isinstance(value, numbers.Real) or not 0 <= value < 1:
                    raise ValueError(
                        f'The threshold of {task!r} {name} is {value!r}, '
                        'expected at least 0 and below 1.')
        if not any(t['type'] == AUGMENTATION for t in self.pipeline):
            raise ValueError(
                f'The test pipeline has no {AUGMENTATION}, which holds the '
                'size that photographs are scaled to; write it as '
                'configs/_base_/datasets/fundus_stage1.py does.')

    @property
    def augmentation(self) -> dict:
        """dict: The pipeline's ``MultiScaleFlipAug``."""
        return next(t for t in self.pipeline if t['type'] == AUGMENTATION)

    @property
    def image_scale(self) -> tuple[int, int] | None:
        """tuple[int, int] | None: Width and height that photographs are
        scaled into; None if they keep their size."""
        scale = self.augmentation.get('img_scale')
        if scale and not isinstance(scale[0], (int, float)):
            scale = scale[0]
        return tuple(scale) if scale else None

    @property
    def normalization(self) -> dict:
        """dict: ``mean``, ``std`` (of 0..255) and ``to_rgb``."""
        for step in self.augmentation['transforms']:
            if step['type'] == 'Normalize':
                return {k: v for k, v in step.items() if k != 'type'}
        return dict(mean=[0.] * 3, std=[1.] * 3, to_rgb=True)

    def threshold(self, task: str) -> Threshold:
        """The probability that a class of a task must exceed."""
        return self.thresholds.get(task, DEFAULT_THRESHOLD)

    def steps(self,
              scales: Sequence[float] | None = None,
              flip: bool = False) -> list[dict]:
        """The pipeline after loading, with test-time augmentation.

        Args:
            scales (Sequence[float], optional): Factors of the image scale; the
                mean over them is predicted. Default: as the pipeline says.

        Raises:
            ValueError: If scales are asked of a pipeline that keeps sizes.
        """
        return [
            self._augmented(step, scales, flip)
            if step['type'] == AUGMENTATION else step
            for step in copy.deepcopy(self.pipeline)
            if not step['type'].startswith('Load')
        ]

    def _augmented(self, step, scales, flip) -> dict:
        scale = step.get('img_scale')
        if scales:
            if self.image_scale is None:
                raise ValueError('The test pipeline keeps the size of images, '
                                 'so there is nothing to scale by `scales`.')
            step['img_scale'] = [
                tuple(max(1, round(side * s)) for side in self.image_scale)
                for s in scales
            ]
            step.pop('img_ratios', None)
        elif scale:  # a checkpoint or a JSON file turns tuples into lists
            many = not isinstance(scale[0], (int, float))
            step['img_scale'] = [tuple(s)
                                 for s in scale] if many else tuple(scale)
        if flip:
            step['flip'] = True
            if not any(t['type'] == 'RandomFlip' for t in step['transforms']):
                after = [i for i, t in enumerate(step['transforms'], 1)
                         if t['type'] == 'Resize']  # yapf: disable
                step['transforms'].insert(
                    max(after, default=0), dict(type='RandomFlip'))
        return step


def settings_of(cfg: Config) -> PredictionSettings:
    """The prediction settings of a config.

    Args:
        cfg (Config): Completed by ``load_config``. ``data.test`` gives the
            pipeline and the threshold; a top-level ``prediction`` may set
            ``crop``, ``thresholds`` and ``pipeline``.

    Raises:
        InvalidConfigError: If it holds none.
    """
    from mbos.config import member_datasets
    own = _plain(cfg.get('prediction') or {})
    test = cfg.data.get('test') or {}
    if not test and not own.get('pipeline'):
        raise InvalidConfigError(
            'data.test is missing, which says how photographs are prepared.')
    with blamed_on(
            'data.test or prediction do not say how photographs are prepared',
            'Write data.test as configs/_base_/datasets does.'):
        test = member_datasets(test[0] if isinstance(test, list) else test)[0]
        common = test.get('threshold', DEFAULT_THRESHOLD)
        tasks = build_tasks(cfg.model.tasks)
        thresholds = {task.name: common for task in tasks}
        thresholds.update(own.get('thresholds') or {})
        return PredictionSettings(
            pipeline=own.get('pipeline') or _plain(test['pipeline']),
            crop=own.get('crop', 'fov'),
            thresholds=thresholds,
            postprocessing=_postprocessing(own))


def _postprocessing(given: dict) -> Postprocessing:
    rules = dict(given.get('postprocessing') or {})
    unknown = sorted(set(rules) - set(RULES))
    if unknown:
        raise ValueError(f'prediction.postprocessing has no {unknown[0]!r}: '
                         f'there are {", ".join(RULES)}.')
    return Postprocessing(**rules)


def find_settings(cfg: Config, logger=None) -> PredictionSettings | None:
    """The prediction settings of a config, None if it has none.

    For training, which must not fail because a config has no test pipeline
    that prediction can use.

    Raises:
        InvalidConfigError: If ``prediction`` or ``data.test`` are wrong.
    """
    if cfg.data.get('test') is None:
        return None
    try:
        return settings_of(cfg)
    except InvalidConfigError:
        raise
    except ValueError as error:
        if cfg.get('prediction'):
            raise InvalidConfigError(f'prediction: {error}') from error
        from mmcv.utils import print_log
        print_log(
            f'Checkpoints will not say how to prepare photographs: {error}',
            logger)
        return None


def settings_meta(tasks: Sequence[Task],
                  settings: PredictionSettings | None = None) -> dict:
    """Entries of a checkpoint's meta, in plain types.

    ``CLASSES`` and ``PALETTE`` are what mmseg's ``init_segmentor`` reads.
    """
    meta = dict(
        CLASSES=[f'{t.name}.{c}' for t in tasks for c in t.classes],
        PALETTE=[list(c) for t in tasks for c in t.colours])
    if settings is not None:
        meta[META_KEY] = asdict(settings)
    return meta


def settings_from_meta(meta: dict) -> PredictionSettings | None:
    """The prediction settings of a checkpoint; None if it is an old one."""
    stored = meta.get(META_KEY)
    if not stored:
        return None
    try:
        settings = PredictionSettings(
            **dict(stored, postprocessing=_postprocessing(stored)))
        for flip in (False, True):
            settings.steps((1.0, ) if settings.image_scale else None, flip)
        return settings
    except Exception as error:  # whoever wrote it may provoke any of them
        raise ValueError(
            f'The checkpoint holds prediction settings that this version '
            f'does not know ({error}): update, or give the config '
            'that it was trained with.') from error


def stage_of(content: dict) -> str:
    """The stage of a checkpoint, ours or the authors'.

    Returns:
        str: ``multi_task`` (stage 1) or ``adversarial`` (stage 2).
    """
    stage = content['meta'].get('mbos_stage')
    if isinstance(stage, str) and stage in PUBLISHED_CONFIGS:
        return stage
    stage2 = any(
        name.startswith(STAGE2_NAMES) for name in content['state_dict'])
    return 'adversarial' if stage2 else 'multi_task'


def published_config(stage: str) -> Config:
    """The published config of a stage, a key of ``PUBLISHED_CONFIGS``."""
    from mbos.config import load_config
    return load_config(PUBLISHED_CONFIGS[stage])


def _plain(value):
    """A part of a config as built-in dicts and lists, copied."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
