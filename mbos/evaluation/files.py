"""What an evaluation leaves behind: JSON and tables of images.

docs/evaluation.md is the reference of both formats.
"""
import csv
import glob
import io
import os.path as osp
import shutil
from collections.abc import Mapping

from mbos.io.files import read_json, save_json, save_text, without_nan
from mbos.metrics.tables import summary
from mbos.pictures.gallery import file_name
from mbos.pictures.report_page import IMAGE_FIGURES, image_rank, overall_dice

FORMAT = 2
"""int: Changes when a key of the JSON changes its meaning."""


def evaluation_path(folder: str, test_set: str, task: str = '') -> str:
    """The JSON of an evaluation or, for a task, its table of images."""
    stem = osp.join(folder, f'eval_{test_set}')
    return f'{stem}_{task}.csv' if task else f'{stem}.json'


def picture_folder(folder: str, test_set: str) -> str:
    """Where the page has pictures of a test set."""
    return osp.join(folder, 'report_files', file_name(test_set))


def saved_evaluations(path: str) -> dict[str, dict | None]:
    """What evaluations left in a folder, or in one JSON, by file; None where
    one is missing, damaged or of another format.
    """
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
    keys of the JSON, ``chosen_on`` says by task where thresholds come from.
    """
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
