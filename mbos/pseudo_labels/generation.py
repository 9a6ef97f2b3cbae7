"""Pseudo labels: what a stage-2 config reads, written by a stage-1 network."""
import os
import os.path as osp
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from mmcv import Config
from mmseg.datasets import build_dataset
from torch import nn

from mbos.checkpoints.loading import read_checkpoint
from mbos.checkpoints.network import stage_of, stored_model_cfg
from mbos.checkpoints.release_layout import is_release_state
from mbos.config import (build_checked, imported_packages, member_datasets,
                         stage1_model_cfg)
from mbos.datasets.checks import MANIFEST
from mbos.datasets.label_folder import path_of
from mbos.faults import naming
from mbos.inference.test_sets import (load_segmentor, predict_dataset,
                                      predict_first)
from mbos.io import RefusedError, check_image_header
from mbos.io.files import file_sha256, read_json, remove_leftovers, save_json
from mbos.io.labels import save_labels
from mbos.io.photographs import read_layout
from mbos.runtime.environment import Environment
from mbos.tasks import Task, build_tasks
from .kept_truth import KeptTruth, settle_classes

PART = MANIFEST + '.part'
# What makes a member a training set; the images alone are wanted.
TRAINING_KEYS = ('ann_dirs', 'pseudo_dirs', 'weights', 'binary_truth',
                 'pseudo_checkpoint_sha256', 'fov_dir', 'allow_unlabelled')


@dataclass
class ImageFolder:
    """Images that need pseudo labels.

    Attributes:
        member: Config of a dataset with these images.
        img_dir: Their folder.
        targets: Task by folder to write.
        classes: Classes to label by folder, where the config names them; else
            all of the task.
        labelled: Configs of the datasets that label only some classes of a
            task on images of this folder.
        truth: What they label, by task.
    """

    member: dict
    img_dir: str
    targets: dict[str, str] = field(default_factory=dict)
    classes: dict[str, list[str]] = field(default_factory=dict)
    labelled: list[dict] = field(default_factory=list)
    truth: dict[str, KeptTruth] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The dataset's name."""
        return self.member['name']

    def label_path(self, folder: str, stem: str) -> str:
        """File of a label in one of the folders."""
        return osp.join(folder, stem + self.member.get('ann_suffix', '.png'))


def image_dir(member: dict) -> str:
    """Folder of a dataset's images."""
    return osp.join(member.get('data_root') or '', member['img_dir'])


def find_image_folders(cfg: Config) -> list[ImageFolder]:
    """Collect every pseudo-label folder that a stage-2 config reads.

    Returns one entry per image folder, in the order of the config.

    Raises:
        ValueError: If no dataset reads pseudo labels, or two uses of one
            folder contradict each other.
    """
    found, users = {}, {}
    for member in member_datasets(cfg.data.train):
        img_dir = image_dir(member)
        for task, written in (member.get('pseudo_dirs') or {}).items():
            key = (img_dir, member.get('split'))
            folder = osp.join(member.get('data_root') or '', path_of(written))
            if users.setdefault(folder, (key, task)) != (key, task):
                raise ValueError(
                    f'{folder}: the config reads it for task {task!r} of '
                    f'{img_dir} and for task {users[folder][1]!r} of '
                    f'{users[folder][0][0]}; give each its own folder.')
            entry = found.setdefault(key, ImageFolder(member, img_dir))
            entry.targets[folder] = task
            if not isinstance(written, str) and written.get('classes'):
                entry.classes[folder] = list(written['classes'])
    if not found:
        raise ValueError(
            f'{cfg.filename}: no dataset of data.train has pseudo_dirs, so '
            'there is nothing to write; give the stage-2 config.')
    for member in member_datasets(cfg.data.train):
        if all(
                isinstance(entry, str)
                for entry in (member.get('ann_dirs') or {}).values()):
            continue
        for folder in found.values():
            if osp.realpath(folder.img_dir) == osp.realpath(image_dir(member)):
                folder.labelled.append(member)
    return list(found.values())


