"""Loading, geometry and formatting of images with their label planes.

Between ``LoadPlanes`` and ``FormatPlanes`` each plane lies in the results
under :func:`plane_key` and is named in ``seg_fields``, where mmseg's own
transforms (Resize, RandomCrop, Pad, ...) find it.
"""
from collections.abc import Callable, Sequence

import mmcv
import numpy as np
import torch
from mmcv.parallel import DataContainer
from mmseg.datasets import PIPELINES
from mmseg.datasets.pipelines import Collect

from mbos.io.labels import read_labels
from mbos.tasks import IGNORE_INDEX

META_KEYS = ('filename', 'ori_filename', 'ori_shape', 'img_shape', 'pad_shape',
             'scale_factor', 'flip', 'flip_direction', 'img_norm_cfg')
"""tuple[str]: The metas that mmseg collects."""


def plane_key(task: str) -> str:
    """Name the entry of the results that holds a task's label plane."""
    return f'labels.{task}'


def check_probability(value: float, name: str) -> float:
    """Return a probability, or say which argument is not one."""
    if not 0 <= value <= 1:
        raise ValueError(f'Expected {name} in 0..1, got {value!r}.')
    return value


def load_planes(results: dict,
                read: Callable = read_labels) -> dict[str, np.ndarray]:
    """Read the label planes of an image, by task."""
    return {
        task: folder.read(results['img_info']['stem'], results['layout'], read)
        for task, folder in results['ann_info'].items()
    }


@PIPELINES.register_module()
class LoadPlanes:
    """Load the label planes that the dataset has for this image.

    Absent planes are not made before :class:`FormatPlanes`, so they cost
    nothing on the way.
    """

    def __call__(self, results: dict) -> dict:
        """Add the planes and name them in ``seg_fields``."""
        for task, plane in load_planes(results).items():
            results[plane_key(task)] = plane
            results['seg_fields'].append(plane_key(task))
        return results


@PIPELINES.register_module()
class RotateFromList:
    """Rotate by one of the ``angles`` (degrees, clockwise), keeping the size.

    Corners are filled with ``pad_val``, a grey value before Normalize, and
    those of the planes with ``seg_pad_val``.
    """

    def __init__(self,
                 angles: Sequence[float],
                 pad_val: float = 0,
                 seg_pad_val: int = IGNORE_INDEX):
        self.angles = tuple(angles)
        self.pad_val = pad_val
        self.seg_pad_val = seg_pad_val

    def __call__(self, results: dict) -> dict:
        """Rotate image and planes by the same angle."""
        angle = self.angles[np.random.randint(len(self.angles))]
        if angle == 0:
            return results
        results['img'] = mmcv.imrotate(
            results['img'], angle, border_value=(self.pad_val, ) * 3)
        for key in results.get('seg_fields', []):
            results[key] = mmcv.imrotate(
                results[key],
                angle,
                border_value=self.seg_pad_val,
                interpolation='nearest')
        return results


def flip_all(results: dict, direction: str) -> dict:
    """Flip image and planes: 'horizontal', 'vertical' or 'diagonal' (both)."""
    for key in ['img'] + list(results.get('seg_fields', [])):
        results[key] = np.ascontiguousarray(
            mmcv.imflip(results[key], direction=direction))
    return results


@PIPELINES.register_module()
class IndependentFlip:
    """Flip horizontally and vertically, each by its own draw.

    mmseg's RandomFlip keeps its decision in the results, so a second one in
    the same pipeline repeats the first one's flip and undoes it.

    ``mode`` is 'independent' or as in the published release (docs/method.md,
    section 8): 'published_cancelling' flips nothing, as its labelled pipeline
    of stage 1; 'published_vertical_only' drops the horizontal flip, as that of
    stage 2.
    """

    MODES = {
        'independent': (True, True),
        'published_cancelling': (False, False),
        'published_vertical_only': (False, True)
    }
    DIRECTIONS = ((None, 'vertical'), ('horizontal', 'diagonal'))

    def __init__(self,
                 prob_horizontal: float = 0.5,
                 prob_vertical: float = 0.5,
                 mode: str = 'independent'):
        if mode not in self.MODES:
            raise ValueError(f'Expected mode to be one of '
                             f'{", ".join(self.MODES)}, got {mode!r}.')
        self.mode = mode
        self.probs = (check_probability(prob_horizontal, 'prob_horizontal'),
                      check_probability(prob_vertical, 'prob_vertical'))

    def __call__(self, results: dict) -> dict:
        """Flip image and planes; set 'flip' and 'flip_direction'."""
        flips = (np.random.rand(2) < self.probs) & self.MODES[self.mode]
        direction = self.DIRECTIONS[int(flips[0])][int(flips[1])]
        results['flip'] = direction is not None
        results['flip_direction'] = direction
        return flip_all(results, direction) if direction else results


