"""Pseudo labels: what a stage-2 config reads, written by a stage-1 network."""
import os
import os.path as osp
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from mmcv import Config
from mmseg.datasets import build_dataset
from torch import Tensor
from torch.utils.data import Subset
from tqdm import tqdm

from mbos.checkpoints.loading import read_checkpoint
from mbos.checkpoints.network import stage_of, stored_model_cfg
from mbos.checkpoints.release_layout import is_release_state
from mbos.config import (build_checked, imported_packages, member_datasets,
                         stage1_model_cfg)
from mbos.datasets import PartialLabelDataset
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

# Labels are made again where one of these is another than in the manifest.
ORIGIN = ('task', 'checkpoint_sha256', 'threshold', 'margin', 'classes',
          'truth')


@dataclass
class ImageFolder:
    """Images that need pseudo labels: ``member`` is the config of a dataset
    with them, ``dataset`` has them without labels, ``targets`` are the folders
    to write. ``truth`` are folders of ground truth of only some classes of a
    task, and the stems of which they have it.
    """

    member: Mapping
    targets: list[LabelFolder] = field(default_factory=list)
    dataset: PartialLabelDataset | None = None
    truth: list[tuple[LabelFolder, list[str]]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.member['name']

    @property
    def img_dir(self) -> str:
        """The folder of the images, without links."""
        root = self.member.get('data_root') or ''
        return osp.realpath(osp.join(root, self.member['img_dir']))


def find_image_folders(cfg: Config) -> list[ImageFolder]:
    """Collect every pseudo-label folder that a stage-2 config reads, by image
    folder; a ValueError says that there is none, or that a class is unknown or
    nowhere labelled although others of its task are.
    """
    tasks = build_tasks(cfg.model.tasks)
    members = member_datasets(cfg.data.train)
    truths = [read_entries(m, 'ann_dirs', tasks) for m in members]
    found: dict[tuple, ImageFolder] = {}
    for member in members:
        folder = ImageFolder(member)
        for target in read_entries(member, 'pseudo_dirs', tasks).values():
            labelled = labelled_classes(target.task, truths)
            missing = [c for c in target.classes if c not in labelled]
            if labelled and missing:
                raise ValueError(
                    f'{target.path}: no dataset of data.train labels '
                    f'{", ".join(missing)} of task {target.task.name!r}; name '
                    'the classes to label, as dict(path=..., '
                    f'classes={sorted(labelled)}), in pseudo_dirs.')
            images = folder.img_dir, member.get('split')
            targets = found.setdefault(images, folder).targets
            if target not in targets:
                targets.append(target)
    if not found:
        raise ValueError(
            f'{cfg.filename}: no dataset of data.train has pseudo_dirs, so '
            'there is nothing to write; give the stage-2 config.')
    return list(found.values())


def generator_cfg(cfg: Config,
                  checkpoint: str,
                  model_cfg: dict | None = None,
                  allow_stage2: bool = False) -> dict:
    """Config of a checkpoint's network: the one that is given, else what the
    checkpoint has stored, or the stage-2 config's without stage 2; a
    ValueError if it is of stage 2 and that is not allowed.
    """
    content = read_checkpoint(checkpoint)
    is_stage2 = stage_of(content) == 'adversarial'
    if is_stage2 and not allow_stage2:
        raise ValueError(
            f'{checkpoint} is of the wrong stage, 2: expected a checkpoint of '
            'stage 1, which is trained without pseudo labels. If you do mean '
            'it, add --allow-stage2.')
    if model_cfg is not None:
        return model_cfg
    if content['meta'].get('mbos_model') and not is_release_state(
            content['state_dict']):
        return stored_model_cfg(checkpoint, content, imported_packages(cfg))
    return cfg.model if is_stage2 else stage1_model_cfg(cfg.model)


def _open_datasets(folders: Sequence[ImageFolder], cfg: Config) -> None:
    """Fill in the images of all folders, and the partial truth of them."""
    test = cfg.data.test
    test = member_datasets(test[0] if isinstance(test, list) else test)[0]

    def build(member, **changes):
        images = dict(member, tasks=cfg.model.tasks, test_mode=True)
        images |= dict(ann_dirs=None, pseudo_dirs=None, fov_dir=None)
        return build_checked(build_dataset, images | changes)

    for folder in folders:
        folder.dataset = build(folder.member, pipeline=test['pipeline'])
    for member in member_datasets(cfg.data.train):
        place, truth = ImageFolder(member).img_dir, member.get('ann_dirs')
        same = [folder for folder in folders if folder.img_dir == place]
        if truth and same:
            known = build(member, pipeline=[], ann_dirs=truth)
            partial = [(labels, known.stems) for labels in known.truth.values()
                       if not labels.is_complete]  # yapf: disable
            for folder in same:
                folder.truth += partial


def make_labels(prob: Tensor, target: LabelFolder,
                truth: Iterable[tuple[np.ndarray, Sequence[str]]],
                threshold: float, margin: float) -> Tensor:
    """Labels (H, W), uint8, of an image: the truth where it is known, else
    what the probabilities (C, H, W) say of the classes to label; 255 where the
    truth is, or where a probability is less than ``margin`` away from the
    threshold. ``truth`` are label maps and the classes that they know.
    """
    task = target.task
    prob = prob * task.known_mask(target.classes)[:, None, None]
    ignored = ((prob - threshold).abs() < margin).any(dim=0)
    for labels, classes in truth:
        mask = torch.from_numpy(labels)
        prob = task.complete(prob, mask, classes)
        ignored |= mask == IGNORE_INDEX
    return task.decode(prob, threshold).masked_fill(ignored, IGNORE_INDEX)


def claim_folder(folder: LabelFolder, stems: Sequence[str], manifest: dict,
                 overwrite: bool) -> None:
    """Make a folder ready: labels that other weights made are removed, before
    the manifest says what makes those that follow; a ValueError if there are
    labels of unknown origin, and not ``overwrite``.
    """
    remove_leftovers(folder.path)
    path = osp.join(folder.path, MANIFEST)
    old = list(filter(osp.exists, map(folder.file, stems)))
    known = read_json(path)
    if old and known is None and not overwrite:
        raise ValueError(
            f'{old[0]}: no {MANIFEST} says what made these labels; move them '
            'away, or add --overwrite to replace them.')
    if known is None or any(known.get(k) != manifest.get(k) for k in ORIGIN):
        for label in old:
            os.unlink(label)
    save_json(path, manifest)


def generate_pseudo_labels(cfg: Config,
                           checkpoint: str,
                           env: Environment,
                           threshold: float = 0.5,
                           margin: float = 0.0,
                           model_cfg: dict | None = None,
                           allow_stage2: bool = False,
                           overwrite: bool = False) -> list[ImageFolder]:
    """Write every pseudo label that a stage-2 config reads; a run that was
    stopped goes on where it was. The arguments are those of
    :func:`generator_cfg`, :func:`make_labels` and :func:`claim_folder`; a
    ValueError says what does not go together.
    """
    if not 0 <= threshold < 1 or not 0 <= margin <= min(
            threshold, 1 - threshold):
        raise ValueError(
            f'threshold is {threshold}, margin {margin}: expected a threshold '
            'in [0, 1) and a margin of at most its distance from 0 and 1.')
    folders = find_image_folders(cfg)
    model_cfg = generator_cfg(cfg, checkpoint, model_cfg, allow_stage2)
    with naming(checkpoint):  # its own network, perhaps
        model = load_segmentor(model_cfg, checkpoint, env, cfg=cfg)
    have = {t.name: t.classes for t in model.module.tasks.values()}
    for task in (t.task for f in folders for t in f.targets):
        if have.get(task.name) != task.classes:
            raise ValueError(
                f'The config wants pseudo labels of {task.name!r} '
                f'{task.classes}, the checkpoint predicts {have}: use a '
                'checkpoint that was trained for it.')
    _open_datasets(folders, cfg)
    predict_first(model, [f.dataset for f in folders], 'data.test')
    made_by = dict(checkpoint=checkpoint, config=cfg.filename,
                   checkpoint_sha256=file_sha256(checkpoint),
                   threshold=threshold)  # yapf: disable
    if margin:
        made_by['margin'] = margin
    for folder in folders if env.is_main else ():
        for target in folder.targets:
            manifest = made_by | _facts(folder, target)
            claim_folder(target, folder.dataset.stems, manifest, overwrite)
    env.barrier()  # all folders are claimed
    pending = [[i for i in range(len(f.dataset)) if not _is_done(f, i)]
               for f in folders]  # yapf: disable
    env.barrier()  # all have looked before anyone writes
    for folder, indices in zip(folders, pending):
        images = Subset(folder.dataset, indices)
        mine = len(indices[env.rank::env.world_size])
        for position, prob in tqdm(
                predict_dataset(model, images, cfg, env), folder.name, mine,
                disable=None if env.is_main else True):  # yapf: disable
            _label(folder, indices[position], prob, threshold, margin)
    env.barrier()
    return folders


def _facts(folder: ImageFolder, target: LabelFolder) -> dict:
    """What is noted of the labels in a folder, besides what made them."""
    facts = dict(task=target.task.name, images=folder.dataset.stems)
    if not target.is_complete:
        facts['classes'] = list(target.classes)
    truths = [{truth.task.name: truth} for truth, _ in folder.truth]
    kept = labelled_classes(target.task, truths)
    if kept:
        facts['truth'] = list(target.task.part(kept).classes)
    return facts


def _is_done(folder: ImageFolder, index: int) -> bool:
    """Whether an image has all its labels, in its size."""
    stem = folder.dataset.stems[index]
    try:
        shapes = {read_layout(t.file(stem)).shape for t in folder.targets}
    except (OSError, RefusedError):
        return False
    return shapes == {folder.dataset.layout(index).shape}


def _label(folder: ImageFolder, index: int, probabilities: Mapping,
           threshold: float, margin: float) -> None:
    """Write all labels of an image."""
    stem, layout = folder.dataset.stems[index], folder.dataset.layout(index)
    for target in folder.targets:
        task = target.task
        truth = [(known.read(stem, layout), known.classes)
                 for known, stems in folder.truth
                 if known.task == task and stem in stems]
        prob = torch.from_numpy(probabilities[task.name])
        labels = make_labels(prob, target, truth, threshold, margin)
        save_labels(target.file(stem), labels.numpy(), task)
