"""From a photograph to the square that the network's inputs are made of."""
from dataclasses import dataclass

import numpy as np

from mbos.io.field_of_view import FieldOfView, find_field_of_view
from mbos.io.geometry import Geometry, make_geometry
from mbos.io.photographs import Photograph


@dataclass(frozen=True)
class PreparedPhotograph:
    """Where a photograph's crop lies.

    Attributes:
        geometry (Geometry): Crop and padding; nothing is scaled.
        field_of_view (FieldOfView): The retina in the photograph.
        notes (tuple[str]): What was done to read it.
    """

    geometry: Geometry
    field_of_view: FieldOfView
    notes: tuple[str, ...] = ()


def prepare_photograph(
        photograph: Photograph,
        crop: str = 'fov') -> tuple[PreparedPhotograph, np.ndarray]:
    """Crop and pad a photograph as the training data were.

    Args:
        photograph (Photograph): The photograph.
        crop (str): As ``PredictionSettings.crop``.

    Returns:
        tuple[PreparedPhotograph, ndarray]: Where the crop lies, and the crop,
        RGB, (S, S, 3), uint8; of any shape with ``crop='none'``.
    """
    image = photograph.image
    fov = find_field_of_view(image)
    geometry = make_geometry(
        'photograph', (image.shape[1], image.shape[0]),
        box=fov.box if crop == 'fov' else None,
        square=crop != 'none')
    return (PreparedPhotograph(geometry, fov, photograph.notes),
            geometry.apply(image, is_label=False))
