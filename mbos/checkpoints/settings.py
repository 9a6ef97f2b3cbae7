"""What prediction needs besides weights; it travels in the checkpoint.

Training writes these settings into the checkpoint's meta, so that nobody who
uses a model has to know its scale, its normalisation or its thresholds. They
are read without torch and mmcv, for prediction in another runtime.
"""
from __future__ import annotations
import numbers
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING

from mbos.faults import blamed_on
from mbos.tasks import Task, Threshold, build_tasks

if TYPE_CHECKING:
    from mmcv import Config

META_KEY = 'mbos_prediction'
AUGMENTATION = 'MultiScaleFlipAug'
CROPS = ('fov', 'pad', 'none')
DEFAULT_THRESHOLD = 0.5


def _check(name: str, given: Threshold, limit: float) -> None:
    """Refuse all but numbers, perhaps by class, from 0 to below a limit."""
    for value in given.values() if isinstance(given, dict) else [given]:
        if not isinstance(value, numbers.Real) or not 0 <= value < limit:
            raise ValueError(f'{name} is {given!r}, expected at least 0 and '
                             f'below {limit:g}.')


@dataclass(frozen=True)
class Postprocessing:
    """What prediction takes out of label maps (docs/prediction.md).

    ``rim`` is a share of the field of view's diameter, None for no rule;
    ``one_object`` names tasks; ``specks`` are shares of the field of view's
    area by task name, of all classes or by class.
    """

    rim: float | None = None
    one_object: list[str] = field(default_factory=list)
    specks: dict[str, float | dict[str, float]] = field(default_factory=dict)

    def __post_init__(self):
        _check('prediction.postprocessing.rim', self.rim or 0, 0.5)
        for task, given in self.specks.items():
            _check(f'prediction.postprocessing.specks.{task}', given, 0.5)

    def smallest(self, task: str, name: str) -> float:
        """The share of the field of view below which parts are removed."""
        given = self.specks.get(task, 0)
        return given.get(name, 0) if isinstance(given, dict) else given

    def only(self, rules: Collection[str]) -> Postprocessing:
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
    """

    pipeline: list[dict]
    crop: str = 'fov'
    thresholds: dict[str, Threshold] = field(default_factory=dict)
    postprocessing: Postprocessing = field(default_factory=Postprocessing)

    def __post_init__(self):
        if self.crop not in CROPS:
            raise ValueError(f'crop is {self.crop!r}, not one of {CROPS}.')
        for task, given in self.thresholds.items():
            _check(f'The threshold of {task!r}', given, 1)
        if not any(t['type'] == AUGMENTATION for t in self.pipeline):
            raise ValueError(f'The test pipeline has no {AUGMENTATION}: write '
                             'it as configs/_base_/datasets do.')

    @property
    def augmentation(self) -> dict:
        """dict: The pipeline's ``MultiScaleFlipAug``."""
        return next(t for t in self.pipeline if t['type'] == AUGMENTATION)

    @property
    def image_scale(self) -> tuple[int, int] | None:
        """tuple[int, int] | None: Width and height that photographs are
        scaled into, the first of several; None if they keep their size."""
        return next(iter(self._scales()), None)

    def _scales(self) -> list[tuple[int, int]]:
        """As tuples, which a JSON file turns into lists."""
        given = self.augmentation.get('img_scale') or []
        several = given and not isinstance(given[0], numbers.Real)
        return [tuple(s) for s in (given if several else [given]) if s]

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

    def steps(self, scales: Sequence[float] = (),
              flips: Sequence[str] = ()) -> list[dict]:  # yapf: disable
        """The pipeline after loading, with test-time augmentation: ``scales``
        are factors of the image scale, by default as the pipeline says,
        ``flips`` of 'horizontal' and 'vertical'. A ValueError is raised for
        scales of a pipeline that keeps sizes."""
        step, found = dict(self.augmentation), self._scales()
        if scales:
            if not found:
                raise ValueError('`scales` needs a test pipeline that scales.')
            width, height = found[0]
            found = [(max(1, round(width * s)), max(1, round(height * s)))
                     for s in scales]
            step.pop('img_ratios', None)
        if found:
            step['img_scale'] = found if len(found) > 1 else found[0]
        if flips:
            transforms = step['transforms'] = list(step['transforms'])
            step.update(flip=True, flip_direction=list(flips))
            kinds = [transform['type'] for transform in transforms]
            if 'RandomFlip' not in kinds:
                after = kinds.index('Resize') + 1 if 'Resize' in kinds else 0
                transforms.insert(after, dict(type='RandomFlip'))
        rest = [t for t in self.pipeline if not t['type'].startswith('Load')]
        return [step if t['type'] == AUGMENTATION else dict(t) for t in rest]


def settings_of(cfg: Config) -> PredictionSettings:
    """The prediction settings of a config of ``load_config``.

    ``data.test`` gives the pipeline and the threshold; ``prediction`` may set
    ``crop``, ``thresholds``, ``pipeline`` and ``postprocessing``. An
    InvalidConfigError is raised if they are missing or wrong.
    """
    from mbos.config import member_datasets, plain
    given = plain(cfg.get('prediction') or {})
    given = {key: value for key, value in given.items() if value is not None}
    with blamed_on(
            'data.test or prediction do not say how photographs are prepared',
            'Write data.test as configs/_base_/datasets does.'):
        test = member_datasets(cfg.data.get('test') or {})[0]
        common = test.get('threshold', DEFAULT_THRESHOLD)
        tasks = {t.name: t for t in build_tasks(cfg.model.tasks)}
        thresholds = dict.fromkeys(tasks, common) | given.get('thresholds', {})
        given = dict(pipeline=plain(test.get('pipeline'))) | given
        settings = _settings(dict(given, thresholds=thresholds))
        rules = settings.postprocessing
        for name in (*thresholds, *rules.specks, *rules.one_object):
            if name not in tasks:
                raise ValueError(f'prediction names the task {name!r}; the '
                                 f'model has {", ".join(tasks)}.')
            for by_class in (thresholds[name], rules.specks.get(name, 0)):
                tasks[name].thresholds(by_class)
        return settings


def _settings(stored: dict) -> PredictionSettings:
    """The settings of plain types, as configs and checkpoints have them."""
    rules = Postprocessing(**(stored.get('postprocessing') or {}))
    return PredictionSettings(**dict(stored, postprocessing=rules))


def settings_meta(tasks: Sequence[Task],
                  settings: PredictionSettings | None = None) -> dict:
    """Entries of a checkpoint's meta, in plain types; ``CLASSES`` and
    ``PALETTE`` are what mmseg's ``init_segmentor`` reads."""
    meta = dict(
        CLASSES=[f'{t.name}.{c}' for t in tasks for c in t.classes],
        PALETTE=[list(c) for t in tasks for c in t.colours])
    return meta if settings is None else meta | {META_KEY: asdict(settings)}


def settings_from_meta(meta: dict) -> PredictionSettings | None:
    """The prediction settings of a checkpoint; None if it is an old one."""
    stored = meta.get(META_KEY)
    if not stored:
        return None
    try:
        settings = _settings(stored)
        settings.steps([1.0] * bool(settings.image_scale), ['horizontal'])
        return settings
    except Exception as error:  # whoever wrote it may provoke any of them
        raise ValueError(
            'The checkpoint holds prediction settings that this version does '
            f'not know ({error}): update, or give its config.') from error
