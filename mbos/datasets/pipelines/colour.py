"""Colour jitter, grayscale and blur of images as mmcv loads them (BGR)."""

import cv2
import numpy as np
import torchvision
from mmseg.datasets import PIPELINES
from PIL import Image

from .transforms import Transform, check_probability

CHANNEL_ORDERS = ('rgb', 'bgr')


def check_order(order: str) -> str:
    """Return a channel order, or say that it is not one."""
    if order not in CHANNEL_ORDERS:
        raise ValueError("Expected channel_order 'rgb', or 'bgr' for the "
                         f'published behaviour, got {order!r}.')
    return order


@PIPELINES.register_module()
class ColorJitter(Transform):
    """Change brightness, contrast, saturation and hue, in random order.

    Goes before Normalize, on an uint8 image in BGR as mmcv loads it.

    Args:
        brightness, contrast, saturation: Each factor is drawn from 1 - value
            to 1 + value.
        hue: Shift drawn from -h to h turns.
        prob: Of any change.
        channel_order: 'rgb' works on the true colours; 'bgr' takes the loaded
            image as if it were RGB, as the published release does
            (docs/method.md, section 8).
    """

    def __init__(self,
                 brightness: float = 0.5,
                 contrast: float = 0.5,
                 saturation: float = 0.5,
                 hue: float = 0.25,
                 prob: float = 0.8,
                 channel_order: str = 'rgb'):
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation
        self.hue = hue
        self.jitter = torchvision.transforms.ColorJitter(
            brightness, contrast, saturation, hue)
        self.prob = check_probability(prob, 'prob')
        self.channel_order = check_order(channel_order)

    def __call__(self, results: dict) -> dict:
        """Change the colours of the image."""
        if np.random.rand() >= self.prob:
            return results
        step = -1 if self.channel_order == 'rgb' else 1
        image = np.ascontiguousarray(results['img'][..., ::step])
        image = np.asarray(self.jitter(Image.fromarray(image)))
        results['img'] = np.ascontiguousarray(image[..., ::step])
        return results


@PIPELINES.register_module()
class RandomGamma(Transform):
    """Bend the tone curve, as cameras and exposures differ.

    Grey values g become ``255 (g / 255) ** gamma``: black and white stay, what
    lies between gets darker (gamma > 1) or brighter. Goes before Normalize,
    on an uint8 image.

    Args:
        gamma: The exponent of all channels is drawn from 1 / gamma to gamma,
            evenly on a logarithmic scale; at least 1.
        channel_gamma: Each channel's exponent is multiplied by one that is
            drawn in the same way, which shifts colours.
        prob: Of any change.
    """

    def __init__(self,
                 gamma: float = 1.5,
                 channel_gamma: float = 1.2,
                 prob: float = 0.8):
        for name, value in dict(
                gamma=gamma, channel_gamma=channel_gamma).items():
            if not value >= 1:
                raise ValueError(f'Expected {name} of at least 1, got '
                                 f'{value!r}.')
        self.gamma = gamma
        self.channel_gamma = channel_gamma
        self.prob = check_probability(prob, 'prob')

    def __call__(self, results: dict) -> dict:
        """Change the tones of the image."""
        if np.random.rand() >= self.prob:
            return results
        bends = np.random.uniform(-1, 1, 4)
        exponents = self.gamma**bends[0] * self.channel_gamma**bends[1:]
        levels = np.linspace(0, 1, 256)[:, None]
        table = np.rint(255 * levels**exponents).astype(np.uint8)
        results['img'] = cv2.LUT(
            np.ascontiguousarray(results['img']), table[None])
        return results


@PIPELINES.register_module()
class RandomGrayscale(Transform):
    """Replace the colours by their luma, on three channels.

    ``channel_order`` is as for :class:`ColorJitter`.
    """

    def __init__(self, prob: float = 0.2, channel_order: str = 'rgb'):
        self.prob = check_probability(prob, 'prob')
        self.channel_order = check_order(channel_order)

    def __call__(self, results: dict) -> dict:
        """Take the colours out of the image."""
        if np.random.rand() >= self.prob:
            return results
        code = cv2.COLOR_BGR2GRAY
        if self.channel_order == 'bgr':
            code = cv2.COLOR_RGB2GRAY
        gray = cv2.cvtColor(results['img'], code)
        results['img'] = np.repeat(gray[..., None], 3, axis=2)
        return results


@PIPELINES.register_module()
class RandomGaussianBlur(Transform):
    """Blur by a Gaussian whose standard deviation in pixels is drawn from the
    range ``sigma``.
    """

    def __init__(self, sigma=(0.1, 2.0), prob: float = 0.5):
        if not 0 < sigma[0] <= sigma[1]:
            raise ValueError('Expected sigma as (low, high), positive, got '
                             f'{sigma!r}.')
        self.sigma = tuple(sigma)
        self.prob = check_probability(prob, 'prob')

    def __call__(self, results: dict) -> dict:
        """Blur the image."""
        if np.random.rand() < self.prob:
            sigma = np.random.uniform(*self.sigma)
            results['img'] = cv2.GaussianBlur(results['img'], (0, 0), sigma)
        return results
