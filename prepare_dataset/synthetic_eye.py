"""Anatomy of a synthetic eye: shapes with exact ground truth.

Shapes are drawn supersampled in eye coordinates (``synthetic_drawing.py``), so
that a coverage of one half decides about the truth and the photograph gets
smooth edges from the same drawing.
"""
from dataclasses import dataclass

import cv2
import numpy as np

from .synthetic_drawing import Canvas, Frame
from .synthetic_vessels import draw_vessels, vessel_tree

LESIONS = ('EX', 'HE', 'SE', 'MA')
"""Lesion classes in the order of their label values 1 to 4."""
LESION_SHAPES = dict(
    EX=(None, 0.2, 1.7),
    HE=((0.03, 0.058), 0.22, 1.9),
    SE=((0.045, 0.065), 0.16, 1.6),
    MA=((0.016, 0.0195), 0.05, 1.0))
"""dict[str, tuple]: Range of radii (exudates have a few large ones), waviness
of the edge, and the largest ratio of the two axes."""


@dataclass
class Eye:
    """Coverage maps (H, W) float32 in 0..1 and landmarks of one eye.

    Vessels are ``vein``, ``artery`` and ``reflex``, the bright line along wide
    arteries; the disc includes the cup; lesions are by class.
    """

    frame: Frame
    fov: np.ndarray
    vessels: dict[str, np.ndarray]
    disc: np.ndarray
    cup: np.ndarray
    lesions: dict[str, np.ndarray]
    disc_center: np.ndarray
    disc_radius: float
    fovea: np.ndarray

    def masks(self) -> dict[str, np.ndarray]:
        """Binary truth (H, W) of vessel, disc, cup, each lesion and fov."""
        inside = self.fov > 0.5
        vessel = np.maximum(self.vessels['vein'], self.vessels['artery'])
        maps = dict(vessel=vessel, disc=self.disc, cup=self.cup)
        maps.update(self.lesions)
        masks = {name: (m > 0.5) & inside for name, m in maps.items()}
        return dict(masks, fov=inside)


