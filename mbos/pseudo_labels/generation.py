"""Pseudo labels: what a stage-2 config reads, written by a stage-1 network."""
import os
import os.path as osp
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import torch
from mmcv import Config
from mmseg.datasets import build_dataset
from torch import Tensor, nn
from torch.utils.data import Subset

from mbos.checkpoints.loading import read_checkpoint
from mbos.checkpoints.network import stage_of, stored_model_cfg
from mbos.checkpoints.release_layout import is_release_state
from mbos.config import (build_checked, imported_packages, member_datasets,
                         stage1_model_cfg)
from mbos.datasets.checks import MANIFEST
from mbos.datasets.label_folder import (LabelFolder, labelled_classes,
                                        read_entries)
from mbos.faults import naming
from mbos.inference.test_sets import (load_segmentor, predict_dataset,
                                      predict_first)
from mbos.io import RefusedError
from mbos.io.files import file_sha256, read_json, remove_leftovers, save_json
from mbos.io.labels import save_labels
from mbos.io.photographs import read_layout
from mbos.runtime.environment import Environment
from mbos.tasks import IGNORE_INDEX, build_tasks

PART = MANIFEST + '.part'
# What makes a member a training set; the images alone are wanted.
TRAINING_KEYS = {'ann_dirs', 'pseudo_dirs', 'weights', 'fov_dir'}
# Labels are made again where one of these is another than in the manifest.
ORIGIN = ('task', 'checkpoint_sha256', 'threshold', 'margin', 'classes',
          'truth')


