"""Photographs as mmseg's transforms expect them."""
import numpy as np

from mbos.io.photographs import EncodedPhotograph


class Photograph(EncodedPhotograph):
    """An encoded photograph whose channels are in mmcv's order, BGR."""

    def decode(self, factor: int = 1) -> np.ndarray:
        """As ``EncodedPhotograph.decode``, in BGR."""
        return super().decode(factor, bgr=True)
