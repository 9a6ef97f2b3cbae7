"""A dataset of which only some tasks are labelled."""
import math
import os.path as osp
from collections.abc import Sequence

import numpy as np
from mmseg.datasets import DATASETS, CustomDataset
from mmseg.utils import get_root_logger

from mbos.io.photographs import Layout, read_layout
from mbos.tasks import IGNORE_INDEX, Task, build_tasks
from .checks import find_images, problems_of_files, read_split, refuse
from .label_folder import ABSENT, LabelFolder, read_entries
from .scoring import ScoringMixin

FIELD_OF_VIEW = Task('field_of_view', ('inside', ))
# mmseg's leaves depth and rotation to other libraries
STOCK, OWN = dict(type='LoadImageFromFile'), dict(type='LoadPhotograph')


@DATASETS.register_module()
class PartialLabelDataset(ScoringMixin, CustomDataset):
    """Images with a label plane for some of the model's tasks.

    Every task of the model has a plane, and every plane a kind: ``truth``,
    ``pseudo`` or ``absent``. Images and masks belong together by stem, and
    are sorted by it. A DataError says which files are missing.

    Args:
        ann_dirs, pseudo_dirs: Folder of ground truth and of pseudo labels by
            task, or ``dict(path='train/OD', classes=['disc'])`` where it
            labels only some classes; see :class:`LabelFolder`.
        weights: Weight of a plane's loss by task, 1 by default.
        fov_dir: Folder of masks, 0 outside the field of view, for the metrics
            inside it, which are left out where the folder is missing.
        test_mode: Leave the planes out of the samples.
        allow_unlabelled: Accept masks of the values 0 and 255 only, which
            otherwise are taken for masks in the wrong encoding.
        ignore_index: Label value that the metrics leave out; None scores 255
            as the published release does (docs/method.md, section 8).
        threshold: Operating point of the comparable metrics.
    """

    cache = None  # an ArrayCache, where JointDataset is given one

    def __init__(self,
                 name: str,
                 tasks: Sequence,
                 img_dir: str,
                 pipeline: Sequence[dict],
                 data_root: str | None = None,
                 img_suffix: str | Sequence[str] = '.jpg',
                 ann_suffix: str = '.png',
                 ann_dirs: dict[str, str | dict] | None = None,
                 pseudo_dirs: dict[str, str | dict] | None = None,
                 weights: dict[str, float] | None = None,
                 split: str | None = None,
                 fov_dir: str | None = None,
                 test_mode: bool = False,
                 allow_unlabelled: bool = False,
                 ignore_index: int | None = IGNORE_INDEX,
                 threshold: float = 0.5):
        given = locals()  # as a config has them
        self.name = name
        self.tasks = build_tasks(tasks)
        self.allow_unlabelled = allow_unlabelled
        self.threshold = threshold
        # says which test sets see an image in the same way
        self.pipeline_text = repr(pipeline)
        self.truth = read_entries(given, 'ann_dirs', self.tasks)
        self.pseudo = read_entries(given, 'pseudo_dirs', self.tasks)
        self.folders = self.pseudo | self.truth
        self.planes = self._planes(weights or {})
        path, self.fov = osp.join(data_root or '', fov_dir or ''), None
        if fov_dir and osp.isdir(path):
            self.fov = LabelFolder(
                path, FIELD_OF_VIEW, binary=True, suffix=ann_suffix)
        elif fov_dir:
            get_root_logger().info(
                f'Dataset {name}: {path} not found, so there are no metrics '
                'inside the field of view; prepare_dataset writes it.')
        super().__init__(
            [OWN if step == STOCK else step for step in pipeline],
            img_dir,
            img_suffix=img_suffix,
            split=split,
            data_root=data_root,
            test_mode=test_mode,
            ignore_index=ignore_index,
            classes=[f'{t.name}.{c}' for t in self.tasks for c in t.classes])
        refuse(problems_of_files(self))

    def _planes(self, weights: dict[str, float]) -> dict[str, dict]:
        """Kind and weight of each task's planes; ``classes`` if only of some.
        """
        names = [task.name for task in self.tasks]
        if self.truth.keys() & self.pseudo.keys():
            raise ValueError(
                f'Dataset {self.name!r}: a task has both ground truth and '
                'pseudo labels; keep one of them, or list the images twice, '
                'once with each.')
        if not weights.keys() <= set(names) or not all(
                0 <= weight < math.inf for weight in weights.values()):
            raise ValueError(
                f'Dataset {self.name!r}: expected weights of at least 0 by '
                f'task ({", ".join(names)}), got {weights}.')
        planes = {}
        for name in names:
            folder, weight = self.folders.get(name), weights.get(name, 1)
            kind = folder.kind if folder else ABSENT
            planes[name] = dict(kind=kind, weight=float(weight))
            if folder and not folder.is_complete:
                planes[name]['classes'] = folder.classes
        return planes

    def load_annotations(self, img_dir, img_suffix, ann_dir, seg_map_suffix,
                         split) -> list[dict]:
        """List file name and stem of the images, for the base class."""
        images = find_images(img_dir, img_suffix)
        if split is not None:
            images = read_split(split, images, self.data_root)
        kinds = [' '.join([task, plane['kind'], *plane.get('classes', ())])
                 for task, plane in self.planes.items()]  # yapf: disable
        get_root_logger().info(f'Dataset {self.name}: {len(images)} images in '
                               f'{img_dir} ({", ".join(kinds)})')
        self.stems = list(images)
        return [dict(filename=n, stem=s) for s, n in images.items()]

    def image_path(self, idx: int) -> str:
        """The file of an image."""
        return osp.join(self.img_dir, self.img_infos[idx]['filename'])

    def layout(self, idx: int) -> Layout:
        """Size and orientation of an image, from its header."""
        return read_layout(self.image_path(idx))

    def get_ann_info(self, idx: int) -> dict[str, LabelFolder]:
        """Get the folders of the planes, by task."""
        return self.folders

    def pre_pipeline(self, results: dict) -> None:
        """Add what the transforms need to know of an image and its planes."""
        name = results['img_info']['filename']
        path = osp.join(self.img_dir, name)
        # copies: what a transform writes into one sample stays there
        planes = {task: dict(plane) for task, plane in self.planes.items()}
        results.update(
            filename=path,
            ori_filename=name,
            layout=read_layout(path),
            img_prefix=self.img_dir,
            seg_fields=[],
            dataset=self.name,
            cache=self.cache,
            planes=planes)

    def get_gt_plane(self, idx: int, task: str) -> np.ndarray:
        """Read the ground truth of an image at its full size, (H, W) uint8, of
        the classes in ``truth[task].classes``.
        """
        return self.truth[task].read(self.stems[idx], self.layout(idx))

    def get_fov(self, idx: int) -> np.ndarray | None:
        """Read the field of view, bool of (H, W); None without ``fov_dir``."""
        fov = self.fov
        return fov and fov.read(self.stems[idx], self.layout(idx)) > 0

    def mask_folders(self) -> list[LabelFolder]:
        """Folders of all masks, that of the field of view the last."""
        return [*self.folders.values(), *filter(None, [self.fov])]