@dataclass
class ImageFolder:
    """Images that need pseudo labels.

    Attributes:
        member: Config of a dataset with these images.
        targets: Folders to write, by their path.
        dataset: The images without labels, and their ``stems``.
        truth: By task and stem, datasets that label only some classes of the
            task on images of the same folder, and the image's position there.
    """

    member: Mapping
    targets: dict[str, LabelFolder] = field(default_factory=dict)
    dataset: object = None
    stems: list[str] = field(default_factory=list)
    truth: dict[str, dict[str, list]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The dataset's name."""
        return self.member['name']

    @property
    def img_dir(self) -> str:
        """The folder of the images."""
        return image_dir(self.member)


def image_dir(member: Mapping) -> str:
    """Folder of a dataset's images."""
    return osp.join(member.get('data_root') or '', member['img_dir'])


def find_image_folders(cfg: Config) -> list[ImageFolder]:
    """Collect every pseudo-label folder that a stage-2 config reads, by image
    folder, in the order of the config.

    Raises:
        ValueError: If no dataset reads pseudo labels, two uses of one folder
            contradict each other, or a task or class is unknown or nowhere
            labelled.
    """
    tasks = build_tasks(cfg.model.tasks)
    members = member_datasets(cfg.data.train)
    found, users = {}, {}
    for member in members:
        key = (image_dir(member), member.get('split'))
        targets = read_entries(member, 'pseudo_dirs', tasks)
        for name, target in targets.items():
            if users.setdefault(target.path, (key, name)) != (key, name):
                raise ValueError(
                    f'{target.path}: the config reads it for other images or '
                    f'tasks, too, than for {name!r} of {key[0]}; give each '
                    'its own folder.')
            if isinstance(member['pseudo_dirs'][name], str):
                _check_learnt(target, members)
            folder = found.setdefault(key, ImageFolder(member))
            folder.targets[target.path] = target
    if not found:
        raise ValueError(
            f'{cfg.filename}: no dataset of data.train has pseudo_dirs, so '
            'there is nothing to write; give the stage-2 config.')
    return list(found.values())


def _check_learnt(target: LabelFolder, members: Sequence[Mapping]) -> None:
    """Refuse to label all of a task of which only some classes have truth."""
    task = target.task
    labelled = labelled_classes(task, members)
    missing = [name for name in task.classes if name not in labelled]
    if labelled and missing:
        raise ValueError(
            f'{target.path}: no dataset of data.train labels '
            f'{", ".join(missing)} of task {task.name!r}, so a network '
            'trained on them cannot predict it; name the classes to label, '
            f'such as pseudo_dirs=dict({task.name}=dict(path=..., '
            f'classes={[n for n in task.classes if n in labelled]})).')


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
    is_stage2 = stage_of(content) == 'adversarial'
    if is_stage2 and not allow_stage2:
        raise ValueError(
            f'{checkpoint} is of the wrong stage: it was trained with pseudo '
            'labels (stage 2), expected a stage-1 checkpoint, such as '
            'work_dirs/<stage-1 config>/iter_40000.pth. If you do mean it, '
            'add --allow-stage2.')
    if model_cfg is not None:
        return model_cfg
    if content['meta'].get('mbos_model') and not is_release_state(
            content['state_dict']):
        return stored_model_cfg(checkpoint, content, imported_packages(cfg))
    return cfg.model if is_stage2 else stage1_model_cfg(cfg.model)


def _check_tasks(folders: Sequence[ImageFolder], model: nn.Module) -> None:
    """Make sure that the network predicts what the config wants."""
    have = {t.name: t.classes for t in model.tasks.values()}
    for task in (t.task for f in folders for t in f.targets.values()):
        if have.get(task.name) != task.classes:
            raise ValueError(
                f'The config wants pseudo labels of {task.name!r} '
                f'{task.classes}, the checkpoint predicts {have}: use a '
                'checkpoint that was trained for it.')


def _open_datasets(folders: Sequence[ImageFolder], cfg: Config) -> None:
    """Fill in the images of all folders, and the partial truth of them."""
    tasks = build_tasks(cfg.model.tasks)
    test = member_datasets(
        cfg.data.test[0] if isinstance(cfg.data.test, list) else cfg.data.test)

    def build(member, **changes):
        images = {k: v for k, v in member.items() if k not in TRAINING_KEYS}
        images.update(tasks=list(tasks), test_mode=True, **changes)
        return build_checked(build_dataset, images)

    for folder in folders:
        images = build(folder.member, pipeline=test[0]['pipeline'])
        folder.dataset = images
        folder.stems = [images.stem(i) for i in range(len(images))]
        for name in (t.task.name for t in folder.targets.values()):
            masks = folder.truth[name] = {}
            for member in member_datasets(cfg.data.train):
                labels = read_entries(member, 'ann_dirs', tasks).get(name)
                if labels is None or labels.is_complete or osp.realpath(
                        image_dir(member)) != osp.realpath(folder.img_dir):
                    continue
                truth = build(
                    member,
                    pipeline=[],
                    ann_dirs={name: member['ann_dirs'][name]})
                for i in range(len(truth)):
                    masks.setdefault(truth.stem(i), []).append((truth, i))


def make_labels(prob: Tensor,
                target: LabelFolder,
                truth: Sequence[tuple],
                threshold: float,
                margin: float = 0.0) -> Tensor:
    """Labels (H, W), uint8, of an image: the truth where it is known, else
    what the probabilities (C, H, W) say of the classes to label; 255 where the
    truth is, or where a probability is less than ``margin`` away from the
    threshold.

    ``truth`` are datasets that label some classes of the task, and the image's
    position in each.
    """
    task = target.task
    prob = prob * task.known_mask(target.classes)[:, None, None]
    ignored = torch.zeros(prob.shape[1:], dtype=torch.bool)
    for dataset, index in truth:
        mask = torch.from_numpy(dataset.get_gt_plane(index, task.name))
        prob = task.complete(prob, mask, dataset.truth[task.name].classes)
        ignored |= mask == IGNORE_INDEX
    ignored |= ((prob - threshold).abs() < margin).any(dim=0)
    return task.decode(prob, threshold).masked_fill(ignored, IGNORE_INDEX)


def claim_folder(folder: str,
                 manifest: dict,
                 paths: Sequence[str],
                 overwrite: bool = False) -> None:
    """Make a folder ready: labels that other weights made are removed.

    The manifest is ``manifest.json.part`` until all is written, so that an
    interrupted run is not taken for a complete one.

    Raises:
        ValueError: If there are labels of unknown origin, and not
            ``overwrite``.
    """
    os.makedirs(folder, exist_ok=True)
    remove_leftovers(folder)
    done, part = osp.join(folder, MANIFEST), osp.join(folder, PART)
    old = [path for path in paths if osp.exists(path)]
    known = read_json(done) or read_json(part)
    if old and known is None and not overwrite:
        raise ValueError(
            f'{folder}: holds {len(old)} label(s), e.g. '
            f'{osp.basename(old[0])}, without a {MANIFEST} that says what '
            'made them; move them away, or add --overwrite to replace them.')
    if known is None or any(known.get(k) != manifest.get(k) for k in ORIGIN):
        for path in old:
            os.unlink(path)
    save_json(part, manifest)
    with suppress(FileNotFoundError):
        os.unlink(done)


def generate_pseudo_labels(
        cfg: Config,
        checkpoint: str,
        env: Environment,
        threshold: float = 0.5,
        margin: float = 0.0,
        model_cfg: dict | None = None,
        allow_stage2: bool = False,
        overwrite: bool = False,
        progress: Callable | None = None) -> list[ImageFolder]:
    """Write every pseudo label that a stage-2 config reads.

    Args:
        cfg: The stage-2 config, completed by ``load_config``.
        checkpoint, model_cfg, allow_stage2: See :func:`generator_cfg`.
        env: Where this process runs.
        threshold, margin: See :func:`make_labels`.
        overwrite: See :func:`claim_folder`.
        progress: Takes a number of images and returns something with
            ``update()``, such as ``mmcv.ProgressBar``.

    Raises:
        ValueError: If config, checkpoint and folders do not go together.
    """
    room = min(threshold, 1 - threshold)
    if not 0 <= threshold < 1 or not 0 <= margin <= room:
        raise ValueError(
            f'threshold is {threshold}, margin {margin}: expected at least 0, '
            'a threshold below 1, and a margin of at most its distance from 0 '
            f'and 1, {room:g}.')
    folders = find_image_folders(cfg)
    model_cfg = generator_cfg(cfg, checkpoint, model_cfg, allow_stage2)
    with naming(checkpoint):  # its own network, perhaps
        model = load_segmentor(model_cfg, checkpoint, env, cfg=cfg)
    _check_tasks(folders, model.module)
    _open_datasets(folders, cfg)
    predict_first(model, [f.dataset for f in folders], 'data.test')
    made_by = dict(
        checkpoint=checkpoint,
        checkpoint_sha256=file_sha256(checkpoint),
        config=cfg.filename,
        threshold=threshold) | (
            dict(margin=margin) if margin else {})
    manifests = {
        path: _manifest(folder, target, made_by)
        for folder in folders
        for path, target in folder.targets.items()
    }
    if env.is_main:
        for folder in folders:
            for path, target in folder.targets.items():
                paths = [target.file(stem) for stem in folder.stems]
                claim_folder(path, manifests[path], paths, overwrite)
    _label_pending(model, folders, cfg, env, threshold, margin, progress)
    if env.is_main:
        for path, manifest in manifests.items():
            save_json(osp.join(path, MANIFEST), manifest)
            os.unlink(osp.join(path, PART))
    return folders


def _manifest(folder: ImageFolder, target: LabelFolder, made_by: dict) -> dict:
    """What is noted of the labels in a folder."""
    task = target.task
    manifest = dict(made_by, task=task.name, images=folder.stems)
    if not target.is_complete:
        manifest['classes'] = list(target.classes)
    kept = {
        name
        for masks in folder.truth[task.name].values()
        for dataset, _ in masks
        for name in dataset.truth[task.name].classes
    }
    if kept:
        manifest['truth'] = [name for name in task.classes if name in kept]
    return manifest


def _is_done(folder: ImageFolder, index: int) -> bool:
    """Whether an image has all its labels, in its size."""
    try:
        sizes = {
            read_layout(target.file(folder.stems[index])).shape
            for target in folder.targets.values()
        }
    except (OSError, RefusedError):
        return False
    return sizes == {read_layout(folder.dataset.image_path(index)).shape}


def _label_pending(model: nn.Module, folders: Sequence[ImageFolder],
                   cfg: Config, env: Environment, threshold: float,
                   margin: float, progress: Callable | None) -> None:
    """Label the images that are not yet, by one network pass each."""
    env.barrier()  # all folders are claimed
    pending = [[i for i in range(len(f.stems)) if not _is_done(f, i)]
               for f in folders]
    env.barrier()  # all have looked before anyone writes
    own = sum(len(indices[env.rank::env.world_size]) for indices in pending)
    bar = progress(own) if progress and env.is_main and own else None
    for folder, indices in zip(folders, pending):
        images = Subset(folder.dataset, indices)
        for position, prob in predict_dataset(model, images, cfg, env):
            stem = folder.stems[indices[position]]
            for target in folder.targets.values():
                task = target.task
                labels = make_labels(
                    torch.from_numpy(prob[task.name]), target,
                    folder.truth[task.name].get(stem, ()), threshold, margin)
                save_labels(target.file(stem), labels.numpy(), task)
            if bar is not None:
                bar.update()
    env.barrier()