def generator_cfg(cfg: Config,
                  checkpoint: str,
                  model_cfg: dict | None = None,
                  allow_stage2: bool = False) -> dict:
    """Config of the network that the generator's checkpoint belongs to.

    It is the one that is given, else what the checkpoint has stored, or the
    stage-2 config's network without stage 2.

    Raises:
        ValueError: If the checkpoint is of stage 2, and that is not allowed.
    """
    content = read_checkpoint(checkpoint)
    meta, state = content['meta'], content['state_dict']
    is_stage2 = stage_of(content) == 'adversarial'
    if is_stage2 and not allow_stage2:
        raise ValueError(
            f'{checkpoint} is of the wrong stage: it was trained with pseudo '
            'labels (stage 2), expected a stage-1 checkpoint, such as '
            'work_dirs/<stage-1 config>/iter_40000.pth. If you do mean it, '
            'add --allow-stage2.')
    if model_cfg is not None:
        return model_cfg
    if meta.get('mbos_model') and not is_release_state(state):
        return stored_model_cfg(checkpoint, content, imported_packages(cfg))
    return cfg.model if is_stage2 else stage1_model_cfg(cfg.model)


def check_tasks(folders: list[ImageFolder], cfg: Config,
                model: nn.Module) -> None:
    """Make sure that the network predicts what the config wants.

    Raises:
        ValueError: If a task is missing, or has other classes.
    """
    wanted = {task.name: task for task in build_tasks(cfg.model.tasks)}
    for folder, task in ((f, t) for f in folders for t in f.targets.values()):
        have, need = model.tasks.get(task), wanted.get(task)
        if need is None:
            raise ValueError(
                f'Dataset {folder.name!r}: pseudo_dirs names the unknown task '
                f'{task!r}; the tasks are {", ".join(wanted)}.')
        if have is None or have.classes != need.classes:
            found = ', '.join(f'{t.name} {t.classes}'
                              for t in model.tasks.values())
            raise ValueError(
                f'The config wants pseudo labels of {task!r} {need.classes}, '
                f'the checkpoint predicts {found}: use a checkpoint that was '
                'trained for it.')


def image_dataset(folder: ImageFolder, cfg: Config, tasks):
    """The images of a folder with the test pipeline, without any labels."""
    member = {k: v for k, v in folder.member.items() if k not in TRAINING_KEYS}
    test = member_datasets(
        cfg.data.test[0] if isinstance(cfg.data.test, list) else cfg.data.test)
    member.update(
        tasks=list(tasks), pipeline=test[0]['pipeline'], test_mode=True)
    return build_checked(build_dataset, member)


def claim_folder(folder: str,
                 header: dict,
                 paths: list[str],
                 overwrite: bool = False) -> None:
    """Make a folder ready: labels that other weights made are removed.

    The manifest, ``header`` without images, becomes ``manifest.json.part``
    until all is written, so that an interrupted run is not taken for a
    complete one.

    Raises:
        ValueError: If there are labels of unknown origin, and not
            ``overwrite``.
    """
    os.makedirs(folder, exist_ok=True)
    remove_leftovers(folder)
    part = osp.join(folder, PART)
    if osp.exists(osp.join(folder, MANIFEST)):
        os.replace(osp.join(folder, MANIFEST), part)
    old = [path for path in paths if osp.exists(path)]
    known = read_json(part)
    if known is None and old and not overwrite:
        raise ValueError(
            f'{folder}: holds {len(old)} label(s), e.g. '
            f'{osp.basename(old[0])}, without a {MANIFEST} that says what '
            'made them; move them away, or add --overwrite to replace them.')
    keys = ('task', 'checkpoint_sha256', 'threshold', 'margin', 'classes',
            'truth')
    if known is None or any(known.get(k) != header.get(k) for k in keys):
        for path in old:
            os.unlink(path)
    save_json(part, dict(header, images=[]))


def _is_done(folder: ImageFolder, dataset, index: int) -> bool:
    """Whether an image has all its labels, in its size."""
    stem = dataset.stem(index)
    try:
        sizes = {
            check_image_header(folder.label_path(target, stem))
            for target in folder.targets
        }
    except (OSError, RefusedError):
        return False
    return sizes == {read_layout(dataset.image_path(index)).shape[::-1]}


