"""Colour jitter, grayscale and blur of images as mmcv loads them (BGR)."""
from typing import Dict

import cv2
import numpy as np
import torchvision
from mmseg.datasets import PIPELINES
from PIL import Image

from .transforms import check_probability

CHANNEL_ORDERS = ('rgb', 'bgr')


def check_order(order: str) -> str:
    """Return a channel order, or say that it is none."""
    if order not in CHANNEL_ORDERS:
        raise ValueError("Expected channel_order 'rgb', or 'bgr' for the "
                         f'published behaviour, got {order!r}.')
    return order


@PIPELINES.register_module()
class ColorJitter:
    """Change brightness, contrast, saturation and hue, in random order.

    Goes before Normalize, on an uint8 image in BGR as mmcv loads it.

    Args:
        brightness (float): Factor drawn from 1 - b to 1 + b. Default: 0.5.
        contrast (float): The same for contrast. Default: 0.5.
        saturation (float): The same for saturation. Default: 0.5.
        hue (float): Shift drawn from -h to h turns. Default: 0.25.
        prob (float): Default: 0.8.
        channel_order (str): 'rgb' works on the true colours; 'bgr' takes the
            loaded image as if it were RGB, as the published release does
            (METHOD, section 8). Default: 'rgb'.
    """

    def __init__(self,
                 brightness: float = 0.5,
                 contrast: float = 0.5,
                 saturation: float = 0.5,
                 hue: float = 0.25,
                 prob: float = 0.8,
                 channel_order: str = 'rgb'):
        self.jitter = torchvision.transforms.ColorJitter(
            brightness, contrast, saturation, hue)
        self.prob = check_probability(prob, 'prob')
        self.channel_order = check_order(channel_order)

    def __call__(self, results: Dict) -> Dict:
        """Change the colours of the image."""
        if np.random.rand() >= self.prob:
            return results
        step = -1 if self.channel_order == 'rgb' else 1
        image = np.ascontiguousarray(results['img'][..., ::step])
        image = np.asarray(self.jitter(Image.fromarray(image)))
        results['img'] = np.ascontiguousarray(image[..., ::step])
        return results

    def __repr__(self):
        return (f'{self.__class__.__name__}({self.jitter}, prob={self.prob}, '
                f'channel_order={self.channel_order!r})')


@PIPELINES.register_module()
class RandomGrayscale:
    """Replace the colours by their luma, on three channels.

    Args:
        prob (float): Default: 0.2.
        channel_order (str): As for :class:`ColorJitter`. Default: 'rgb'.
    """

    def __init__(self, prob: float = 0.2, channel_order: str = 'rgb'):
        self.prob = check_probability(prob, 'prob')
        self.channel_order = check_order(channel_order)

    def __call__(self, results: Dict) -> Dict:
        """Take the colours out of the image."""
        if np.random.rand() >= self.prob:
            return results
        code = cv2.COLOR_BGR2GRAY
        if self.channel_order == 'bgr':
            code = cv2.COLOR_RGB2GRAY
        gray = cv2.cvtColor(results['img'], code)
        results['img'] = np.repeat(gray[..., None], 3, axis=2)
        return results

    def __repr__(self):
        return (f'{self.__class__.__name__}(prob={self.prob}, '
                f'channel_order={self.channel_order!r})')


@PIPELINES.register_module()
class RandomGaussianBlur:
    """Blur by a Gaussian of random width.

    Args:
        sigma (tuple[float, float]): Range of the standard deviation in
            pixels. Default: (0.1, 2.0).
        prob (float): Default: 0.5.
    """

    def __init__(self, sigma=(0.1, 2.0), prob: float = 0.5):
        if not 0 < sigma[0] <= sigma[1]:
            raise ValueError('Expected sigma as (low, high), positive, got '
                             f'{sigma!r}.')
        self.sigma = tuple(sigma)
        self.prob = check_probability(prob, 'prob')

    def __call__(self, results: Dict) -> Dict:
        """Blur the image."""
        if np.random.rand() < self.prob:
            sigma = np.random.uniform(*self.sigma)
            results['img'] = cv2.GaussianBlur(results['img'], (0, 0), sigma)
        return results

    def __repr__(self):
        return (f'{self.__class__.__name__}(sigma={self.sigma}, '
                f'prob={self.prob})')
