"""Colour jitter, tones, grayscale and blur of images in BGR, before Normalize.

``channel_order`` 'bgr' takes the loaded image as if it were RGB, as the
published release does (docs/method.md, section 8).
"""
import cv2
import numpy as np
import torchvision
from mmseg.datasets import PIPELINES
from PIL import Image

from .transforms import check_choice, check_probability


class ColourTransform:
    """Calls ``_change`` of the image, (H, W, 3) uint8, with a probability."""

    def __init__(self, prob: float, channel_order: str = 'rgb'):
        self.prob = check_probability(prob)
        self.is_rgb = check_choice(channel_order, ('rgb', 'bgr')) == 'rgb'

    def __call__(self, results: dict) -> dict:
        if np.random.rand() < self.prob:
            changed = self._change(results['img'])
            results['img'] = np.ascontiguousarray(changed)
        return results


@PIPELINES.register_module()
class ColorJitter(ColourTransform):
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
        super().__init__(prob, channel_order)
        self.jitter = torchvision.transforms.ColorJitter(
            brightness, contrast, saturation, hue)

    def _change(self, image: np.ndarray) -> np.ndarray:
        step = -1 if self.is_rgb else 1
        image = Image.fromarray(np.ascontiguousarray(image[..., ::step]))
        return np.asarray(self.jitter(image))[..., ::step]


@PIPELINES.register_module()
class RandomGamma(ColourTransform):
    """Bend the tone curve, as cameras and exposures differ.

    Grey values g become ``255 (g / 255) ** exponent``. The exponent is drawn
    from 1 / gamma to gamma, evenly on a logarithmic scale, and multiplied for
    each channel by one that ``channel_gamma`` gives likewise.
    """

    def __init__(self,
                 gamma: float = 1.5,
                 channel_gamma: float = 1.2,
                 prob: float = 0.8):
        super().__init__(prob)
        self.gamma, self.channel_gamma = gamma, channel_gamma

    def _change(self, image: np.ndarray) -> np.ndarray:
        bends = np.random.uniform(-1, 1, 4)
        exponents = self.gamma**bends[0] * self.channel_gamma**bends[1:]
        levels = np.linspace(0, 1, 256)[:, None]
        table = np.rint(255 * levels**exponents).astype(np.uint8)
        return cv2.LUT(np.ascontiguousarray(image), table[None])


@PIPELINES.register_module()
class RandomGrayscale(ColourTransform):
    """Replace the colours by their luma, on three channels."""

    def __init__(self, prob: float = 0.2, channel_order: str = 'rgb'):
        super().__init__(prob, channel_order)

    def _change(self, image: np.ndarray) -> np.ndarray:
        code = cv2.COLOR_BGR2GRAY if self.is_rgb else cv2.COLOR_RGB2GRAY
        return np.repeat(cv2.cvtColor(image, code)[..., None], 3, axis=2)


@PIPELINES.register_module()
class RandomGaussianBlur(ColourTransform):
    """Blur by a Gaussian whose standard deviation in pixels is drawn from the
    range ``sigma``.
    """

    def __init__(self, sigma=(0.1, 2.0), prob: float = 0.5):
        super().__init__(prob)
        self.sigma = tuple(sigma)

    def _change(self, image: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(image, (0, 0), np.random.uniform(*self.sigma))
