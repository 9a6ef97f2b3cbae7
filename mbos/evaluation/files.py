"""What an evaluation leaves behind: JSON and tables of images.

docs/evaluation.md is the reference of both formats.
"""
import csv
import io
import os.path as osp
from collections.abc import Mapping, Sequence

from mbos.io.files import save_json, save_text
from mbos.metrics.bootstrap import Bootstrap
from mbos.metrics.tables import CONFUSION, FOV, summary
from mbos.pictures.report_page import IMAGE_FIGURES, image_rank, overall_dice
from mbos.tasks import Task

FORMAT = 2
"""int: Changes when a key of the JSON changes its meaning."""


def evaluation_path(folder: str, test_set: str, task: str = '') -> str:
    """The JSON of an evaluation or, for a task, its table of images."""
    stem = osp.join(folder, f'eval_{test_set}')
    return f'{stem}_{task}.csv' if task else f'{stem}.json'


def write_evaluation(folder: str, dataset, reports: Mapping[str, dict],
                     head: dict, bootstrap: Bootstrap | None,
                     chosen_on: Mapping[str, dict]) -> list[str]:
    """Write the JSON and the tables of a test set; returns the files.

    Args:
        folder: The work directory.
        dataset: The test set, a ``PartialLabelDataset``.
        reports: What ``dataset.compute`` gave, by task.
        head: First keys of the JSON; ``dataset`` names the test set.
        bootstrap: How the intervals were made.
        chosen_on: By task, where thresholds come from.
    """
    name = head['dataset']
    tasks = {
        t.name: dataset.scored_task(t)
        for t in dataset.tasks if t.name in reports
    }
    figures = {}
    for task_name, report in reports.items():
        _, flat = summary(report, tasks[task_name])
        figures.update({f'{task_name}.{k}': v for k, v in flat.items()})
    content = dict(
        format=FORMAT,
        **head,
        bootstrap=vars(bootstrap) if bootstrap else None,
        figures=figures,
        tasks={
            task: task_content(report, tasks[task], dataset,
                               chosen_on.get(task))
            for task, report in reports.items()
        })
    written = []
    for task, report in reports.items():
        written.append(evaluation_path(folder, name, task))
        files = {
            row['name']: row['image']
            for row in content['tasks'][task]['per_image']
        }
        save_text(written[-1],
                  csv_text(image_table(report, tasks[task], files)))
    written.append(evaluation_path(folder, name))
    save_json(written[-1], content)
    return written


def task_content(report: dict, task: Task, dataset,
                 chosen_on: dict | None) -> dict:
    """The part of the JSON that is about one task."""
    index = {dataset.stem(i): i for i in range(len(dataset))}
    rows = [
        dict(
            name=row['name'],
            image=dataset.image_path(index[row['name']]),
            mask=dataset.plane_path(index[row['name']], task.name),
            **{
                key: value
                for key, value in row.items() if key != 'name'
            }) for row in report['per_image']
    ]
    tables = {
        kind:
        _with_intervals(report[kind],
                        report.get('intervals', {}).get(kind, {}))
        for kind in ('published', 'comparable')
    }
    curves = {
        key: value
        for key, value in report.items()
        if key.startswith(('curves', 'calibration'))
    }
    return dict(
        classes=list(task.classes),
        nested=task.nested,
        images=report['num_images'],
        ignore_index=dataset.ignore_index,
        thresholds=report['thresholds'],
        chosen_on={k: chosen_on[k]
                   for k in ('sets', 'Dice')} if chosen_on else None,
        **tables,
        **curves,
        per_image=rows)


def _with_intervals(table, ends) -> dict[str, dict[str, dict]]:
    found = {}
    for key, row in table.items():
        found[key] = {}
        for column, value in row.items():
            low, high = ends.get(key, {}).get(column, (None, None))
            found[key][column] = dict(value=value, low=low, high=high)
    return found


def image_table(report: dict, task: Task, files: Mapping[str,
                                                         str]) -> list[list]:
    """Metrics of images, the header first, then the worst image first.

    ``files`` are image files by stem.
    """
    rows = report['per_image']
    columns = figure_columns(rows, task)
    point = next(iter(report['thresholds']))
    header = ['image', 'Dice'] + [f'{key}.{name}' for key, name in columns]
    header += [f'{kind}.{n}' for n in task.classes for kind in CONFUSION]
    table = []
    for row in sorted(rows, key=image_rank):
        line = [row['name'], overall_dice(row)]
        line += [row.get(key, {}).get(name) for key, name in columns]
        line += [
            row['counts'][point][name][kind] for name in task.classes
            for kind in CONFUSION
        ]
        table.append(line + [files[row['name']]])
    return [header + ['file']] + table


def figure_columns(rows: Sequence[dict], task: Task) -> list[tuple]:
    """Pairs of metric and class that images have, in order."""
    keys = []
    for row in rows:
        keys += [k for k in row if k not in keys]

    def place(key):
        stem = key.replace(FOV, '').split('@')[0]
        return (FOV in key, '@' in key, IMAGE_FIGURES.index(stem))

    keys = [k for k in keys if k.startswith(IMAGE_FIGURES)]
    return [(key, name) for key in sorted(keys, key=place)
            for name in task.classes if any(
                name in row.get(key, {}) for row in rows)]


def csv_text(table: Sequence[Sequence]) -> str:
    """Format a table as CSV; undefined numbers become empty cells."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator='\n')
    for row in table:
        writer.writerow(['' if v is None or v != v else v for v in row])
    return stream.getvalue()
