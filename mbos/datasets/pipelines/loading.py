"""Loading of images: whole, or no more than a random crop needs."""
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import cv2
import mmcv
import numpy as np
from mmseg.datasets import PIPELINES
from mmseg.datasets.pipelines import RandomCrop, Resize

from mbos.io.labels import read_labels
from mbos.io.photographs import EncodedPhotograph
from mbos.tasks import IGNORE_INDEX


def plane_key(task: str) -> str:
    """Name the entry of the results that holds a task's label plane."""
    return f'labels.{task}'


def _read_planes(results: dict, read: Callable = read_labels) -> dict:
    stem, layout = results['img_info']['stem'], results['layout']
    folders = results['ann_info']
    return {task: folders[task].read(stem, layout, read) for task in folders}


def _add_planes(results: dict, planes: dict[str, np.ndarray]) -> None:
    results.update({plane_key(task): planes[task] for task in planes})
    results['seg_fields'] += map(plane_key, planes)


def _add_image(results: dict, image: np.ndarray) -> None:
    """Add an image with the metas of mmseg's ``LoadImageFromFile``."""
    for key in ('img_shape', 'ori_shape', 'pad_shape'):
        results[key] = image.shape
    zeros, ones = np.zeros(3, np.float32), np.ones(3, np.float32)
    results['img_norm_cfg'] = dict(mean=zeros, std=ones, to_rgb=False)
    results.update(img=image, scale_factor=1.0)


def _decode(path: str) -> np.ndarray:
    return EncodedPhotograph(path).read(bgr=True).image


@PIPELINES.register_module()
class LoadPlanes:
    """Load the label planes that the dataset has for this image."""

    def __call__(self, results: dict) -> dict:
        _add_planes(results, _read_planes(results))
        return results


@PIPELINES.register_module()
class LoadPhotograph:
    """Load an image, BGR, with its depth and rotation. Datasets put it in the
    place of ``LoadImageFromFile`` without arguments.
    """

    def __call__(self, results: dict) -> dict:
        _add_image(results, _decode(results['filename']))
        return results


