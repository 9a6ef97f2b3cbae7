"""Colour jitter, tones, grayscale and blur of images in BGR, before Normalize.

Arguments ``prob`` are the probability of any change. ``channel_order`` 'rgb'
works on the true colours; 'bgr' takes the loaded image as if it were RGB, as
the published release does (docs/method.md, section 8).
"""
import cv2
import numpy as np
import torchvision
from mmseg.datasets import PIPELINES
from PIL import Image

from .transforms import check_probability


def check_order(order: str) -> str:
    """Return a channel order, or say that it is not one."""
    if order not in ('rgb', 'bgr'):
        raise ValueError("Expected channel_order 'rgb', or 'bgr' for the "
                         f'published behaviour, got {order!r}.')
    return order


@PIPELINES.register_module()
class ColorJitter:
    """Change brightness, contrast, saturation (factors of 1 - value to 1 +
    value) and hue (by -hue to hue turns), in random order.
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
        self.step = -1 if check_order(channel_order) == 'rgb' else 1

    def __call__(self, results: dict) -> dict:
        """Change the colours of the image."""
        if np.random.rand() >= self.prob:
            return results
        image = np.ascontiguousarray(results['img'][..., ::self.step])
        image = np.asarray(self.jitter(Image.fromarray(image)))
        results['img'] = np.ascontiguousarray(image[..., ::self.step])
        return results


@PIPELINES.register_module()
class RandomGamma:
    """Bend the tone curve, as cameras and exposures differ.

    Grey values g become ``255 (g / 255) ** gamma``: black and white stay, what
    lies between gets darker (gamma > 1) or brighter. The exponent of all
    channels is drawn from 1 / gamma to gamma, evenly on a logarithmic scale,
    and multiplied for each channel by one that ``channel_gamma`` gives in the
    same way, which shifts colours.
    """

    def __init__(self,
                 gamma: float = 1.5,
                 channel_gamma: float = 1.2,
                 prob: float = 0.8):
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
class RandomGrayscale:
    """Replace the colours by their luma, on three channels."""

    def __init__(self, prob: float = 0.2, channel_order: str = 'rgb'):
        self.prob = check_probability(prob, 'prob')
        self.code = cv2.COLOR_BGR2GRAY if check_order(
            channel_order) == 'rgb' else cv2.COLOR_RGB2GRAY

    def __call__(self, results: dict) -> dict:
        """Take the colours out of the image."""
        if np.random.rand() < self.prob:
            gray = cv2.cvtColor(results['img'], self.code)
            results['img'] = np.repeat(gray[..., None], 3, axis=2)
        return results


@PIPELINES.register_module()
class RandomGaussianBlur:
    """Blur by a Gaussian whose standard deviation in pixels is drawn from the
    range ``sigma``.
    """

    def __init__(self, sigma=(0.1, 2.0), prob: float = 0.5):
        self.sigma = tuple(sigma)
        self.prob = check_probability(prob, 'prob')

    def __call__(self, results: dict) -> dict:
        """Blur the image."""
        if np.random.rand() < self.prob:
            sigma = np.random.uniform(*self.sigma)
            results['img'] = cv2.GaussianBlur(results['img'], (0, 0), sigma)
        return results