def label_planes(masks: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Merge masks of :meth:`Eye.masks` into a label plane (H, W) per task; of
    lesions that overlap, the later class of ``LESIONS`` is taken.
    """
    lesion = np.zeros(masks['vessel'].shape, dtype=np.uint8)
    for value, name in enumerate(LESIONS, start=1):
        lesion[masks[name]] = value
    odoc = masks['disc'].astype(np.uint8) + (masks['cup'] & masks['disc'])
    return dict(
        vessel=masks['vessel'].astype(np.uint8), lesion=lesion, odoc=odoc)


def blob(rng: np.random.Generator,
         center: np.ndarray,
         radius: float,
         irregular: float = 0.15,
         stretch: float = 1.0) -> np.ndarray:
    """Outline (N, 2) of a roundish shape with a wavy edge.

    ``irregular`` is the standard deviation of the edge, relative to the mean
    radius; ``stretch`` the ratio of the two axes, in a random direction.
    """
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    wave = np.zeros_like(angle)
    for order in (2, 3, 5):
        wave += rng.normal(
            0, irregular / order**0.5) * np.cos(order * angle +
                                                rng.uniform(0, 2 * np.pi))
    r = radius * np.clip(1 + wave, 0.5, 1.6)
    turn = rng.uniform(0, np.pi)
    u, v = r * np.cos(angle) * stretch**0.5, r * np.sin(angle) / stretch**0.5
    cos, sin = np.cos(turn), np.sin(turn)
    return np.asarray(center) + np.stack(
        [u * cos - v * sin, u * sin + v * cos], axis=1)


def _free_spots(frame: Frame, free: np.ndarray, candidates: np.ndarray,
                count: int) -> np.ndarray:
    """At most ``count`` of the candidates (N, 2) that lie on free ground."""
    pixels = np.round(frame.to_pixels(candidates)).astype(int)
    high = [frame.width - 1, frame.height - 1]
    inside = ((pixels >= 0) & (pixels <= high)).all(axis=1)
    x, y = np.clip(pixels, 0, high).T
    return candidates[inside & free[y, x]][:count]


def _anywhere(rng: np.random.Generator, count: int) -> np.ndarray:
    rho = 0.86 * np.sqrt(rng.uniform(0.01, 1, count))
    angle = rng.uniform(0, 2 * np.pi, count)
    return np.stack([rho * np.cos(angle), rho * np.sin(angle)], axis=1)


def _lesion_outline(rng: np.random.Generator, name: str,
                    spot: np.ndarray) -> np.ndarray:
    radii, irregular, longest = LESION_SHAPES[name]
    radius = rng.uniform(*radii) if radii else 0.0145 * rng.lognormal(0.1, 0.5)
    stretch = rng.uniform(1, longest) if longest > 1 else 1.0
    return blob(rng, spot, radius, irregular, stretch)


def _lesion_candidates(rng: np.random.Generator, name: str,
                       fovea: np.ndarray) -> tuple[np.ndarray, int]:
    """Candidate positions (N, 2) of one class, and how many to use."""
    if name != 'EX':
        low, high = dict(HE=(5, 14), SE=(2, 6), MA=(8, 22))[name]
        return _anywhere(rng, 200), int(rng.integers(low, high))
    clusters = int(rng.integers(3, 7))
    centers = np.concatenate([
        fovea + rng.normal(0, 0.25, (clusters - 1, 2)),
        _anywhere(rng, 1) * 0.8
    ])
    spread = rng.uniform(0.03, 0.11, (clusters, 1, 1))
    members = centers[:, None] + spread * rng.normal(size=(clusters, 16, 2))
    members = members.reshape(-1, 2)
    rng.shuffle(members)
    return members, int(len(members) * rng.uniform(0.5, 0.9))


def _draw_lesions(rng: np.random.Generator, frame: Frame, diseased: bool,
                  blocked: np.ndarray, vessel: np.ndarray,
                  fovea: np.ndarray) -> dict[str, np.ndarray]:
    """Draw each lesion class where no earlier one lies.

    Soft and hard exudates may cross vessels, red lesions keep clear of them:
    nobody could see a microaneurysm on a vein.
    """
    maps = {}
    margin = max(1, int(round(0.035 * frame.radius)))
    ball = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1, ) * 2)
    occupied = blocked.astype(np.uint8)
    near_vessel = cv2.dilate((vessel > 0.3).astype(np.uint8), ball)
    presence = dict(SE=0.7, EX=0.93, HE=0.95, MA=0.95)
    for name, probability in presence.items():
        canvas = Canvas(frame)
        if diseased and rng.random() < probability:
            candidates, count = _lesion_candidates(rng, name, fovea)
            free = cv2.dilate(occupied, ball) == 0
            if name in ('HE', 'MA'):
                free &= near_vessel == 0
            spots = _free_spots(frame, free, candidates, count)
            for spot in spots:
                canvas.polygon(_lesion_outline(rng, name, spot))
        maps[name] = canvas.coverage()
        occupied |= (maps[name] > 0.1).astype(np.uint8)
    return {name: maps[name] for name in LESIONS}


def draw_eye(frame: Frame,
             rng: np.random.Generator,
             diseased: bool = False,
             glaucoma: bool = False) -> Eye:
    """Draw one eye, with diabetic lesions and an enlarged cup if asked."""
    nasal = rng.choice([-1, 1])
    disc_center = np.array(
        [nasal * rng.uniform(0.5, 0.68),
         rng.uniform(-0.1, 0.1)])
    fovea = disc_center - [nasal * rng.uniform(0.66, 0.76), -0.05]
    disc_radius = rng.uniform(0.16, 0.2)
    ratio = rng.uniform(0.58, 0.72) if glaucoma else rng.uniform(0.4, 0.55)

    disc, cup = Canvas(frame), Canvas(frame)
    outline = blob(rng, disc_center, disc_radius, 0.025)
    outline = disc_center + (outline - disc_center) * [0.95, 1.05]
    shift = rng.uniform(-0.06, 0.06, 2) * disc_radius
    disc.polygon(outline)
    cup.polygon(disc_center + shift + (outline - disc_center) * ratio)

    fov = Canvas(frame)
    angle = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    fov.polygon(np.stack([np.cos(angle), np.sin(angle)], axis=1))

    tree = vessel_tree(rng, disc_center, disc_radius, fovea)
    vessels = draw_vessels(frame, tree)
    x, y = frame.grid()
    near_disc = np.hypot(x - disc_center[0],
                         y - disc_center[1]) < 1.25 * disc_radius
    lesions = _draw_lesions(rng, frame, diseased, near_disc,
                            np.maximum(vessels['vein'], vessels['artery']),
                            fovea)
    return Eye(frame, fov.coverage(), vessels, disc.coverage(), cup.coverage(),
               lesions, disc_center, disc_radius, fovea)
