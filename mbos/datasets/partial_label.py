"""A dataset of which only some tasks are labelled."""
import math
import os.path as osp
from collections.abc import Sequence

import numpy as np
from mmcv.utils import print_log
from mmseg.datasets import DATASETS, CustomDataset
from mmseg.utils import get_root_logger

from mbos.io.labels import read_labels
from mbos.io.photographs import read_layout
from mbos.tasks import IGNORE_INDEX, build_tasks
from .checks import (Checked, DataError, probe_image, problems_of_manifest,
                     problems_of_mask, problems_of_places, read_manifest,
                     run_in_threads)
from .image_files import find_images, problems_of_folder, read_split
from .label_folder import LabelFolder, read_entries
from .pipelines.loading import with_photographs
from .scoring import ScoringMixin

TRUTH, PSEUDO, ABSENT = 'truth', 'pseudo', 'absent'
REMEDY = 'prepare the dataset again'
MAKE = ('run tools/generate_pseudo_labels.py with this config and a stage-1 '
        'checkpoint')


@DATASETS.register_module()
class PartialLabelDataset(ScoringMixin, Checked, CustomDataset):
    """Images with a label plane for some of the model's tasks.

    Every task of the model has a plane, and every plane a kind: ``truth``,
    ``pseudo`` or ``absent``. Images and masks belong together by stem, and
    are sorted by it.

    Args:
        name: Name of the dataset in logs and metas.
        tasks: All tasks of the model.
        data_root: Parent of the folders that are not absolute.
        img_suffix: Suffix or suffixes of the images.
        ann_dirs, pseudo_dirs: Folder of ground truth and of pseudo labels by
            task. Where it labels only some classes of the task,
            ``dict(path='train/OD', classes=['disc'])``; see
            :class:`LabelFolder`, also for ``binary=True``.
        weights: Weight of a plane's loss by task; 1 where it names none.
        split: File with the stems to use, one per line.
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

    Raises:
        DataError: If files are missing; :meth:`check` reads them too.
        ValueError: If the arguments do not fit each other.
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
        self.ann_suffix = ann_suffix
        self.allow_unlabelled = allow_unlabelled
        self.threshold = threshold
        self.data_root = data_root
        # says which test sets see an image in the same way
        self.pipeline_text = repr(pipeline)
        self.fov_dir = fov_dir and osp.join(data_root or '', fov_dir)
        if self.fov_dir and not osp.isdir(self.fov_dir):
            self._log(f'{self.fov_dir} not found, so there are no metrics '
                      'inside the field of view; prepare_dataset writes it.')
            self.fov_dir = None
        given = dict(
            name=name,
            data_root=data_root,
            ann_suffix=ann_suffix,
            ann_dirs=ann_dirs,
            pseudo_dirs=pseudo_dirs)
        self.truth = read_entries(given, 'ann_dirs', self.tasks)
        self.pseudo = read_entries(given, 'pseudo_dirs', self.tasks)
        self.folders = self.pseudo | self.truth
        self.ann_dirs = {t: folder.path for t, folder in self.truth.items()}
        self.planes = self._planes(weights or {})
        super().__init__(
            with_photographs(pipeline),
            img_dir,
            img_suffix=img_suffix,
            seg_map_suffix=ann_suffix,
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
        if len(self.folders) < len(self.truth) + len(self.pseudo):
            raise ValueError(
                f'Dataset {self.name!r}: a task has both ground truth and '
                'pseudo labels; keep one of them, or list the images twice, '
                'once with each.')
        if set(weights) - set(names) or not all(
                0 <= weight < math.inf for weight in weights.values()):
            raise ValueError(
                f'Dataset {self.name!r}: expected weights of at least 0 by '
                f'task ({", ".join(names)}), got {weights}.')
        planes = {}
        for name in names:
            kind = TRUTH if name in self.truth else ABSENT
            kind = PSEUDO if name in self.pseudo else kind
            planes[name] = dict(kind=kind, weight=float(weights.get(name, 1)))
            folder = self.folders.get(name)
            if folder is not None and not folder.is_complete:
                planes[name]['classes'] = folder.classes
        return planes

    def load_annotations(self, img_dir, img_suffix, ann_dir, seg_map_suffix,
                         split) -> list[dict]:
        """List file name and stem of the images, for the base class."""
        images = find_images(img_dir, img_suffix, self.data_root)
        if split is not None:
            images = read_split(split, images)
        kinds = ', '.join(
            ' '.join([task, plane['kind'], *plane.get('classes', ())])
            for task, plane in self.planes.items())
        self._log(f'{len(images)} images in {img_dir} ({kinds})')
        return [dict(filename=n, stem=s) for s, n in images.items()]

    def stem(self, idx: int) -> str:
        """Get the stem of an image's file name."""
        return self.img_infos[idx]['stem']

    def image_path(self, idx: int) -> str:
        """Get the file of an image."""
        return osp.join(self.img_dir, self.img_infos[idx]['filename'])

    def plane_path(self, idx: int, task: str) -> str:
        """Get the file of a label plane."""
        return self.folders[task].file(self.stem(idx))

    def fov_path(self, idx: int) -> str:
        """Get the file of an image's field of view, with ``fov_dir``."""
        return osp.join(self.fov_dir, self.stem(idx) + self.ann_suffix)

    def get_ann_info(self, idx: int) -> dict[str, LabelFolder]:
        """Get the folders of the label planes that are there, by task."""
        return self.folders

    def pre_pipeline(self, results: dict) -> None:
        """Add what the transforms need to know of an image and its planes."""
        path = osp.join(self.img_dir, results['img_info']['filename'])
        results.update(
            layout=read_layout(path),
            seg_fields=[],
            img_prefix=self.img_dir,
            dataset=self.name,
            cache=self.cache,
            # a copy: what a transform writes into one sample stays there
            planes={
                k: dict(v)
                for k, v in self.planes.items()
            })

    def get_gt_plane(self, idx: int, task: str) -> np.ndarray:
        """Read the ground truth of an image at its full size: (H, W), uint8.

        Only the classes in ``truth[task].classes`` are labelled.
        """
        layout = read_layout(self.image_path(idx))
        return self.truth[task].read(self.stem(idx), layout)

    def get_gt_seg_map_by_idx(self, index: int) -> dict[str, np.ndarray]:
        """Read all ground truth of an image, by task."""
        return {task: self.get_gt_plane(index, task) for task in self.truth}

    def get_fov(self, idx: int) -> np.ndarray | None:
        """Read the field of view, bool of (H, W); None without ``fov_dir``."""
        if self.fov_dir is None:
            return None
        layout = read_layout(self.image_path(idx))
        return layout.turn_mask(read_labels(self.fov_path(idx))) > 0

    def manifests(self) -> dict[str, dict]:
        """Get the valid manifests of the pseudo labels by folder."""
        found = {}
        for folder in self.pseudo.values():
            try:
                manifest = read_manifest(folder.path)
            except DataError:
                continue  # reported by the check of the folder itself
            if manifest is not None:
                found[folder.path] = manifest
        return found

    def problems(self,
                 full: bool = True,
                 probed: dict | None = None) -> list[str]:
        """Collect what is wrong with the files, one sentence per problem.

        ``full`` reads every image and mask. ``probed`` are layout and problems
        of images already read, by path; it is filled.
        """
        stems = [info['stem'] for info in self.img_infos]
        masks = [(f'annotation ({name})', folder.path, REMEDY)
                 for name, folder in self.truth.items()]
        masks += [(f'pseudo label ({name})', folder.path, MAKE)
                  for name, folder in self.pseudo.items()]
        if self.fov_dir:
            masks.append(('field of view', self.fov_dir, REMEDY))
        folders = [self.img_dir, *(path for _, path, _ in masks)]
        found = problems_of_places(self.data_root, folders, self.split)
        for what, path, remedy in masks:
            found += problems_of_folder(path, stems, self.ann_suffix, what,
                                        remedy)
        for folder in self.pseudo.values():
            found += problems_of_manifest(folder, stems)
        if full:
            found += self._problems_of_pixels({} if probed is None else probed)
        return found

    def _problems_of_pixels(self, probed: dict) -> list[str]:
        """Read every image and every mask."""
        paths = [self.image_path(i) for i in range(len(self))]
        new = [path for path in paths if path not in probed]
        probed.update(zip(new, run_in_threads(probe_image, new)))
        made_here = self.manifests()
        masks = []
        for idx, path in enumerate(paths):
            layout = probed[path][0]
            for folder in self.folders.values():
                # what the truth ignores is 255 in labels that keep it
                allow = self.allow_unlabelled or folder.path in made_here
                masks.append(
                    (folder.file(self.stem(idx)), folder, layout, allow))
            if self.fov_dir:
                masks.append((self.fov_path(idx), None, layout, True))
        found = [probed[path][1] for path in paths]
        found += run_in_threads(problems_of_mask, *zip(*masks))
        return sum(found, [])