@dataclass
class _Settings:
    """What makes pseudo labels, besides the network."""

    cfg: Config
    checkpoint: str
    threshold: float
    margin: float

    def __post_init__(self):
        threshold, margin = self.threshold, self.margin
        if not 0 <= threshold < 1:
            raise ValueError(f'threshold is {threshold}, expected a '
                             'probability of at least 0 and below 1.')
        if not 0 <= margin <= min(threshold, 1 - threshold):
            raise ValueError(
                f'margin is {margin}, expected at least 0 and at most '
                f'{min(threshold, 1 - threshold):g}, the distance of the '
                f'threshold {threshold} from 0 or 1.')

    def headers(self, folders: list[ImageFolder]) -> dict[str, dict]:
        """The manifests of all folders, without their images."""
        common = dict(
            checkpoint=self.checkpoint,
            checkpoint_sha256=file_sha256(self.checkpoint),
            config=self.cfg.filename,
            threshold=self.threshold)
        if self.margin:
            common['margin'] = self.margin
        headers = {}
        for folder in folders:
            for target, name in folder.targets.items():
                headers[target] = header = dict(common, task=name)
                truth = folder.truth[name]
                if folder.classes[target] != truth.task.classes:
                    header['classes'] = list(folder.classes[target])
                if truth.classes:
                    header['truth'] = truth.classes
        return headers


def generate_pseudo_labels(
    cfg: Config,
    checkpoint: str,
    env: Environment,
    threshold: float = 0.5,
    margin: float = 0.0,
    model_cfg: dict | None = None,
    allow_stage2: bool = False,
    overwrite: bool = False,
    progress: Callable | None = None
) -> list[tuple[ImageFolder, list[str], dict[str, Task]]]:
    """Write every pseudo label that a stage-2 config reads.

    Args:
        cfg: The stage-2 config, completed by ``load_config``.
        checkpoint: The generator's checkpoint.
        env: Where this process runs.
        threshold: Probability to exceed.
        margin: Pixels with a probability nearer to the threshold are ignored
            in training.
        model_cfg, allow_stage2: See :func:`generator_cfg`.
        overwrite: See :func:`claim_folder`.
        progress: Takes a number of images and returns something with
            ``update()``, such as ``mmcv.ProgressBar``.

    Returns:
        list[tuple]: Each image folder, the stems of its images, and the tasks
        by name; what the report reads.

    Raises:
        ValueError: If config, checkpoint and folders do not go together.
    """
    settings = _Settings(cfg, checkpoint, threshold, margin)
    folders = find_image_folders(cfg)
    model_cfg = generator_cfg(cfg, checkpoint, model_cfg, allow_stage2)
    with naming(checkpoint):  # its own network, perhaps
        model = load_segmentor(model_cfg, checkpoint, env, cfg=cfg)
    check_tasks(folders, cfg, model.module)
    settle_classes(folders, cfg)
    tasks = model.module.tasks
    datasets = [image_dataset(f, cfg, tasks.values()) for f in folders]
    stems = [[d.stem(i) for i in range(len(d))] for d in datasets]
    headers = settings.headers(folders)
    predict_first(model, datasets, 'data.test')
    to_write = [(target, folder, names)
                for folder, names in zip(folders, stems)
                for target in folder.targets] if env.is_main else []
    for target, folder, names in to_write:
        paths = [folder.label_path(target, stem) for stem in names]
        claim_folder(target, headers[target], paths, overwrite)
    _label_pending(model, folders, datasets, settings, env, progress)
    for target, _, names in to_write:
        save_json(
            osp.join(target, MANIFEST), dict(headers[target], images=names))
        os.unlink(osp.join(target, PART))
    return [(f, names, dict(tasks)) for f, names in zip(folders, stems)]


def _label_pending(model: nn.Module, folders: list[ImageFolder],
                   datasets: list, settings: _Settings, env: Environment,
                   progress: Callable | None) -> None:
    """Label the images of all folders that are not yet, by one network pass
    per image."""
    env.barrier()  # all folders are claimed
    pending = [[i for i in range(len(d)) if not _is_done(f, d, i)]
               for f, d in zip(folders, datasets)]
    env.barrier()  # all have looked before anyone writes
    left = sum(map(len, pending))
    bar = progress(left) if progress and env.is_main and left else None
    for folder, dataset, indices in zip(folders, datasets, pending):
        dataset.img_infos = [dataset.img_infos[i] for i in indices]
        if not indices:
            continue
        for index, prob in predict_dataset(model, dataset, settings.cfg, env):
            stem = dataset.stem(index)
            for target, task in folder.targets.items():
                labels = folder.truth[task].labels(
                    stem, torch.from_numpy(prob[task]), folder.classes[target],
                    settings.threshold, settings.margin)
                save_labels(
                    folder.label_path(target, stem), labels.numpy(),
                    folder.truth[task].task)
            done = min(env.world_size, left)  # by all processes meanwhile
            left -= done
            if bar is not None and done:
                bar.update(done)
    env.barrier()
