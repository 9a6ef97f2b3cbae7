"""Vessel trees: two arcades around the macula, two nasal trunks, branches."""
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .synthetic_drawing import Canvas, Frame

# In radii of the field of view.
TRUNK_WIDTH = dict(vein=0.046, artery=0.037)
THINNEST_VESSEL = 0.0165
TERRITORY = 0.065  # Side of a cell of ground that one vessel supplies.
FOVEAL_ZONE = 0.16  # No vessels around the fovea.


class Vessel(NamedTuple):
    """A vessel segment: points (N, 2), width at both ends, and its kind."""

    points: np.ndarray
    start_width: float
    end_width: float
    kind: str


def _bezier(controls: np.ndarray, count: int = 48) -> np.ndarray:
    t = np.linspace(0, 1, count)[:, None]
    a, b, c, d = controls
    return ((1 - t)**3 * a + 3 * (1 - t)**2 * t * b + 3 * (1 - t) * t**2 * c +
            t**3 * d)


def _meander(rng: np.random.Generator, points: np.ndarray,
             amplitude: float) -> np.ndarray:
    """Shift a path sideways by smooth waves that vanish at its start."""
    t = np.linspace(0, 1, len(points))
    wave = sum(
        rng.normal(0, amplitude / k**0.5) *
        np.sin(2 * np.pi * k * t + rng.uniform(0, 2 * np.pi))
        for k in (1.5, 3, 5))
    tangent = np.gradient(points, axis=0)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
    return points + normal * (wave * np.minimum(1, t * 4))[:, None]


def _walk(rng: np.random.Generator, start: np.ndarray, heading: float,
          length: float, bend: float) -> np.ndarray:
    """A path that leaves ``start`` in a direction and turns by ``bend``."""
    step = 0.02
    count = max(5, int(length / step))
    noise = np.convolve(rng.normal(0, 0.15, count), np.ones(6) / 6, 'same')
    theta = heading + bend * np.linspace(0, 1, count) + np.cumsum(noise)
    moves = step * np.stack([np.cos(theta), np.sin(theta)], axis=1)
    return np.concatenate([start[None], start + np.cumsum(moves, axis=0)])


