"""The same photograph in two splits, whatever its size, crop and name."""
from collections.abc import Sequence

import numpy as np
from PIL import Image

from mbos.io.field_of_view import find_field_of_view

PREVIEW = 768
"""Side of the copy in which the retina is found, to make a thumbnail of it."""
THUMBNAIL = (32, 32)
SAME = 2.5
"""Mean difference in grey values below which two thumbnails are one eye: at
most 1.0 between copies of IDRiD's photographs of other sizes, at least 5.0
between 63 eyes of DRIVE, IDRiD, Drishti-GS and STARE."""


def thumbnail(image: Image.Image) -> np.ndarray:
    """A small grey copy of the retina, whatever margin the image has."""
    small = image.copy()
    small.thumbnail((PREVIEW, PREVIEW), Image.Resampling.BOX)
    x, y, width, height = find_field_of_view(np.array(small)).box
    retina = small.convert('L').crop((x, y, x + width, y + height))
    return np.array(retina.resize(THUMBNAIL, Image.Resampling.BOX), np.float32)


def find_duplicates(reports: Sequence) -> list[str]:
    """A sentence for each photograph of a training split that occurs in
    others.
    """
    training = [(report.images[stem], thumbnail) for report in reports
                if report.training
                for stem, thumbnail in report.thumbnails.items()]
    if not training:
        return []
    known = np.stack([thumbnail for _, thumbnail in training])
    problems = []
    for report in reports:
        for stem, thumbnail in report.thumbnails.items():
            if report.training:
                break
            distance = np.abs(known - thumbnail).mean(axis=(1, 2))
            closest = int(distance.argmin())
            if distance[closest] < SAME:
                problems.append(
                    f'{report.images[stem]}: shows the same as '
                    f'{training[closest][0]}, which is trained on; remove it '
                    'from one of the two.')
    return problems
