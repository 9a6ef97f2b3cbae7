"""The page of an evaluation, ``report.html``, with pictures of a few images.

The page covers every ``eval_<set>.json`` of the work directory that is of the
same checkpoint, so that test sets can be evaluated one after the other.
Pictures are of the best and the worst images, which are predicted once more;
nothing is kept of the others.
"""
import glob
import os.path as osp
from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from mbos.inference.test_sets import predict_image
from mbos.io.files import save_image, save_text
from mbos.io.photographs import read_photograph
from mbos.painter import draw_overlay, shrink
from mbos.pictures.document import css_colours, link_to
from mbos.pictures.gallery import file_name
from mbos.pictures.report_page import (Example, Section, choose_examples,
                                       render_report)
from mbos.tasks import Task, build_tasks
from .files import evaluation_path, picture_folder, saved_evaluations

SIDE = 640
IMAGES = 3
KINDS = ('photograph', 'truth', 'prediction')


def write_report(model: nn.Module,
                 datasets: Mapping,
                 cfg,
                 checkpoint_sha256: str,
                 images: int = IMAGES) -> str:
    """Write the page, after ``evaluate_test_sets`` has written its files;
    returns its file. Of several processes, one does this.

    ``datasets`` are the test sets just evaluated, by the name of their files,
    of which ``images`` of the best and of the worst are shown for each task.
    """
    saved = filter(None, saved_evaluations(cfg.work_dir).values())
    found = {
        content['dataset']: content
        for content in saved
        if content['checkpoint_sha256'] == checkpoint_sha256
    }
    for name, dataset in datasets.items():
        _write_pictures(model, dataset, cfg.work_dir, found[name], images)
    order = [name for name in cfg.get('test_sets') or {} if name in found]
    tasks = {task.name: task for task in build_tasks(cfg.model.tasks)}
    sections = [
        _section(cfg.work_dir, found[name], task, tasks.get(task))
        for name in dict.fromkeys([*order, *found])
        for task in found[name]['tasks']
    ]
    config = osp.splitext(osp.basename(cfg.filename or 'config'))[0]
    page = osp.join(cfg.work_dir, 'report.html')
    save_text(page, render_report(sections, f'Evaluation of {config}'))
    return page


def _picture(work_dir: str, test_set: str, task: str, image: str,
             kind: str) -> str:
    return osp.join(
        picture_folder(work_dir, test_set), task,
        f'{file_name(image)}_{kind}.jpg')


def _write_pictures(model, dataset, work_dir: str, content: dict,
                    count: int) -> None:
    """Predict the chosen images of a test set again, and draw them."""
    chosen = {
        task: sum(choose_examples(own['per_image'], count), [])
        for task, own in content['tasks'].items()
    }
    for index in range(len(dataset)):
        stem = dataset.stem(index)
        tasks = [task for task, names in chosen.items() if stem in names]
        prob = predict_image(model, dataset, index) if tasks else {}
        for task in tasks:
            pictures = example_pictures(dataset, index, task, prob)
            for kind, picture in zip(KINDS, pictures):
                path = _picture(work_dir, content['dataset'], task, stem, kind)
                save_image(path, picture, quality=88, optimize=True)


def example_pictures(dataset, index: int, task_name: str,
                     prob: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Photograph, ground truth and prediction of an image: small, RGB.

    ``prob`` has probabilities (C, H, W) by task.
    """
    task = next(t for t in dataset.tasks if t.name == task_name)
    shown = dataset.scored_task(task)
    channels = task.channels(shown.classes)
    truth = dataset.get_gt_plane(index, task_name)
    small = shrink(read_photograph(dataset.image_path(index)).image, SIDE)
    predicted = shown.decode(
        torch.from_numpy(prob[task_name][channels]), dataset.threshold)
    planes = [task.part_values(shown.classes)[truth], predicted.numpy()]
    return [small] + [
        draw_overlay(small, {task_name: plane}, [shown]) for plane in planes
    ]


def _section(work_dir: str, content: dict, name: str,
             task: Task | None) -> Section:
    """A task of an evaluation, with the pictures that are there of it."""
    place = work_dir, content['dataset'], name
    drawn = glob.glob(osp.join(glob.escape(osp.dirname(
        _picture(*place, '', ''))), f'*_{KINDS[-1]}.jpg'))  # yapf: disable
    worst, best = ([
        Example(
            stem,
            *(link_to(_picture(*place, stem, kind), work_dir)
              for kind in KINDS)) for stem in stems
    ] for stems in choose_examples(content['tasks'][name]['per_image'],
                                   (len(drawn) + 1) // 2))
    table = link_to(evaluation_path(*place), work_dir)
    colours = dict(css_colours(task)) if task else {}
    return Section(content, name, colours, worst, best, table)
