"""Cameras that photograph a synthetic eye: colour, light, blur, noise."""
from dataclasses import dataclass

import cv2
import numpy as np

from .synthetic_drawing import Frame
from .synthetic_eye import Eye

USUAL_COLOR = np.array([180, 92, 44], np.float32)
"""Retina to which the colours of disc and bright lesions belong, RGB; a
camera that sees the retina otherwise sees them half as much otherwise."""


@dataclass(frozen=True)
class Camera:
    """How the photographs of a collection look."""

    aspect: float  # width of the frame divided by its height
    radius: float  # of the field of view divided by the height
    color: tuple[float, float, float]  # mean RGB of the retina, 0 to 255
    scale: float = 1.0  # height of the frame divided by the requested size
    variation: float = 0.08  # of exposure and colour among photographs
    vignette: float = 0.3  # light lost at the edge
    blur: float = 0.004  # standard deviation in radii of the field of view
    noise: float = 2.5  # of the sensor, in grey values
    black: float = 2.0  # grey value outside the field of view

    def frame(self, size: int) -> Frame:
        """The geometry of a photograph of about ``size`` pixels height."""
        height = int(round(size * self.scale))
        width = int(round(height * self.aspect))
        return Frame(height, width, (width - 1) / 2, (height - 1) / 2,
                     self.radius * height)


def _smooth_noise(rng: np.random.Generator, frame: Frame,
                  cell: float) -> np.ndarray:
    """Noise (H, W) of unit variance with blotches of ``cell`` radii."""
    pixels = max(1.0, cell * frame.radius)
    shape = (int(frame.height / pixels) + 3, int(frame.width / pixels) + 3)
    coarse = rng.standard_normal(shape, dtype=np.float32)
    return cv2.resize(
        coarse, (frame.width, frame.height), interpolation=cv2.INTER_CUBIC)


def _blend(image: np.ndarray, alpha: np.ndarray, color: np.ndarray) -> None:
    """Cover ``image`` (H, W, 3) with a colour, in place."""
    image += alpha[..., None] * (color - image)


def _filter(image: np.ndarray, alpha: np.ndarray, factors) -> None:
    """Absorb light where ``alpha`` (H, W) is, in place."""
    loss = 1 - np.asarray(factors, dtype=np.float32)
    image *= 1 - alpha[..., None] * loss