@PIPELINES.register_module()
class CutOut:
    """Replace a rectangle by random pixels and its labels by ``seg_fill``.

    Args:
        prob: Of any rectangle.
        area: Range of the rectangle's share of the image.
        aspect: Range of height / width.
    """

    ATTEMPTS = 100

    def __init__(self,
                 prob: float = 0.5,
                 area: tuple[float, float] = (0.02, 0.4),
                 aspect: tuple[float, float] = (0.3, 3.3),
                 seg_fill: int = IGNORE_INDEX):
        self.prob = check_probability(prob, 'prob')
        self.area = tuple(area)
        self.aspect = tuple(aspect)
        self.seg_fill = seg_fill

    def draw_box(self, height: int, width: int) -> tuple[slice, slice]:
        """Draw rows and columns; none where the image is too small."""
        for _ in range(self.ATTEMPTS):
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
        """Cut the rectangle out of image and planes."""
        if np.random.rand() >= self.prob:
            return results
        box = self.draw_box(*results['img'].shape[:2])
        image = results['img'] = results['img'].copy()
        image[box] = np.random.randint(0, 256, image[box].shape)
        for key in results.get('seg_fields', []):
            results[key] = results[key].copy()
            results[key][box] = self.seg_fill
        return results


@PIPELINES.register_module()
class LabelBorder:
    """Give rows at the top and the bottom of a task's plane one label.

    Goes right after LoadPlanes. It reproduces the published release
    (docs/method.md, section 8), whose masks of the padded REFUGE photographs
    call the padding optic cup. ``top`` and ``bottom`` are rows of an image of
    ``height`` rows; for others they are scaled.
    """

    def __init__(self,
                 task: str,
                 label: int,
                 top: int,
                 bottom: int,
                 height: int | None = None):
        self.key = plane_key(task)
        self.label = label
        self.top = top
        self.bottom = bottom
        self.height = height

    def __call__(self, results: dict) -> dict:
        """Write the label into the rows."""
        if self.key in results:
            plane = results[self.key] = results[self.key].copy()
            scale = len(plane) / (self.height or len(plane))
            plane[:round(scale * self.top)] = self.label
            plane[len(plane) - round(scale * self.bottom):] = self.label
        return results


@PIPELINES.register_module()
class FormatPlanes:
    """Turn the results into a training sample.

    The sample is a dict of ``img``, a float tensor of shape (3, H, W),
    ``labels``, a uint8 tensor of shape (T, H, W) with one plane per task in
    canonical order (absent planes are 255), and ``img_metas``.
    """

    def __call__(self, results: dict) -> dict:
        """Collect image, planes and metas."""
        image = results['img']
        labels = np.full((len(results['planes']), ) + image.shape[:2],
                         IGNORE_INDEX, np.uint8)
        for plane, task in zip(labels, results['planes']):
            loaded = results.get(plane_key(task), plane)
            if loaded.shape != plane.shape:
                raise ValueError(
                    f'{results["filename"]}: after the transforms the image '
                    f'has shape {plane.shape}, the plane of {task!r} '
                    f'{loaded.shape}; a transform skips seg_fields.')
            plane[:] = loaded
        channels_first = np.ascontiguousarray(
            image.transpose(2, 0, 1), dtype=np.float32)
        metas = {key: results.get(key) for key in META_KEYS}
        metas.update(
            flip=bool(metas['flip']),
            dataset=results['dataset'],
            planes=results['planes'])
        return dict(
            img=DataContainer(torch.from_numpy(channels_first), stack=True),
            labels=DataContainer(torch.from_numpy(labels), stack=True),
            img_metas=DataContainer(metas, cpu_only=True))


@PIPELINES.register_module()
class CollectImage(Collect):
    """mmseg's Collect for testing: the image, with the dataset's name.

    A photograph of no dataset, as of mmseg's ``inference_segmentor``, has ''.
    """

    def __init__(self):
        super().__init__(keys=['img'], meta_keys=META_KEYS + ('dataset', ))

    def __call__(self, results: dict) -> dict:
        """Collect image and metas."""
        defaults = dict(dataset='', flip=False, flip_direction=None)
        return super().__call__(defaults | results)
