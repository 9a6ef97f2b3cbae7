"""A dataset of which only some tasks are labelled."""
import math
import os.path as osp
from collections.abc import Sequence

import numpy as np
from mmcv.utils import print_log
from mmseg.datasets import DATASETS, CustomDataset
from mmseg.utils import get_root_logger

from mbos.io import problems_of_links, problems_of_names
from mbos.io.photographs import Layout, read_layout
from mbos.tasks import IGNORE_INDEX, Task, build_tasks
from .checks import (Checked, find_images, problems_of_folder,
                     problems_of_manifest, read_manifest, read_split)
from .label_folder import ABSENT, LabelFolder, read_entries
from .scoring import ScoringMixin

FIELD_OF_VIEW = Task('field_of_view', ('inside', ))
# mmseg's leaves depth and rotation to other libraries
STOCK, OWN = dict(type='LoadImageFromFile'), dict(type='LoadPhotograph')


@DATASETS.register_module()
class PartialLabelDataset(ScoringMixin, Checked, CustomDataset):
    """Images with a label plane for some of the model's tasks.

    Every task of the model has a plane, and every plane a kind: ``truth``,
    ``pseudo`` or ``absent``. Images and masks belong together by stem, and
    are sorted by it. A DataError says which files are missing; :meth:`check`
    reads them, too.

    Args:
        ann_dirs, pseudo_dirs: Folder of ground truth and of pseudo labels by
            task. Where it labels only some classes of the task,
            ``dict(path='train/OD', classes=['disc'])``; see
            :class:`LabelFolder`, also for ``binary=True``.
        weights: Weight of a plane's loss by task, 1 by default.
        fov_dir: Folder of masks, 0 outside the field of view, for the metrics
            inside it, which are left out where the folder is missing, as in
            trees that the release prepared.
        test_mode: Leave the planes out of the samples; they are read when
            predictions are scored.
        allow_unlabelled: Accept masks of the values 0 and 255 only, which
            otherwise are taken for masks in the wrong encoding.
        ignore_index: Label value that the metrics leave out; None scores 255
            as the published release does (docs/method.md, section 8).
        threshold: Operating point of the comparable metrics; the published
            ones stay at 0.5.
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
        self.name = name
        self.tasks = build_tasks(tasks)
        self.allow_unlabelled = allow_unlabelled
        self.threshold = threshold
        # says which test sets see an image in the same way
        self.pipeline_text = repr(pipeline)
        given = dict(
            name=name,
            data_root=data_root,
            ann_suffix=ann_suffix,
            ann_dirs=ann_dirs,
            pseudo_dirs=pseudo_dirs)
        self.truth = read_entries(given, 'ann_dirs', self.tasks)
        self.pseudo = read_entries(given, 'pseudo_dirs', self.tasks)
        self.folders = self.pseudo | self.truth
        self.planes = self._planes(weights or {})
        self.fov = self._fov_folder(data_root, fov_dir, ann_suffix)
        super().__init__(
            [OWN if step == STOCK else step for step in pipeline],
            img_dir,
            img_suffix=img_suffix,
            split=split,
            data_root=data_root,
            test_mode=test_mode,
            ignore_index=ignore_index,
            classes=[f'{t.name}.{c}' for t in self.tasks for c in t.classes],
            palette=[list(c) for t in self.tasks for c in t.colours])
        self.check(full=False)

    def _log(self, text: str) -> None:
        print_log(f'Dataset {self.name}: {text}', logger=get_root_logger())

    def _planes(self, weights: dict[str, float]) -> dict[str, dict]:
        """Kind and weight of each task's planes; ``classes`` if only of some.
        """
        names = [task.name for task in self.tasks]
        if self.truth.keys() & self.pseudo.keys():
            raise ValueError(
                f'Dataset {self.name!r}: a task has both ground truth and '
                'pseudo labels; keep one of them, or list the images twice, '
                'once with each.')
        if set(weights) - set(names) or not all(
                0 <= weight < math.inf for weight in weights.values()):
            raise ValueError(
                f'Dataset {self.name!r}: expected weights of at least 0 by '
                f'task ({", ".join(names)}), got {weights}.')
        planes = {
            name: dict(kind=ABSENT, weight=float(weights.get(name, 1)))
            for name in names
        }
        for name, folder in self.folders.items():
            planes[name]['kind'] = folder.kind
            if not folder.is_complete:
                planes[name]['classes'] = folder.classes
        return planes

    def _fov_folder(self, root, path, suffix) -> LabelFolder | None:
        path = path and osp.join(root or '', path)
        if path and osp.isdir(path):
            return LabelFolder(path, FIELD_OF_VIEW, binary=True, suffix=suffix)
        if path:
            self._log(f'{path} not found, so there are no metrics inside the '
                      'field of view; prepare_dataset writes it.')
        return None

    def load_annotations(self, img_dir, img_suffix, ann_dir, seg_map_suffix,
                         split) -> list[dict]:
        """List file name and stem of the images, for the base class."""
        images = find_images(img_dir, img_suffix, self.data_root)
        if split is not None:
            images = read_split(split, images, self.data_root)
        kinds = ', '.join(
            ' '.join([task, plane['kind'], *plane.get('classes', ())])
            for task, plane in self.planes.items())
        self._log(f'{len(images)} images in {img_dir} ({kinds})')
        return [dict(filename=n, stem=s) for s, n in images.items()]

    @property
    def stems(self) -> list[str]:
        """Stems of the images' file names."""
        return [info['stem'] for info in self.img_infos]

    def stem(self, idx: int) -> str:
        """Get the stem of an image's file name."""
        return self.img_infos[idx]['stem']

    def image_path(self, idx: int) -> str:
        """Get the file of an image."""
        return osp.join(self.img_dir, self.img_infos[idx]['filename'])

    def layout(self, idx: int) -> Layout:
        """Get how an image is stored."""
        return read_layout(self.image_path(idx))

    def get_ann_info(self, idx: int) -> dict[str, LabelFolder]:
        """Get the folders of the label planes that are there, by task."""
        return self.folders

    def pre_pipeline(self, results: dict) -> None:
        """Add what the transforms need to know of an image and its planes."""
        path = osp.join(self.img_dir, results['img_info']['filename'])
        # a copy: what a transform writes into one sample stays there
        planes = {name: dict(plane) for name, plane in self.planes.items()}
        results.update(
            filename=path,
            ori_filename=results['img_info']['filename'],
            layout=read_layout(path),
            seg_fields=[],
            img_prefix=self.img_dir,
            dataset=self.name,
            cache=self.cache,
            planes=planes)

    def get_gt_plane(self, idx: int, task: str) -> np.ndarray:
        """Read the ground truth of an image at its full size: (H, W), uint8.

        Only the classes in ``truth[task].classes`` are labelled.
        """
        return self._read(self.truth[task], idx)

    def get_gt_seg_map_by_idx(self, index: int) -> dict[str, np.ndarray]:
        """Read all ground truth of an image, by task."""
        return {task: self.get_gt_plane(index, task) for task in self.truth}

    def get_fov(self, idx: int) -> np.ndarray | None:
        """Read the field of view, bool of (H, W); None without ``fov_dir``."""
        return self._read(self.fov, idx) > 0 if self.fov else None

    def _read(self, folder: LabelFolder, idx: int) -> np.ndarray:
        return folder.read(self.stem(idx), self.layout(idx))

    def mask_folders(self) -> list[LabelFolder]:
        """Folders of all masks, that of the field of view the last."""
        return [*self.folders.values(), *filter(None, [self.fov])]

    def manifests(self) -> dict[str, dict]:
        """Get the manifests of the pseudo labels that have one, by folder."""
        found = {f.path: read_manifest(f.path) for f in self.pseudo.values()}
        return {path: content for path, content in found.items() if content}

    def missing_files(self) -> list[str]:
        """Collect what is wrong with folders and lists of files."""
        folders = self.mask_folders()
        found = []
        places = [self.img_dir, *(folder.path for folder in folders)]
        for place in filter(osp.isdir, places):
            found += problems_of_names(place)
            found += problems_of_links(self.data_root or place, place)
        for folder in folders:
            found += problems_of_folder(folder, self.stems)
        for folder in self.pseudo.values():
            found += problems_of_manifest(folder, self.stems)
        return found
