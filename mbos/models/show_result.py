"""mmseg's ``show_result`` for results that are keyed by task."""

import numpy as np
import torch
from mmcv.image import imwrite
from mmcv.visualization import imshow

from mbos.io.photographs import EncodedPhotograph
from mbos.painter import draw_overlay

Result = dict[str, np.ndarray]


class ShowResultMixin:
    """Drawing of predictions for segmentors that have ``tasks`` by name."""

    def show_result(self,
                    img: str | np.ndarray,
                    result: Result | list[Result],
                    palette: list | None = None,
                    win_name: str = '',
                    show: bool = False,
                    wait_time: int = 0,
                    out_file: str | None = None,
                    opacity: float = 0.5,
                    threshold: float = 0.5) -> np.ndarray:
        """Draw a result on its image; mmseg's tools call it.

        Args:
            img: The image, BGR as mmcv reads it, or its file.
            result: Of ``inference_segmentor``: probabilities (C, H, W) by task
                name.
            palette: Not used: each task has its colours.
            win_name: Title of the window.
            show: Whether to open a window.
            wait_time: Milliseconds that it stays open; 0 is for ever.
            out_file: Picture to write.
            opacity: Of filled areas.
            threshold: Probability to exceed.

        Returns:
            ndarray: The picture, BGR, uint8.
        """
        result = result[0] if isinstance(result, (list, tuple)) else result
        image = img
        if isinstance(img, str):
            image = EncodedPhotograph(img).decode(bgr=True)
        labels = {
            name: task.decode(torch.from_numpy(result[name]),
                              threshold).numpy()
            for name, task in self.tasks.items()
        }
        picture = draw_overlay(image[..., ::-1], labels,
                               list(self.tasks.values()), opacity)
        picture = np.ascontiguousarray(picture[..., ::-1])
        if show:
            imshow(picture, win_name, wait_time)
        if out_file is not None:
            imwrite(picture, out_file)
        return picture
