"""Loading of images: whole, or no more than a random crop needs."""
import os.path as osp
from collections.abc import Sequence
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
from .transforms import load_planes, plane_key


@PIPELINES.register_module()
class LoadPhotograph:
    """Load an image with the reader of photographs.

    ``PartialLabelDataset`` puts it in the place of ``LoadImageFromFile``,
    which leaves depth and rotation to other libraries.
    """

    def __init__(self, to_float32: bool = False):
        self.to_float32 = to_float32

    def __call__(self, results: dict) -> dict:
        """Add the image, BGR, and the metas of ``LoadImageFromFile``."""
        image = _decoded(_path_of(results))
        if self.to_float32:
            image = image.astype(np.float32)
        results.update(_metas(results, image.shape), img=image)
        return results


def with_photographs(pipeline: Sequence[dict]) -> list[dict]:
    """Replace mmseg's loading of images by :class:`LoadPhotograph`, unless the
    config asks the loader for something else than colours.
    """
    return [
        dict(transform, type='LoadPhotograph') if isinstance(transform, dict)
        and transform.get('type') == 'LoadImageFromFile'
        and transform.keys() <= {'type', 'to_float32'} else transform
        for transform in pipeline
    ]


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
        self.look_for = dict(look_for or {})
        probs = list(self.look_for.values())
        if min(probs, default=0) < 0 or sum(probs) > 1 + 1e-9:
            raise ValueError('Expected probabilities in look_for that add up '
                             f'to at most 1, got {self.look_for}.')
        self._resize = Resize(tuple(img_scale), ratio_range=ratio_range)
        self._crop = RandomCrop(tuple(crop_size))

    def __call__(self, results: dict) -> dict:
        """Add what the four transforms add."""
        source, planes = self._load(results)
        region = self._draw(source.shape[:2], results)
        task = self._task_to_show()
        if task in planes:
            region = _moved_to_label(region, planes[task])
        if isinstance(source, np.ndarray):
            image = region.sample_image(source)
        else:
            can_reduce = self.reduced_decoding and source.can_reduce
            factor = region.reduction() if can_reduce else 1
            image = region.sample_image(
                source.decode(factor, bgr=True), factor)
        for task, plane in planes.items():
            results[plane_key(task)] = region.sample_labels(plane)
            results['seg_fields'].append(plane_key(task))
        scale = np.divide(region.size, region.source)[::-1]
        results.update(
            _metas(results, image.shape),
            img=image,
            ori_shape=region.source + image.shape[2:],
            scale_factor=np.tile(scale, 2).astype(np.float32),
            keep_ratio=self.keep_ratio)
        return results

    def _load(self, results: dict):
        """The photograph, decoded if it is kept so, and its whole planes."""
        path, cache, read = _path_of(results), results.get(
            'cache'), read_labels
        if cache is None:
            source = EncodedPhotograph(path)
        else:
            source = cache.get(path, _decoded)
            read = partial(cache.get, decode=read_labels)
        return source, load_planes(results, read)

    def _draw(self, source: tuple[int, int], results: dict) -> Region:
        """Draw scale and crop of an image of (height, width) as mmseg does."""
        self._resize._random_scale(results)
        size = results['scale']
        if self.keep_ratio:
            size = mmcv.rescale_size(source[::-1], size)
        size = size[::-1]
        # only the shape is looked at
        box = self._crop.get_crop_bbox(np.broadcast_to(np.uint8(0), size))
        return Region(source, size, box)

    def _task_to_show(self) -> str | None:
        """Draw the task that the crop shows, None for any crop."""
        if not self.look_for:
            return None  # draws nothing, as mmseg's transforms
        limits = np.cumsum(list(self.look_for.values()))
        place = np.searchsorted(limits, np.random.rand(), side='right')
        return [*self.look_for, None][place]


def _path_of(results: dict) -> str:
    return osp.join(
        results.get('img_prefix') or '', results['img_info']['filename'])


def _decoded(path: str) -> np.ndarray:
    """A photograph in the order of mmcv's channels, BGR."""
    return EncodedPhotograph(path).decode(bgr=True)


def _metas(results: dict, shape: tuple[int, ...]) -> dict:
    """The metas of mmseg's ``LoadImageFromFile``."""
    return dict(
        filename=_path_of(results),
        ori_filename=results['img_info']['filename'],
        ori_shape=shape,
        img_shape=shape,
        pad_shape=shape,
        scale_factor=1.0,
        img_norm_cfg=dict(
            mean=np.zeros(shape[2], np.float32),
            std=np.ones(shape[2], np.float32),
            to_rgb=False))


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
    box = []
    for position, side, resized, length in zip(
            np.unravel_index(pixel, plane.shape), plane.shape, region.size,
            region.shape):
        middle = int((position + 0.5) * resized / side)
        first = max(middle - length + 1, 0)
        last = min(middle, resized - length)
        start = np.random.randint(first, last + 1)
        box += [start, start + length]
    return replace(region, box=tuple(box))
