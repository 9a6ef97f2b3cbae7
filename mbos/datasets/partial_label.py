"""A dataset of which only some tasks are labelled."""
import math
import os.path as osp
from collections.abc import Sequence

import numpy as np
from mmcv.utils import print_log
from mmseg.datasets import DATASETS, CustomDataset
from mmseg.utils import get_root_logger

from mbos.io.labels import as_binary, read_labels, translate
from mbos.io.photographs import read_layout
from mbos.tasks import IGNORE_INDEX, build_tasks
from .checks import (Checked, DataError, probe_image, problems_of_checkpoints,
                     problems_of_folder, problems_of_mask, problems_of_places,
                     problems_of_pseudo, read_manifest, run_in_threads)
from .image_files import find_images, read_split
from .label_folder import LabelFolder, read_entries
from .pipelines.loading import with_photographs
from .scoring import ScoringMixin

DEFAULT_WEIGHT = 1.0
TRUTH, PSEUDO, ABSENT = 'truth', 'pseudo', 'absent'


@DATASETS.register_module()
class PartialLabelDataset(ScoringMixin, Checked, CustomDataset):
    """Images with a label plane for some of the model's tasks.

    Every task of the model has a plane, and every plane a kind: ``truth``,
    ``pseudo`` or ``absent``. Images and masks belong together by stem, and
    are sorted by it.

    Args:
        name: Name of the dataset in logs and metas.
        tasks: All tasks of the model.
        img_dir: Folder of the images.
        pipeline: Transforms.
        data_root: Parent of the folders that are not absolute.
        img_suffix: Suffix or suffixes of the images.
        ann_suffix: Suffix of all masks.
        ann_dirs: Folder of ground truth by task. Where it labels only some
            classes of the task, ``dict(path='train/OD', classes=['disc'])``;
            masks of one class may be 0 and 1 whatever its label value, and
            with ``binary=True`` every value but 0 is the class. See
            :class:`LabelFolder`.
        pseudo_dirs: Folder of pseudo labels by task, of some classes likewise.
        weights: Weight of a plane's loss by task; 1 where it names none.
        split: File with the stems to use, one per line.
        fov_dir: Folder of masks, 0 outside the field of view, for the metrics
            inside it, which are left out where the folder is missing, as in
            trees that the release prepared.
        test_mode: Leave the planes out of the samples; they are read when
            predictions are scored.
        binary_truth: Nested tasks whose truth labels only the outermost
            class; for testing only, and kept for old configs: use ``classes``
            in ``ann_dirs``. Their masks may have any values; 255 is ignored
            in masks that have others.
        allow_unlabelled: Accept masks of the values 0 and 255 only, which
            otherwise are taken for masks in the wrong encoding.
        pseudo_checkpoint_sha256: Hash of the checkpoint that must have made
            the pseudo labels.
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
                 binary_truth: Sequence[str] = (),
                 allow_unlabelled: bool = False,
                 pseudo_checkpoint_sha256: str | None = None,
                 ignore_index: int | None = IGNORE_INDEX,
                 threshold: float = 0.5):
        self.name = name
        self.tasks = build_tasks(tasks)
        self.ann_suffix = ann_suffix
        self.allow_unlabelled = allow_unlabelled
        self.pseudo_checkpoint_sha256 = pseudo_checkpoint_sha256
        self.weights = dict(weights or {})
        self.threshold = threshold
        self.binary_truth = tuple(binary_truth)
        # says which test sets see an image in the same way
        self.pipeline_text = repr(pipeline)
        self._root = data_root
        self.fov_dir = self._find_fov(fov_dir)
        self._check_arguments(ann_dirs or {}, pseudo_dirs or {}, test_mode)
        self.truth, self.pseudo = (
            read_entries(entries or {}, self.tasks, self._root, self.name)
            for entries in (ann_dirs, pseudo_dirs))
        for task in self.binary_truth:
            self.truth[task] = self.truth[task].outermost()
        self.ann_dirs = {t: folder.path for t, folder in self.truth.items()}
        self.pseudo_dirs = {t: own.path for t, own in self.pseudo.items()}
        self.planes = {task.name: self._plane(task) for task in self.tasks}
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

    def _find_fov(self, folder: str | None) -> str | None:
        if not folder:
            return None
        folder = osp.join(self._root or '', folder)
        if osp.isdir(folder):
            return folder
        print_log(
            f'Dataset {self.name}: {folder} not found, so there are no '
            'metrics inside the field of view; prepare_dataset writes it.',
            logger=get_root_logger())
        return None

    def _plane(self, task) -> dict:
        """Kind and weight of a task's planes; ``classes`` if only of some."""
        kind, folder = ABSENT, self.folder_of(task.name)
        if folder is not None:
            kind = TRUTH if task.name in self.truth else PSEUDO
        weight = float(self.weights.get(task.name, DEFAULT_WEIGHT))
        plane = dict(kind=kind, weight=weight)
        if folder is not None and not folder.is_complete:
            plane['classes'] = folder.classes
        return plane

    def folder_of(self, task: str) -> LabelFolder | None:
        """Get the folder of a task's label planes, None where absent."""
        return self.truth.get(task, self.pseudo.get(task))

    def _check_arguments(self, ann_dirs: dict, pseudo_dirs: dict,
                         test_mode: bool) -> None:
        """Refuse task names and weights that mean nothing."""
        known = {task.name: task for task in self.tasks}
        given = dict(
            ann_dirs=ann_dirs,
            pseudo_dirs=pseudo_dirs,
            weights=self.weights,
            binary_truth=self.binary_truth)
        for argument, names in given.items():
            for name in names:
                if name not in known:
                    raise ValueError(
                        f'Dataset {self.name!r}: {argument} names the unknown '
                        f'task {name!r}; the tasks are {", ".join(known)}.')
        for name in set(ann_dirs) & set(pseudo_dirs):
            raise ValueError(
                f'Dataset {self.name!r}: task {name!r} has both ground truth '
                'and pseudo labels; keep one of them, or list the images '
                'twice, once with each.')
        for name, weight in self.weights.items():
            if not (math.isfinite(weight) and weight >= 0):
                raise ValueError(
                    f'Dataset {self.name!r}: expected a weight of at least 0 '
                    f'for task {name!r}, got {weight!r}.')
        for name in self.binary_truth:
            if not test_mode or name not in ann_dirs or not (
                    known[name].nested or known[name].num_classes == 1):
                raise ValueError(
                    f'Dataset {self.name!r}: binary_truth is for testing '
                    f'nested tasks with ground truth; {name!r} is not one '
                    'here.')

    def load_annotations(self, img_dir, img_suffix, ann_dir, seg_map_suffix,
                         split) -> list[dict]:
        """List file name and stem of the images; called by the base class,
        whose ``ann_dir`` and ``seg_map_suffix`` are not used here.
        """
        images = find_images(img_dir, img_suffix, self.data_root)
        if split is not None:
            images = read_split(split, images)
        kinds = ', '.join(
            f'{task} {plane["kind"]}' +
            (f' of {" ".join(plane["classes"])}' if 'classes' in plane else '')
            for task, plane in self.planes.items())
        print_log(
            f'Dataset {self.name}: {len(images)} images in {img_dir} '
            f'({kinds})',
            logger=get_root_logger())
        return [dict(filename=n, stem=s) for s, n in images.items()]

    def stem(self, idx: int) -> str:
        """Get the stem of an image's file name."""
        return self.img_infos[idx]['stem']

    def image_path(self, idx: int) -> str:
        """Get the file of an image."""
        return osp.join(self.img_dir, self.img_infos[idx]['filename'])

    def plane_path(self, idx: int, task: str) -> str | None:
        """Get the file of a label plane, None where it is absent."""
        folder = self.folder_of(task)
        if folder is None:
            return None
        return osp.join(folder.path, self.stem(idx) + self.ann_suffix)

    def get_ann_info(self, idx: int) -> dict[str, str]:
        """Get the files of the label planes that are there, by task."""
        paths = {t.name: self.plane_path(idx, t.name) for t in self.tasks}
        return {task: path for task, path in paths.items() if path}

    def pre_pipeline(self, results: dict) -> None:
        """Add what the transforms need to know of an image and its planes.

        Raises:
            PhotographError: If the image's header claims an absurd size.
        """
        path = osp.join(self.img_dir, results['img_info']['filename'])
        results['layout'] = read_layout(path)
        results['seg_fields'] = []
        results['img_prefix'] = self.img_dir
        results['dataset'] = self.name
        results['cache'] = self.cache
        results['translations'] = {
            task.name: folder.translation
            for task in self.tasks
            if (folder := self.folder_of(task.name)) is not None
        }
        # a copy: what a transform writes into one sample stays there
        results['planes'] = {k: dict(v) for k, v in self.planes.items()}

    def get_gt_plane(self, idx: int, task: str) -> np.ndarray:
        """Read the ground truth of an image at its full size: (H, W), uint8.

        Only the classes in ``truth[task].classes`` are labelled.

        Raises:
            ValueError: If the dataset has no ground truth of the task.
        """
        if task not in self.ann_dirs:
            raise ValueError(
                f'Dataset {self.name!r} has no ground truth of task {task!r}, '
                f'only of: {", ".join(self.ann_dirs) or "none"}.')
        labels = self._upright(idx, read_labels(self.plane_path(idx, task)))
        if task in self.binary_truth:
            return as_binary(labels, self.ignore_index)
        return translate(labels, self.truth[task].translation)

    def _upright(self, idx: int, mask: np.ndarray) -> np.ndarray:
        return read_layout(self.image_path(idx)).turn_mask(mask)

    def get_gt_seg_map_by_idx(self, index: int) -> dict[str, np.ndarray]:
        """Read all ground truth of an image, by task."""
        return {t: self.get_gt_plane(index, t) for t in self.ann_dirs}

    def get_fov(self, idx: int) -> np.ndarray | None:
        """Read the field of view, bool of (H, W); None without ``fov_dir``."""
        path = self.fov_path(idx)
        return path and self._upright(idx, read_labels(path)) > 0

    def fov_path(self, idx: int) -> str | None:
        """Get the file of an image's field of view, None without any."""
        if self.fov_dir is None:
            return None
        return osp.join(self.fov_dir, self.stem(idx) + self.ann_suffix)

    def manifests(self) -> dict[str, dict]:
        """Get the valid manifests of the pseudo labels by folder."""
        found = {}
        for folder in self.pseudo_dirs.values():
            try:
                manifest = read_manifest(folder)
            except DataError:
                continue  # reported by the check of the folder itself
            if manifest is not None:
                found[folder] = manifest
        return found

    def problems(self,
                 full: bool = True,
                 cache: dict | None = None) -> list[str]:
        """Collect what is wrong with the files, one sentence per problem.

        Args:
            full: Also read every image and mask.
            cache: Layout and problems of images already read, by path; filled.
        """
        stems = [info['stem'] for info in self.img_infos]
        folders = [
            self.img_dir, *self.ann_dirs.values(), *self.pseudo_dirs.values()
        ] + ([self.fov_dir] if self.fov_dir else [])
        found = problems_of_places(self._root, folders, self.split)
        for task, folder in self.ann_dirs.items():
            found += problems_of_folder(
                stems,
                folder,
                self.ann_suffix,
                f'annotation ({task}); prepare the dataset again',
                reverse=self.split is None)
        for folder in self.pseudo.values():
            found += problems_of_pseudo(stems, folder, self.ann_suffix,
                                        self.pseudo_checkpoint_sha256)
        if self.fov_dir is not None:
            found += problems_of_folder(
                stems,
                self.fov_dir,
                self.ann_suffix,
                'field of view; prepare the dataset again or leave fov_dir '
                'out',
                reverse=False)
        found += problems_of_checkpoints(self.manifests())
        if full:
            found += self._problems_of_pixels({} if cache is None else cache)
        return found

    def _problems_of_pixels(self, cache: dict) -> list[str]:
        """Read every image and every mask."""
        paths = [self.image_path(i) for i in range(len(self))]
        new = [path for path in paths if path not in cache]
        probes = run_in_threads(probe_image, [(path, ) for path in new])
        cache.update(zip(new, probes))
        found = [text for path in paths for text in cache[path][1]]
        jobs, made_here = [], self.manifests()
        for idx, path in enumerate(paths):
            layout = cache[path][0]
            for task in self.tasks:
                folder = self.folder_of(task.name)
                # what the truth ignores is 255 in pseudo labels that keep it
                jobs.append((self.plane_path(idx, task.name), folder, layout,
                             self.allow_unlabelled
                             or folder and folder.path in made_here))
            if self.fov_dir is not None:
                name = self.stem(idx) + self.ann_suffix
                jobs.append((osp.join(self.fov_dir, name), None, layout, True))
        jobs = [job for job in jobs if job[0] and osp.exists(job[0])]
        return found + sum(run_in_threads(problems_of_mask, jobs), [])
