"""Loading of images: whole, or no more than a random crop needs."""
import os.path as osp
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import mmcv
import numpy as np
from mmseg.datasets import PIPELINES
from mmseg.datasets.pipelines import RandomCrop, Resize

from mbos.io.labels import read_labels
from mbos.io.photographs import EncodedPhotograph
from mbos.tasks import IGNORE_INDEX
from .region import Region


def plane_key(task: str) -> str:
    """Name the entry of the results that holds a task's label plane."""
    return f'labels.{task}'


def _read_planes(results: dict,
                 read: Callable = read_labels) -> dict[str, np.ndarray]:
    stem, layout = results['img_info']['stem'], results['layout']
    return {
        task: folder.read(stem, layout, read)
        for task, folder in results['ann_info'].items()
    }


def _add_planes(results: dict, planes: dict[str, np.ndarray]) -> None:
    """Put planes where mmseg's transforms find them."""
    for task, plane in planes.items():
        results[plane_key(task)] = plane
        results['seg_fields'].append(plane_key(task))


def _add_image(results: dict, image: np.ndarray) -> None:
    """Add an image with the metas of mmseg's ``LoadImageFromFile``."""
    norm = dict(
        mean=np.zeros(3, np.float32), std=np.ones(3, np.float32), to_rgb=False)
    shapes = dict.fromkeys(('img_shape', 'ori_shape', 'pad_shape'),
                           image.shape)
    results.update(
        shapes,
        img=image,
        filename=_path_of(results),
        ori_filename=results['img_info']['filename'],
        scale_factor=1.0,
        img_norm_cfg=norm)


def _path_of(results: dict) -> str:
    return osp.join(results['img_prefix'], results['img_info']['filename'])


def _decode(path: str) -> np.ndarray:
    return EncodedPhotograph(path).decode(bgr=True)


@PIPELINES.register_module()
class LoadPlanes:
    """Load the label planes that the dataset has for this image.

    Absent planes are not made before :class:`FormatPlanes`, so they cost
    nothing on the way.
    """

    def __call__(self, results: dict) -> dict:
        _add_planes(results, _read_planes(results))
        return results


@PIPELINES.register_module()
class LoadPhotograph:
    """Load an image, BGR, with the reader of photographs.

    ``PartialLabelDataset`` puts it in the place of ``LoadImageFromFile``,
    which leaves depth and rotation to other libraries.
    """

    def __call__(self, results: dict) -> dict:
        _add_image(results, _decode(_path_of(results)))
        return results


def with_photographs(pipeline: Sequence[dict]) -> list[dict]:
    """Replace mmseg's loading of images by :class:`LoadPhotograph`, unless the
    config gives it arguments.
    """
    stock, own = dict(type='LoadImageFromFile'), dict(type='LoadPhotograph')
    return [own if step == stock else step for step in pipeline]


@PIPELINES.register_module()
class LoadRandomCrop:
    """Load a random crop of the image at a random scale, and its planes.

    It stands for ``LoadImageFromFile``, ``LoadPlanes``, ``Resize`` and
    ``RandomCrop``: it draws the same random numbers, so it yields the same
    crops. But it decodes and resizes no more than the crop needs. Labels are
    the same to the bit. Grey values are, up to one, the same where images
    are decoded at full size: with ``reduced_decoding=False``, or from the
    ``cache_dir`` of the dataset (docs/data_loading.md has measurements).

    Args:
        img_scale, ratio_range, keep_ratio: As for ``Resize``.
        crop_size: Height and width.
        reduced_decoding: Decode JPEG files at a half, a quarter or an eighth
            of their sides where that still is no smaller than what they are
            resized to. Such images are smoother, since all pixels count,
            where bilinear interpolation takes four and skips those between.
        look_for: By task, the probability that the crop is one that shows
            the task: it holds a pixel of a class that is drawn from those of
            the image's label plane, rare ones as often as common ones. Other
            crops, and those of images where the task's plane is absent or
            empty, fall anywhere.
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
        path, cache = _path_of(results), results['cache']
        if cache is None:
            photograph, planes = EncodedPhotograph(path), _read_planes(results)
            region = self._draw(photograph.shape, planes, results)
            can_reduce = self.reduced_decoding and photograph.can_reduce
            factor = region.reduction() if can_reduce else 1
            image = photograph.decode(factor, bgr=True)
        else:
            image, factor = cache.get(path, _decode), 1
            planes = _read_planes(results,
                                  partial(cache.get, decode=read_labels))
            region = self._draw(image.shape[:2], planes, results)
        _add_image(results, region.sample_image(image, factor))
        _add_planes(results, {
            task: region.sample_labels(p)
            for task, p in planes.items()
        })
        results['ori_shape'] = (*region.source, 3)
        return results

    def _draw(self, source: tuple[int, int], planes: dict[str, np.ndarray],
              results: dict) -> Region:
        """Draw scale and crop of an image of (height, width) as mmseg does,
        then whether the crop shows a task.
        """
        self._resize._random_scale(results)
        size = results['scale']
        if self.keep_ratio:
            size = mmcv.rescale_size(source[::-1], size)
        size = size[::-1]
        # only the shape is looked at
        box = self._crop.get_crop_bbox(np.broadcast_to(np.uint8(0), size))
        region = Region(source, size, box)
        if self.look_for:  # else nothing is drawn, as by mmseg's transforms
            place = np.searchsorted(self._limits, np.random.rand(), 'right')
            task = [*self.look_for, None][place]
            if task in planes:
                return _moved_to_label(region, planes[task])
        return region


def _moved_to_label(region: Region, plane: np.ndarray) -> Region:
    """Move a crop so that it holds a pixel of a class drawn from the plane.

    The ``plane`` is of the whole image; 0 and 255 are not classes, and a plane
    without any moves nothing.
    """
    classes = np.setdiff1d(plane, (0, IGNORE_INDEX))
    if not len(classes):
        return region
    value = np.random.choice(classes)
    pixel = np.random.choice(np.flatnonzero(plane == value))
    position = np.unravel_index(pixel, plane.shape)
    box = []
    for axis, length in enumerate(region.shape):
        resized = region.size[axis]
        middle = int((position[axis] + 0.5) * resized / plane.shape[axis])
        first = max(middle - length + 1, 0)
        last = min(middle, resized - length)
        start = np.random.randint(first, last + 1)
        box += [start, start + length]
    return replace(region, box=tuple(box))