def _soften(alpha: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(alpha, (0, 0), max(sigma, 0.1))


def _retina(rng: np.random.Generator, eye: Eye) -> np.ndarray:
    """Reflectance (H, W, 3) of the fundus without vessels, about 1."""
    frame = eye.frame
    x, y = frame.grid()
    mottle = (0.035 * _smooth_noise(rng, frame, 0.25) +
              0.025 * _smooth_noise(rng, frame, 0.08) +
              0.025 * _smooth_noise(rng, frame, 0.03) +
              0.02 * _smooth_noise(rng, frame, 0.012))
    # The choroid shines through in red more than in green and blue.
    weights = np.array([0.8, 1.2, 1.3], dtype=np.float32)
    image = 1 + mottle[..., None] * weights
    to_fovea = np.hypot(x - eye.fovea[0], y - eye.fovea[1])
    _filter(image, np.exp(-(to_fovea / 0.2)**2), (0.8, 0.72, 0.75))
    _filter(image, np.exp(-(to_fovea / 0.06)**2), (0.9, 0.85, 0.85))
    to_disc = np.hypot(x - eye.disc_center[0], y - eye.disc_center[1])
    glow = np.exp(-(to_disc / (2.2 * eye.disc_radius))**2)
    image *= 1 + rng.uniform(0.05, 0.2) * glow[..., None]
    return image


def _paint_disc(rng: np.random.Generator, image: np.ndarray, eye: Eye,
                white: np.ndarray) -> None:
    radius = eye.frame.radius
    edge = rng.uniform(0.008, 0.014) * radius
    rim = np.array([252, 170, 86], np.float32) * rng.uniform(0.94, 1.06)
    pale = np.array([264, 238, 168], np.float32) * rng.uniform(0.98, 1.06)
    _blend(image, 0.94 * _soften(eye.disc, edge), white * rim)
    _blend(image, 0.94 * _soften(eye.cup, edge), white * pale)


def _paint_vessels(rng: np.random.Generator, image: np.ndarray,
                   eye: Eye) -> None:
    sigma = 0.0035 * eye.frame.radius
    depth = rng.uniform(0.85, 1.08)
    artery = _soften(eye.vessels['artery'], sigma)
    vein = _soften(eye.vessels['vein'], sigma)
    _filter(image, depth * artery, (0.83, 0.53, 0.54))
    _filter(image, 0.22 * _soften(eye.vessels['reflex'], sigma),
            (0.75, 0.2, 0.3))
    image *= 1 + 0.16 * _soften(eye.vessels['reflex'], sigma)[..., None]
    _filter(image, depth * vein * (1 - 0.6 * artery), (0.71, 0.45, 0.47))


def _paint_lesions(rng: np.random.Generator, image: np.ndarray, eye: Eye,
                   white: np.ndarray) -> None:
    frame = eye.frame
    uneven = 1 + 0.07 * _smooth_noise(rng, frame, 0.03)
    soft = 0.75 * uneven * _soften(eye.lesions['SE'], 0.017 * frame.radius)
    _blend(image, soft, white * np.array([246, 214, 166], np.float32))
    sharp = 0.86 * uneven * _soften(eye.lesions['EX'], 0.003 * frame.radius)
    _blend(image, np.minimum(sharp, 1),
           white * np.array([262, 226, 96], np.float32))
    for name, factors in (('HE', (0.6, 0.36, 0.45)), ('MA', (0.58, 0.32,
                                                             0.42))):
        red = uneven * _soften(eye.lesions[name], 0.007 * frame.radius)
        _filter(image, rng.uniform(0.88, 1.02) * red, factors)


def _light(rng: np.random.Generator, eye: Eye, camera: Camera) -> np.ndarray:
    """Uneven illumination (H, W, 1), about 1 in the centre."""
    x, y = eye.frame.grid()
    tilt = rng.normal(0, 0.07, 2)
    off_x, off_y = rng.uniform(-0.2, 0.2, 2)
    distance = (x - off_x)**2 + (y - off_y)**2
    light = 1.06 - camera.vignette * distance**1.3 + tilt[0] * x + tilt[1] * y
    light += 0.025 * _smooth_noise(rng, eye.frame, 0.7)
    return np.clip(light, 0.45, 1.35)[..., None].astype(np.float32)


def photograph(eye: Eye, camera: Camera,
               rng: np.random.Generator) -> np.ndarray:
    """Take a picture of an eye: RGB (H, W, 3), uint8."""
    spread = camera.variation
    tint = np.exp(rng.normal(0, spread * np.array([0.3, 0.7, 1.2])))
    color = np.array(camera.color, np.float32) * tint.astype(np.float32)
    exposure = np.float32(np.exp(rng.normal(0, spread)))
    light = _light(rng, eye, camera)

    image = _retina(rng, eye) * color
    white = (color / USUAL_COLOR)**0.5
    _paint_disc(rng, image, eye, white)
    _paint_vessels(rng, image, eye)
    _paint_lesions(rng, image, eye, white)
    image *= light * exposure
    # Sensors saturate gently; the red channel would clip flat otherwise.
    knee = 205.0
    over = np.maximum(image - knee, 0)
    image = np.minimum(image, knee) + over / (1 + over / 55)

    image = cv2.GaussianBlur(
        image.astype(np.float32), (0, 0),
        max(0.3, camera.blur * eye.frame.radius * rng.uniform(0.7, 1.4)))
    fov = eye.fov[..., None]
    image = image * fov + camera.black * (1 - fov)
    grain = rng.standard_normal(image.shape, dtype=np.float32)
    image += camera.noise * grain * (0.25 + 0.75 * fov)
    return np.clip(np.round(image), 0, 255).astype(np.uint8)
