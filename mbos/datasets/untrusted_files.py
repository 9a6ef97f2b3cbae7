"""What a dataset does about files that others made."""
import os.path as osp

from mbos.io import (RefusedError, check_inside, problems_of_links,
                     problems_of_names)


class UntrustedFilesMixin:
    """Links that lead elsewhere, and unprintable names.

    Stands before mmseg's dataset; see PartialLabelDataset.
    """

    def problems_of_places(self) -> list[str]:
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
