"""Loading of a random crop of a resized image, and of nothing else."""
import os.path as osp
from typing import Dict, Optional, Sequence, Tuple

import mmcv
import numpy as np
from mmseg.datasets import PIPELINES
from mmseg.datasets.pipelines import RandomCrop, Resize

from .array_cache import ArrayCache
from .label_io import read_labels
from .photograph import Photograph
from .region import Region
from .transforms import check_plane, plane_key


@PIPELINES.register_module()
class LoadRandomCrop:
    """Load a random crop of the image at a random scale, and its planes.

    It stands for ``LoadImageFromFile``, ``LoadPlanes``, ``Resize`` and
    ``RandomCrop``: it draws the same random numbers, so it yields the same
    crops. But it decodes and resizes no more than the crop needs. Labels are
    the same to the bit. Grey values are, up to one, the same where images
    are decoded at full size: with ``reduced_decoding=False``, or from the
    ``cache_dir`` of the dataset (docs/data_loading.md has the figures).

    Args:
        img_scale (tuple[int, int]): As for ``Resize``: width and height that
            the image is fitted into.
        crop_size (tuple[int, int]): Height and width.
        ratio_range (tuple[float, float], optional): Range of the factor of
            ``img_scale``. Default: None, which is 1.
        keep_ratio (bool): As for ``Resize``. Default: True.
        reduced_decoding (bool): Decode JPEG files at a half, a quarter or
            an eighth of their sides where that still is no smaller than what
            they are resized to. Such images are smoother, since all pixels
            count, where bilinear interpolation takes four and skips those
            between. Default: True.
    """

    def __init__(self,
                 img_scale: Tuple[int, int],
                 crop_size: Tuple[int, int],
                 ratio_range: Optional[Sequence[float]] = None,
                 keep_ratio: bool = True,
                 reduced_decoding: bool = True):
        self.img_scale = tuple(img_scale)
        self.ratio_range = tuple(ratio_range) if ratio_range else None
        self.keep_ratio = keep_ratio
        self.crop_size = tuple(crop_size)
        self.reduced_decoding = reduced_decoding
        self._resize = Resize(self.img_scale, ratio_range=self.ratio_range)
        self._crop = RandomCrop(self.crop_size)

    def __call__(self, results: Dict) -> Dict:
        """Add what the four transforms add."""
        info = results['img_info']['filename']
        path = osp.join(results.get('img_prefix') or '', info)
        cache = results.get('cache')
        source = self._source(path, cache)
        region = self.draw(source.shape[:2], results)
        results['img'] = self._image(source, region)
        for task, plane_path in results['ann_info'].items():
            plane = _labels(plane_path, cache)
            check_plane(plane_path, plane.shape, source.shape[:2])
            results[plane_key(task)] = region.sample_labels(plane)
            results['seg_fields'].append(plane_key(task))
        results.update(self._metas(path, info, region, results['img'].shape))
        return results

    def _source(self, path: str, cache: Optional[ArrayCache]):
        """The decoded image if it is kept, else a file to decode."""
        if cache is None:
            return Photograph(path)
        return cache.get(path, lambda: Photograph(path).decode())

    def draw(self, source: Tuple[int, int], results: Dict) -> Region:
        """Draw scale and crop, as mmseg's transforms do it.

        Args:
            source (tuple[int, int]): Height and width of the image.
            results (dict): Given ``scale`` unless it has one.

        Returns:
            Region: The crop.
        """
        if 'scale' not in results:
            self._resize._random_scale(results)
        height, width = source
        size = results['scale']
        if self.keep_ratio:
            size = mmcv.rescale_size((width, height), size)
        size = size[::-1]
        # only the shape is looked at
        box = self._crop.get_crop_bbox(np.broadcast_to(np.uint8(0), size))
        return Region(source, size, box)

    def _image(self, source, region: Region) -> np.ndarray:
        if isinstance(source, np.ndarray):
            return region.sample_image(source)
        factor = 1
        if self.reduced_decoding and source.can_reduce:
            factor = region.reduction()
        return region.sample_image(source.decode(factor), factor)

    def _metas(self, path: str, name: str, region: Region,
               shape: Tuple[int, ...]) -> Dict:
        """The metas of the four transforms."""
        scale = np.divide(region.size, region.source)[::-1]
        return dict(
            filename=path,
            ori_filename=name,
            ori_shape=region.source + shape[2:],
            img_shape=shape,
            pad_shape=shape,
            scale_factor=np.tile(scale, 2).astype(np.float32),
            keep_ratio=self.keep_ratio,
            img_norm_cfg=dict(
                mean=np.zeros(shape[2], np.float32),
                std=np.ones(shape[2], np.float32),
                to_rgb=False))

    def __repr__(self):
        return (f'{self.__class__.__name__}(img_scale={self.img_scale}, '
                f'crop_size={self.crop_size}, '
                f'ratio_range={self.ratio_range}, '
                f'keep_ratio={self.keep_ratio}, '
                f'reduced_decoding={self.reduced_decoding})')


def _labels(path: str, cache: Optional[ArrayCache]) -> np.ndarray:
    if cache is None:
        return read_labels(path)
    return cache.get(path, lambda: read_labels(path))
