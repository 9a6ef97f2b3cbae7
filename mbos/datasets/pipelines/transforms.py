"""Geometry and formatting of images with their label planes.

Between ``LoadPlanes`` and ``FormatPlanes`` each plane lies in the results
under ``plane_key(task)`` and is named in ``seg_fields``, where mmseg's own
transforms (Resize, RandomCrop, Pad, ...) find it.
"""
from collections.abc import Collection, Sequence

import mmcv
import numpy as np
import torch
from mmcv.parallel import DataContainer
from mmseg.datasets import PIPELINES
from mmseg.datasets.pipelines import Collect

from mbos.tasks import IGNORE_INDEX, ODOC
from ..label_folder import LabelFolder
from .loading import plane_key

META_KEYS = (*Collect([]).meta_keys, 'dataset')
"""tuple[str]: Metas of test images: mmseg's, and the dataset's name."""


def check_probability(value: float) -> float:
    """Return a probability, or say that it is not one."""
    if not 0 <= value <= 1:
        raise ValueError(f'Expected a probability in 0..1, got {value!r}.')
    return value


def check_choice(value: str, choices: Collection[str]) -> str:
    """Return one of some texts, or say that it is none of them."""
    if value not in choices:
        raise ValueError(f'Expected {" or ".join(choices)}, got {value!r}.')
    return value


@PIPELINES.register_module()
class RotateFromList:
    """Rotate by one of the ``angles`` (degrees, clockwise), keeping the size.
    Corners are filled with 0, and those of the planes with 255, ignored.
    """

    def __init__(self, angles: Sequence[float]):
        self.angles = tuple(angles)

    def __call__(self, results: dict) -> dict:
        angle = self.angles[np.random.randint(len(self.angles))]
        if angle == 0:
            return results
        results['img'] = mmcv.imrotate(results['img'], angle)
        filled = dict(border_value=IGNORE_INDEX, interpolation='nearest')
        for key in results['seg_fields']:
            results[key] = mmcv.imrotate(results[key], angle, **filled)
        return results


def flip_all(results: dict, direction: str) -> dict:
    """Flip image and planes: 'horizontal', 'vertical' or 'diagonal' (both)."""
    for key in ['img', *results['seg_fields']]:
        flipped = mmcv.imflip(results[key], direction)
        results[key] = np.ascontiguousarray(flipped)
    return results


@PIPELINES.register_module()
class IndependentFlip:
    """Flip horizontally and vertically, each by its own draw; a second
    RandomFlip of mmseg repeats the first one's flip and undoes it.
    """

    DIRECTIONS = ((None, 'vertical'), ('horizontal', 'diagonal'))

    def __init__(self,
                 prob_horizontal: float = 0.5,
                 prob_vertical: float = 0.5):
        given = prob_horizontal, prob_vertical
        self.probs = tuple(map(check_probability, given))

    def __call__(self, results: dict) -> dict:
        horizontal, vertical = np.random.rand(2) < self.probs
        direction = self.DIRECTIONS[int(horizontal)][int(vertical)]
        results['flip'] = direction is not None
        results['flip_direction'] = direction
        return flip_all(results, direction) if direction else results


@PIPELINES.register_module()
class DiscSideFlip:
    """Flip horizontally so that the disc lies on one ``side`` in all images.

    Goes before the random flips (docs/method.md, section 8). ``folder`` has
    label maps of disc and cup, one per image, prepared or predicted. Images
    without a disc stay as they are.
    """

    def __init__(self, folder: str, side: str = 'left'):
        self.folder = LabelFolder(folder, ODOC)
        self.side = check_choice(side, ('left', 'right'))

    def __call__(self, results: dict) -> dict:
        stem, layout = results['img_info']['stem'], results['layout']
        problem = self.folder.problem(stem, layout)
        if problem:
            raise ValueError(problem)
        labels = self.folder.read(stem, layout)
        columns = np.nonzero((labels > 0) & (labels != IGNORE_INDEX))[1]
        if len(columns):
            is_left = np.median(columns) < (labels.shape[1] - 1) / 2
            if is_left != (self.side == 'left'):
                flip_all(results, 'horizontal')
        return results