@dataclass(frozen=True)
class Region:
    """A box of an image that is resized, without resizing the image: what
    ``cv2.resize`` and a slice give, images up to one grey value.

    ``source`` and ``size`` are height and width of the image and of what it is
    resized to; ``box`` is top, bottom, left and right in the resized image.
    """
    source: tuple[int, int]
    size: tuple[int, int]
    box: tuple[int, int, int, int]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the box."""
        top, bottom, left, right = self.box
        return bottom - top, right - left

    def reduction(self) -> int:
        """The largest factor by which the image may be decoded smaller."""
        ratio = min(np.divide(self.source, self.size))
        return next((factor for factor in (8, 4, 2) if factor <= ratio), 1)

    def sample_image(self, image: np.ndarray, factor: int = 1) -> np.ndarray:
        """Interpolate the box bilinearly from an image of shape ``source``, or
        decoded ``factor`` times smaller, with sides rounded up.
        """
        down, right = np.divide(self.source, self.size) / factor
        # centres of pixels lie half a pixel from their borders
        y, x = (np.array(self.box[::2]) + 0.5) * (down, right) - 0.5
        top, left = max(int(y), 0), max(int(x), 0)
        matrix = np.array([[right, 0, x - left], [0, down, y - top]])
        return cv2.warpAffine(
            image[top:, left:],
            matrix,
            self.shape[::-1],
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE)

    def sample_labels(self, labels: np.ndarray) -> np.ndarray:
        """Take the nearest label of each pixel of the box."""
        places = []
        for axis, (source, size) in enumerate(zip(self.source, self.size)):
            pixels = np.arange(*self.box[2 * axis:2 * axis + 2])
            # as OpenCV rounds: x / (b / a) and x * a / b are not the same
            nearest = np.floor(pixels * (1 / (size / source))).astype(int)
            places.append(np.minimum(nearest, source - 1))
        return np.asarray(labels[places[0]])[:, places[1]]

    def moved_to_label(self, plane: np.ndarray) -> 'Region':
        """Move the box so that it holds a pixel of a class that is drawn from
        the plane of the whole image, if there is one.
        """
        classes = np.setdiff1d(plane, (0, IGNORE_INDEX))
        if not len(classes):
            return self
        value = np.random.choice(classes)
        pixel = np.random.choice(np.flatnonzero(plane == value))
        box = []
        for position, length, size, source in zip(
                np.unravel_index(pixel, plane.shape), self.shape, self.size,
                self.source):
            middle = int((position + 0.5) * size / source)
            start = np.random.randint(
                max(middle - length + 1, 0),
                min(middle, size - length) + 1)
            box += [start, start + length]
        return replace(self, box=tuple(box))


@PIPELINES.register_module()
class LoadRandomCrop:
    """Load a random crop of the image at a random scale, and its planes.

    It draws and yields the same as ``LoadImageFromFile``, ``LoadPlanes``,
    ``Resize`` and ``RandomCrop``, but decodes and resizes no more than the
    crop needs (docs/data_loading.md). Labels are the same to the bit, grey
    values up to one, unless decoding is reduced.

    Args:
        img_scale, ratio_range, keep_ratio: As for ``Resize``.
        crop_size: Height and width.
        reduced_decoding: Decode JPEG files, where there is no cache, at a
            half, a quarter or an eighth of their sides if that is no smaller
            than what they are resized to. Such images are smoother.
        look_for: By task, the probability that the crop holds a pixel of a
            class that is drawn from those of the task's label plane, rare
            ones as often as common ones. Other crops, and those of images
            whose plane is absent or empty, fall anywhere.
    """

    def __init__(self,
                 img_scale: tuple[int, int],
                 crop_size: tuple[int, int],
                 ratio_range: Sequence[float] | None = None,
                 keep_ratio: bool = True,
                 reduced_decoding: bool = True,
                 look_for: dict[str, float] | None = None):
        self.keep_ratio = keep_ratio
        self.reduced_decoding = reduced_decoding
        self.look_for = look_for or {}
        probs = list(self.look_for.values())
        if min(probs, default=0) < 0 or sum(probs) > 1 + 1e-9:
            raise ValueError('Expected probabilities in look_for that add up '
                             f'to at most 1, got {self.look_for}.')
        self._limits = np.cumsum(probs)
        self._resize = Resize(tuple(img_scale), ratio_range=ratio_range)
        self._crop = RandomCrop(tuple(crop_size))

    def __call__(self, results: dict) -> dict:
        path, cache, factor = results['filename'], results['cache'], 1
        read = partial(cache.get, decode=read_labels) if cache else read_labels
        planes = _read_planes(results, read)
        region = self._draw(results['layout'].shape, planes, results)
        if cache:
            image = cache.get(path, _decode)
        else:
            photograph = EncodedPhotograph(path)
            if self.reduced_decoding and photograph.can_reduce:
                factor = region.reduction()
            image = photograph.read(factor, bgr=True).image
        _add_image(results, region.sample_image(image, factor))
        results['ori_shape'] = (*region.source, 3)
        crops = {task: region.sample_labels(planes[task]) for task in planes}
        _add_planes(results, crops)
        return results

    def _draw(self, source: tuple[int, int], planes: dict[str, np.ndarray],
              results: dict) -> Region:
        """Draw scale and crop as mmseg does, then whether it shows a task."""
        self._resize._random_scale(results)
        size = results['scale']
        if self.keep_ratio:
            size = mmcv.rescale_size(source[::-1], size)
        size = size[::-1]
        # only the shape is looked at
        box = self._crop.get_crop_bbox(np.broadcast_to(np.uint8(0), size))
        ends = size[0], size[0], size[1], size[1]  # of crops that are larger
        region = Region(source, size, tuple(map(min, box, ends)))
        if self.look_for:  # else nothing is drawn, as by mmseg's transforms
            place = np.searchsorted(self._limits, np.random.rand(), 'right')
            task = [*self.look_for, None][place]
            if task in planes:
                return region.moved_to_label(planes[task])
        return region
