"""What a dataset does about files that others made."""
import os.path as osp
from typing import List

import cv2

from mbos.io import (RefusedError, check_inside, problems_of_links,
                     problems_of_names)
from .checks import DataError


class UntrustedFilesMixin:
    """Links, names and images that only one library reads.

    Stands before mmseg's dataset; see PartialLabelDataset.
    """

    def __getitem__(self, idx: int) -> dict:
        """Load an image with its planes.

        Raises:
            ValueError: If a file of it cannot be read.
        """
        try:
            return super().__getitem__(idx)
        except (AttributeError, cv2.error) as error:
            # mmseg goes on with None where OpenCV reads nothing
            path = self.image_path(idx)
            if cv2.imread(path) is not None:
                raise
            raise DataError([
                f'{path}: OpenCV cannot decode the image, although Pillow '
                'can; save it anew, as PNG or JPEG.'
            ]) from error

    def problems_of_places(self) -> List[str]:
        """Look for links out of the data root and for unprintable names."""
        folders = [
            self.img_dir, *self.ann_dirs.values(), *self.pseudo_dirs.values()
        ] + ([self.fov_dir] if self.fov_dir else [])
        # a missing folder is told elsewhere
        folders = [f for f in dict.fromkeys(folders) if osp.isdir(f)]
        found = []
        for folder in folders:
            found += problems_of_names(folder)
            found += problems_of_links(self._root or folder, folder)
        if self.split is not None and self._root:
            try:
                check_inside(self._root, self.split)
            except RefusedError as error:
                found.append(str(error))
        return found
