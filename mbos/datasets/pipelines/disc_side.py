"""The side of the optic disc: finding, writing, and flipping to it."""
import numpy as np
from mmseg.datasets import PIPELINES

from mbos.io import read_text
from mbos.io.files import save_text
from mbos.tasks import IGNORE_INDEX
from .transforms import flip_all

SIDES = ('left', 'right')


def find_disc_side(labels: np.ndarray) -> str | None:
    """Say on which half of the image the disc's centre of mass lies, 'left' or
    'right'; None without a disc. ``labels`` (H, W) are those of disc and cup.
    """
    disc = (labels > 0) & (labels != IGNORE_INDEX)
    columns = disc.sum(axis=0)
    if not columns.any():
        return None
    centre = np.average(np.arange(len(columns)), weights=columns)
    return SIDES[int(centre > (len(columns) - 1) / 2)]


def write_disc_sides(sides: dict[str, str], path: str) -> None:
    """Write a side file, one line ``stem side`` per image."""
    save_text(path, ''.join(f'{s} {sides[s]}\n' for s in sorted(sides)))


def read_disc_sides(path: str) -> dict[str, str]:
    """Read a side file: side by image stem.

    Raises:
        ValueError: If the file is missing or a line is not ``stem side``.
    """
    expected = 'expected a line "stem left" or "stem right" per image'
    try:
        lines = read_text(path).splitlines()
    except OSError as error:
        raise ValueError(f'{path}: not found; {expected}.') from error
    sides = {}
    for line in filter(str.strip, lines):
        stem, _, side = line.strip().rpartition(' ')  # a stem may hold blanks
        if not stem or side not in SIDES:
            raise ValueError(f'{path}: {expected}, got {line!r}.')
        sides[stem.strip()] = side
    return sides


@PIPELINES.register_module()
class DiscSideFlip:
    """Flip horizontally so that the disc lies on one ``side`` in all images.

    Goes before the random flips (docs/method.md, section 8). ``side_file`` has
    a line ``stem left`` or ``stem right`` per image.

    Raises:
        ValueError: If the file is missing or wrong, or, when called, if it
            does not name the image.
    """

    def __init__(self, side_file: str, side: str = 'left'):
        if side not in SIDES:
            raise ValueError(f"Expected side 'left' or 'right', got {side!r}.")
        self.side_file = side_file
        self.side = side
        self.sides = read_disc_sides(side_file)

    def __call__(self, results: dict) -> dict:
        """Flip image and planes where the disc lies on the other side."""
        stem = results['img_info']['stem']
        if stem not in self.sides:
            raise ValueError(f'{self.side_file}: has no line for image '
                             f'{stem!r}; add "{stem} left" or "{stem} right".')
        if self.sides[stem] != self.side:
            flip_all(results, 'horizontal')
        return results
