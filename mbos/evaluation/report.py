"""What an evaluation leaves behind: JSON, tables of images, and a page.

docs/evaluation.md is the reference of the formats. The page covers every
``eval_<set>.json`` of the work directory that is of the same checkpoint, so
that test sets can be evaluated one after the other.
"""
import csv
import glob
import io
import os.path as osp
import shutil
from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from mbos.inference.test_sets import predict_image
from mbos.io.files import (read_json, save_image, save_json, save_text,
                           without_nan)
from mbos.io.photographs import read_photograph
from mbos.metrics.tables import summary
from mbos.painter import draw_overlay, shrink
from mbos.pictures.document import css_colours, link_to
from mbos.pictures.gallery import file_name
from mbos.pictures.report_page import (IMAGE_FIGURES, Example, Section,
                                       choose_examples, image_rank,
                                       overall_dice, render_report)
from mbos.tasks import Task, build_tasks

SIDE = 640
KINDS = ('photograph', 'truth', 'prediction')
FORMAT = 2  # changes when a key of the JSON changes its meaning


def evaluation_path(folder: str, test_set: str, task: str = '') -> str:
    """The JSON of an evaluation or, for a task, its table of images."""
    stem = osp.join(folder, f'eval_{test_set}')
    return f'{stem}_{task}.csv' if task else f'{stem}.json'


def picture_folder(folder: str, test_set: str) -> str:
    """Where the page has pictures of a test set."""
    return osp.join(folder, 'report_files', file_name(test_set))


def saved_evaluations(path: str) -> dict[str, dict | None]:
    """What evaluations left in a folder, or in one JSON, by file; None where
    one is missing, damaged or of another format."""
    files = sorted(glob.glob(evaluation_path(glob.escape(path), '*')))
    contents = {file: read_json(file) or {} for file in files or [path]}
    return {
        file: content if content.get('format') == FORMAT else None
        for file, content in contents.items()
    }


def write_evaluation(folder: str, dataset, reports: Mapping[str, dict],
                     head: dict, chosen_on: Mapping[str, dict]) -> list[str]:
    """Write the JSON and the tables of a test set; returns the files.

    ``reports`` are what ``dataset.compute`` gave by task, ``head`` the first
    keys of the JSON, ``chosen_on`` says by task where thresholds come from."""
    figures, tasks, written = {}, {}, []
    for name, report in reports.items():
        _, flat = summary(report)
        figures |= {f'{name}.{key}': value for key, value in flat.items()}
        chosen, truth = chosen_on.get(name), dataset.truth[name]
        rows = [
            dict(name=row['name'], image=dataset.image_path(i),
                 mask=truth.file(row['name'])) | row
            for i, row in enumerate(report['per_image'])
        ]  # yapf: disable
        tasks[name] = report | dict(
            per_image=rows,
            ignore_index=dataset.ignore_index,
            chosen_on=chosen and {k: chosen[k]
                                  for k in ('sets', 'Dice')})
        written.append(evaluation_path(folder, head['dataset'], name))
        save_text(written[-1], _image_csv(tasks[name]))
    written.append(evaluation_path(folder, head['dataset']))
    # those of an earlier evaluation
    shutil.rmtree(picture_folder(folder, head['dataset']), ignore_errors=True)
    save_json(written[-1],
              dict(format=FORMAT, **head, figures=figures, tasks=tasks))
    return written


def _image_csv(content: dict) -> str:
    """Metrics of the images of a task's part of the JSON, the worst first;
    undefined numbers are empty cells."""
    table, (point, *_) = [], content['thresholds']
    for row in sorted(content['per_image'], key=image_rank):
        cells = {'image': row['name'], 'Dice': overall_dice(row)}
        for key in row:
            if key.startswith(IMAGE_FIGURES):
                cells |= {f'{key}.{c}': row[key][c] for c in content['classes']
                          if c in row[key]}  # yapf: disable
        for name, counts in row['counts'][point].items():
            cells |= {f'{kind}.{name}': n for kind, n in counts.items()}
        table.append(without_nan(dict(cells, file=row['image'])))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, table[0], lineterminator='\n')
    writer.writeheader()
    writer.writerows(table)
    return stream.getvalue()


def write_report(model: nn.Module,
                 datasets: Mapping,
                 cfg,
                 checkpoint_sha256: str,
                 images: int = 3) -> str:
    """Write the page, after ``evaluate_test_sets`` has written its files, by
    one process alone; returns its file. Of ``datasets``, just evaluated, by
    name, ``images`` of the best and of the worst are shown for each task."""
    saved = filter(None, saved_evaluations(cfg.work_dir).values())
    found = {one['dataset']: one for one in saved
             if one['checkpoint_sha256'] == checkpoint_sha256}  # yapf: disable
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
        stem = dataset.stems[index]
        tasks = [task for task, names in chosen.items() if stem in names]
        prob = predict_image(model, dataset, index) if tasks else {}
        for task in tasks:
            pictures = example_pictures(dataset, index, task, prob)
            for kind, picture in zip(KINDS, pictures):
                path = _picture(work_dir, content['dataset'], task, stem, kind)
                save_image(path, picture, quality=88, optimize=True)


def example_pictures(dataset, index: int, task_name: str,
                     prob: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Photograph, ground truth and prediction, of probabilities (C, H, W) by
    task, of an image: small, RGB."""
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
