"""What an evaluation leaves behind: JSON and tables of images.

docs/evaluation.md is the reference of both formats.
"""
import csv
import io
import os.path as osp
from collections.abc import Mapping, Sequence

from mbos.io.files import save_json, save_text
from mbos.metrics.bootstrap import Bootstrap
from mbos.metrics.tables import CONFUSION, summary
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
    tasks = {
        t.name: dataset.scored_task(t)
        for t in dataset.tasks if t.name in reports
    }
    content = dict(
        format=FORMAT,
        **head,
        bootstrap=vars(bootstrap) if bootstrap else None,
        figures={
            f'{task}.{key}': value
            for task, report in reports.items()
            for key, value in summary(report, tasks[task])[1].items()
        },
        tasks={
            task: task_content(report, tasks[task], dataset,
                               chosen_on.get(task))
            for task, report in reports.items()
        })
    written = []
    for task, of_task in content['tasks'].items():
        written.append(evaluation_path(folder, head['dataset'], task))
        save_text(written[-1], csv_text(image_table(of_task)))
    written.append(evaluation_path(folder, head['dataset']))
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
            mask=dataset.plane_path(index[row['name']], task.name)) | row
        for row in report['per_image']
    ]
    ends = report.get('intervals')
    tables = {
        kind: {
            key: {
                column:
                dict(
                    zip(('value', 'low', 'high'),
                        (value, *(ends[kind][key][column] if ends else
                                  (None, None)))))
                for column, value in row.items()
            }
            for key, row in report[kind].items()
        }
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


def image_table(content: dict) -> list[list]:
    """Metrics of the images of a task's part of the JSON: the header, then the
    worst image first.
    """
    rows, classes = content['per_image'], content['classes']
    columns = [(key, name) for key, values in rows[0].items()
               if key.startswith(IMAGE_FIGURES) for name in classes
               if name in values]
    point = next(iter(content['thresholds']))
    counts = [(name, kind) for name in classes for kind in CONFUSION]
    table = [[
        'image', 'Dice', *(f'{key}.{name}' for key, name in columns),
        *(f'{kind}.{name}' for name, kind in counts), 'file'
    ]]
    for row in sorted(rows, key=image_rank):
        table.append([
            row['name'],
            overall_dice(row), *(row[key][name] for key, name in columns),
            *(row['counts'][point][name][kind] for name, kind in counts),
            row['image']
        ])
    return table


def csv_text(table: Sequence[Sequence]) -> str:
    """Format a table as CSV; undefined numbers become empty cells."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator='\n')
    for row in table:
        writer.writerow(['' if v is None or v != v else v for v in row])
    return stream.getvalue()