class VesselTree:
    """Vessels that grow into ground which no other one supplies.

    A trunk may cross others, a branch ends where it meets a vessel: so the
    tree covers the retina evenly, as a real one does. No vessel enters the
    macula, whose centre is ``fovea``.
    """

    def __init__(self, rng: np.random.Generator, fovea: np.ndarray):
        self.rng = rng
        self.fovea = fovea
        self.vessels: list[Vessel] = []
        self._supplied = np.zeros((int(2.2 / TERRITORY) + 1, ) * 2, bool)

    def _cells(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        cells = np.clip((points + 1.1) / TERRITORY, 0,
                        len(self._supplied) - 1).astype(int)
        return cells[:, 1], cells[:, 0]

    def _cut(self, points: np.ndarray, free_steps: int) -> np.ndarray:
        """The part of a path before it leaves the eye or meets a vessel."""
        gone = (np.linalg.norm(points, axis=1) > 1.03) | (
            np.linalg.norm(points - self.fovea, axis=1) < FOVEAL_ZONE)
        gone[free_steps:] |= self._supplied[self._cells(points[free_steps:])]
        return points[:int(np.argmax(gone))] if gone.any() else points

    def grow(self, points: np.ndarray, width: float, kind: str,
             depth: int) -> None:
        """Add a trunk along ``points`` (N, 2), then ``depth`` generations of
        branches.
        """
        trunk = self._add(self._cut(points, len(points)), width, kind)
        generation = [trunk] if trunk else []
        for _ in range(depth):
            branches = [b for v in generation for b in self._branches(v)]
            generation = [b for b in branches if b]

    def _add(self, points: np.ndarray, width: float,
             kind: str) -> Vessel | None:
        if len(points) < 6:
            return None
        end_width = max(THINNEST_VESSEL, width * self.rng.uniform(0.45, 0.6))
        vessel = Vessel(points, width, end_width, kind)
        self.vessels.append(vessel)
        self._supplied[self._cells(points)] = True
        return vessel

    def _branches(self, parent: Vessel) -> Iterator[Vessel | None]:
        """Yield the branches of a vessel, None for one without room."""
        rng = self.rng
        points, start, end, kind = parent
        if start < 1.15 * THINNEST_VESSEL:
            return
        length = np.linalg.norm(np.diff(points, axis=0), axis=1).sum()
        count = int(round(length / rng.uniform(0.13, 0.2)))
        side = rng.choice([-1, 1])
        for position in np.sort(rng.uniform(0.12, 0.95, count)):
            index = int(position * (len(points) - 1))
            here = start + (end - start) * position
            width = max(THINNEST_VESSEL, here * rng.uniform(0.4, 0.7))
            dx, dy = points[index + 1] - points[index]
            side = -side if rng.random() < 0.75 else side
            angle = side * rng.uniform(0.55, 1.1)
            path = _walk(rng, points[index],
                         np.arctan2(dy, dx) + angle,
                         rng.uniform(0.3, 0.5) * (1 + 15 * width),
                         -0.7 * angle)
            yield self._add(self._cut(path, 5), width, kind)


def vessel_tree(rng: np.random.Generator, disc: np.ndarray, radius: float,
                fovea: np.ndarray) -> list[Vessel]:
    """Grow the arteries and veins of an eye with a disc and a fovea.

    Two temporal arcades bow around the macula, two nasal trunks run to the
    edge, each as a pair of an artery and a vein, and a few thin vessels leave
    the disc towards the macula.
    """
    tree = VesselTree(rng, fovea)
    nasal = np.sign(disc[0] - fovea[0])
    trunks = []
    hub = disc + [0.15 * radius * nasal, 0]
    for up in (-1, 1):
        bow = rng.uniform(0.52, 0.68)
        for kind in ('vein', 'artery'):
            spread = bow + rng.uniform(0.03,
                                       0.09) * (1 if kind == 'vein' else -1)
            lean = rng.uniform(-0.09, 0.07)
            start = hub + rng.uniform(-0.25, 0.25, 2) * radius
            # Temporal arcade: up from the disc, around the macula.
            controls = np.array([
                start, disc + [lean * nasal, up * spread * 0.95],
                [fovea[0] + nasal * rng.uniform(0.05, 0.3), up * spread * 1.2],
                [
                    fovea[0] - nasal * rng.uniform(0.75, 0.95),
                    up * spread * rng.uniform(0.5, 1.1)
                ]
            ])
            path = _meander(rng, _bezier(controls), 0.016)
            width = TRUNK_WIDTH[kind] * rng.uniform(0.88, 1.1)
            trunks.append((path, width, kind, 3))
            # Nasal trunk: out to the near edge.
            reach = rng.uniform(0.45, 0.85)
            controls = np.array([
                start, disc + [(lean + 0.1) * nasal, up * 0.3],
                disc + [nasal * 0.2, up * reach * 0.8],
                disc + [nasal * rng.uniform(0.2, 0.5), up * (reach + 0.2)]
            ])
            path = _meander(rng, _bezier(controls), 0.016)
            trunks.append((path, 0.66 * width, kind, 2))
    for angle in rng.uniform(-0.9, 0.9, 3):
        heading = angle + (np.pi if nasal > 0 else 0)
        path = _walk(rng, hub, heading, rng.uniform(0.5, 0.8),
                     -1.2 * nasal * -angle * 0.5)
        trunks.append((path, 0.02, 'artery', 1))
    for trunk in trunks:
        tree.grow(*trunk)
    return tree.vessels


def draw_vessels(frame: Frame, tree: list[Vessel]) -> dict[str, np.ndarray]:
    """Draw a vessel tree: coverage in 0..1 of vein, artery and reflex."""
    maps = {name: Canvas(frame) for name in ('vein', 'artery', 'reflex')}
    for vessel in tree:
        points, start, end, kind = vessel
        maps[kind].tapered_line(points, start, end)
        if kind == 'artery' and start > 0.02:
            maps['reflex'].tapered_line(points, start * 0.3, end * 0.3)
    return {name: canvas.coverage() for name, canvas in maps.items()}
