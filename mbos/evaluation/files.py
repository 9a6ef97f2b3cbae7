"""What an evaluation leaves behind: JSON and tables of images.

docs/evaluation.md is the reference of both formats.
"""
import csv
import io
import os.path as osp
from collections.abc import Mapping

from mbos.io.files import save_json, save_text
from mbos.metrics.bootstrap import Bootstrap
from mbos.metrics.tables import CONFUSION, summary
from mbos.pictures.report_page import IMAGE_FIGURES, image_rank, overall_dice

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

    ``reports`` are what ``dataset.compute`` gave by task, ``head`` the first
    keys of the JSON, ``chosen_on`` says by task where thresholds come from.
    """
    scored = {t.name: dataset.scored_task(t) for t in dataset.tasks}
    figures, tasks, written = {}, {}, []
    for name, report in reports.items():
        _, flat = summary(report, scored[name])
        figures.update({f'{name}.{key}': v for key, v in flat.items()})
        tasks[name] = _task_content(report, scored[name], dataset,
                                    chosen_on.get(name))
        written.append(evaluation_path(folder, head['dataset'], name))
        save_text(written[-1], _image_csv(tasks[name]))
    written.append(evaluation_path(folder, head['dataset']))
    given = vars(bootstrap) if bootstrap else None
    save_json(
        written[-1],
        dict(
            format=FORMAT,
            **head,
            bootstrap=given,
            figures=figures,
            tasks=tasks))
    return written


def _task_content(report, task, dataset, chosen_on) -> dict:
    """The part of the JSON that is about one task."""
    index = {dataset.stem(i): i for i in range(len(dataset))}
    content = dict(
        classes=list(task.classes),
        nested=task.nested,
        images=report['num_images'],
        ignore_index=dataset.ignore_index,
        thresholds=report['thresholds'],
        chosen_on=chosen_on and {k: chosen_on[k]
                                 for k in ('sets', 'Dice')})
    for kind in ('published', 'comparable'):
        content[kind] = {
            key: {
                column: dict(value=value, low=None, high=None)
                for column, value in row.items()
            }
            for key, row in report[kind].items()
        }
        for key, row in report.get('intervals', {}).get(kind, {}).items():
            for column, (low, high) in row.items():
                content[kind][key][column].update(low=low, high=high)
    for key, value in report.items():
        if key.startswith(('curves', 'calibration')):
            content[key] = value
    content['per_image'] = [
        dict(
            name=row['name'],
            image=dataset.image_path(index[row['name']]),
            mask=dataset.plane_path(index[row['name']], task.name)) | row
        for row in report['per_image']
    ]
    return content


def _image_csv(content: dict) -> str:
    """Metrics of the images of a task's part of the JSON, the worst first;
    undefined numbers are empty cells."""
    rows, classes = content['per_image'], content['classes']
    metrics = [(key, name) for key, values in rows[0].items()
               if key.startswith(IMAGE_FIGURES) for name in classes
               if name in values]
    counts = [(kind, name) for name in classes for kind in CONFUSION]
    point = next(iter(content['thresholds']))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator='\n')
    writer.writerow([
        'image', 'Dice', *(f'{key}.{name}' for key, name in metrics + counts),
        'file'
    ])
    for row in sorted(rows, key=image_rank):
        values = [
            overall_dice(row), *(row[key][name] for key, name in metrics),
            *(row['counts'][point][name][kind] for kind, name in counts)
        ]
        writer.writerow([
            row['name'], *('' if v is None or v != v else v for v in values),
            row['image']
        ])
    return stream.getvalue()