@PIPELINES.register_module()
class CutOut:
    """Replace a rectangle by random pixels and its labels by 255, ignored.

    ``prob`` is the probability of any rectangle, ``area`` the range of its
    share of the image, ``aspect`` that of its height / width.
    """

    def __init__(self,
                 prob: float = 0.5,
                 area: tuple[float, float] = (0.02, 0.4),
                 aspect: tuple[float, float] = (0.3, 3.3)):
        self.prob = check_probability(prob)
        self.area, self.aspect = tuple(area), tuple(aspect)

    def draw_box(self, height: int, width: int) -> tuple[slice, slice]:
        """Draw rows and columns; none where the image is too small."""
        for _ in range(100):
            pixels = np.random.uniform(*self.area) * height * width
            aspect = np.random.uniform(*self.aspect)
            h = int(round((pixels * aspect)**0.5))
            w = int(round((pixels / aspect)**0.5))
            if 0 < h <= height and 0 < w <= width:
                top = np.random.randint(height - h + 1)
                left = np.random.randint(width - w + 1)
                return slice(top, top + h), slice(left, left + w)
        return slice(0), slice(0)

    def __call__(self, results: dict) -> dict:
        if np.random.rand() < self.prob:
            box = self.draw_box(*results['img'].shape[:2])
            for key in ['img', *results['seg_fields']]:
                results[key] = results[key].copy()
                results[key][box] = IGNORE_INDEX
            inside = results['img'][box]
            inside[:] = np.random.randint(0, 256, inside.shape)
        return results


@PIPELINES.register_module()
class LabelBorder:
    """Give ``top`` and ``bottom`` rows of ``height`` of a task's plane one
    label, as the release's masks of padded REFUGE photographs, which call the
    padding optic cup (docs/method.md, section 8). Goes right after LoadPlanes.
    """

    def __init__(self, task: str, label: int, top: int, bottom: int,
                 height: int):
        self.key, self.label = plane_key(task), label
        self.top, self.bottom, self.height = top, bottom, height

    def __call__(self, results: dict) -> dict:
        if self.key in results:
            plane = results[self.key] = results[self.key].copy()
            scale = len(plane) / self.height
            plane[:round(scale * self.top)] = self.label
            plane[len(plane) - round(scale * self.bottom):] = self.label
        return results


@PIPELINES.register_module()
class FormatPlanes:
    """Turn the results into a training sample: ``img``, float (3, H, W),
    ``labels``, uint8 (T, H, W), a plane per task in canonical order, 255 where
    it is absent, and ``img_metas``.
    """

    def __call__(self, results: dict) -> dict:
        image, tasks = results['img'], results['planes']
        absent = np.full(image.shape[:2], IGNORE_INDEX, np.uint8)
        planes = [results.get(plane_key(task), absent) for task in tasks]
        shapes = {plane.shape for plane in planes}
        if shapes != {absent.shape}:
            raise ValueError(
                f'{results["filename"]}: after the transforms the image has '
                f'shape {absent.shape}, its planes {shapes}; a transform '
                'skips seg_fields.')
        labels = np.stack(planes).astype(np.uint8, copy=False)
        channels = np.ascontiguousarray(image.transpose(2, 0, 1), np.float32)
        metas = {key: results.get(key) for key in (*META_KEYS, 'planes')}
        metas['flip'] = bool(metas['flip'])
        return dict(
            img=DataContainer(torch.from_numpy(channels), stack=True),
            labels=DataContainer(torch.from_numpy(labels), stack=True),
            img_metas=DataContainer(metas, cpu_only=True))


@PIPELINES.register_module()
class CollectImage(Collect):
    """mmseg's Collect for testing: the image, with the dataset's name, '' for
    a photograph of none.
    """

    def __init__(self):
        super().__init__(['img'], META_KEYS)

    def __call__(self, results: dict) -> dict:
        defaults = dict(dataset='', flip=False, flip_direction=None)
        return super().__call__(defaults | results)
