"""The folder that a prediction run writes; ``docs/prediction.md`` has its
layout. Every file is whole or not there, and everything that sums up is made
from the records, one per photograph, so that runs can be stopped and shared.
"""
import csv
import io
import json
import os
import os.path as osp
from collections.abc import Iterable, Sequence

import cv2
import numpy as np

import mbos
from mbos.io import files as io_files
from mbos.io import is_within
from mbos.io.disclaimer import DISCLAIMER
from mbos.io.files import (read_json, save_bytes, save_image, save_json,
                           save_text)
from mbos.io.labels import save_labels
from mbos.pictures import gallery
from mbos.tasks import Task
from .measurements import columns
from .photograph_list import Source

RUN, RECORDS, MEASUREMENTS = 'run.json', 'records', 'measurements.csv'
WRITTEN = ('labels', 'overlays', 'probabilities', RECORDS)
"""tuple[str]: The folders with a file or more per photograph."""
README = f"""What is in this folder
======================

{DISCLAIMER}

labels/TASK/NAME.png       label map of the photograph's size; 0 is background,
                           other values are classes (at the end of this file)
overlays/NAME.jpg          the photograph with everything drawn on it
probabilities/TASK/CLASS/  if asked for: probability times 65535, 16 bits
measurements.csv           one row per photograph; docs/measurements.md of
                           MBOS defines the columns
gallery.html               all of it to look at, in a browser
records/NAME.json          what is known of one photograph
run.json                   checkpoint, options, tasks, photographs, failures

Values of label maps

"""


class OutputFolder:
    """Reads and writes the files of a run.

    Args:
        folder (str): The folder; made when something is written.
        tasks (Sequence[Task]): Tasks of the network.
    """

    def __init__(self, folder: str, tasks: Sequence[Task]):
        self.folder = folder
        self.tasks = list(tasks)

    def path(self, *parts: str) -> str:
        """A file of the folder."""
        return osp.join(self.folder, *parts)

    # ---- what made the folder

    def claim(self, header: dict, overwrite: bool = False) -> None:
        """Make sure that nothing of another checkpoint gets mixed in.

        Args:
            header (dict): Of :func:`header_of`.
            overwrite (bool): Whether what is there shall be made again.

        Raises:
            ValueError: If the folder holds other predictions or other files.
        """
        known = read_json(self.path(RUN))
        if not overwrite:
            self._check_same(known, header)
        io_files.remove_leftovers(self.folder)
        for name in WRITTEN:  # other folders are not looked at
            for base, _, _ in os.walk(self.path(name)):
                io_files.remove_leftovers(base)
        values = [
            f'{task.name}: ' +
            ', '.join(f'{value} {name}'
                      for value, name in enumerate(task.classes, 1))
            for task in self.tasks
        ]
        save_text(self.path('README.txt'), README + '\n'.join([*values, '']))
        if known is None or overwrite:
            self._remove_others(header['key'])
            save_json(self.path(RUN), dict(header, images=[], failed=[]))

    def _check_same(self, known: dict | None, header: dict) -> None:
        """Refuse a folder of another run, whose ``run.json`` is known."""
        if known is None:
            foreign = [
                name for name in (*WRITTEN, MEASUREMENTS)
                if osp.exists(self.path(name))
            ]
            if foreign:
                raise ValueError(
                    f'{self.folder}: holds {", ".join(foreign)} but no {RUN} '
                    'that says what made them; give another --out, or '
                    '--overwrite to replace them.')
            return
        if known.get('checkpoint_sha256') != header['checkpoint_sha256']:
            raise ValueError(
                f'{self.folder}: was made with another checkpoint, '
                f'{known.get("checkpoint")} (SHA-256 '
                f'{str(known.get("checkpoint_sha256"))[:12]}...); give another'
                ' --out, or --overwrite to make everything again.')
        theirs, ours = known.get('options') or {}, header['options']
        changed = [
            f'{key} {theirs.get(key)!r} instead of {ours[key]!r}'
            for key in ours if theirs.get(key) != ours[key]
        ]
        if changed:
            raise ValueError(
                f'{self.folder}: was made with other options '
                f'({"; ".join(changed)}); give the same, another --out, or '
                '--overwrite to make everything again.')

    def _remove_others(self, key: str) -> None:
        """Remove what another checkpoint or other options made."""
        for record in self.all_records():
            if record['key'] != key:
                self.forget(record['name'])
                for path in files_of(record):
                    if osp.exists(self.path(path)):
                        os.unlink(self.path(path))

    # ---- one photograph

    def is_done(self, source: Source, key: str) -> bool:
        """Whether a photograph was predicted with this key, and is kept."""
        record = read_json(self.path(RECORDS, f'{source.name}.json'))
        return (self._is_record(record) and record['key'] == key
                and record.get('file') == file_identity(source.path)
                and all(osp.isfile(self.path(p)) for p in files_of(record)))

    def forget(self, name: str) -> None:
        """A photograph is not done any more, before its files change."""
        path = self.path(RECORDS, f'{name}.json')
        if osp.exists(path):
            os.unlink(path)

    @staticmethod
    def label_path(name: str, task: str) -> str:
        """Where a label map is, below the folder."""
        return f'labels/{task}/{name}.png'

    def write_labels(self, name: str, task: Task, labels: np.ndarray) -> str:
        """Write a label map; returns its path below the folder."""
        relative = self.label_path(name, task.name)
        save_labels(self.path(relative), labels, task)
        return relative

    def write_probabilities(self, name: str, task: Task,
                            prob: np.ndarray) -> list[str]:
        """Write a 16-bit PNG per class; returns their paths."""
        paths = []
        for of_class, plane in zip(task.classes, prob):
            values = np.rint(plane * 65535).astype(np.uint16)
            content = cv2.imencode('.png', values)[1].tobytes()
            relative = f'probabilities/{task.name}/{of_class}/{name}.png'
            save_bytes(self.path(relative), content)
            paths.append(relative)
        return paths

    def write_overlay(self, name: str, picture: np.ndarray) -> str:
        """Write the picture to look at; returns its path."""
        relative = f'overlays/{name}.jpg'
        save_image(self.path(relative), picture, quality=90)
        return relative

    def write_record(self, record: dict) -> None:
        """Write what is known of a photograph, which marks it as done."""
        save_json(self.path(RECORDS, f'{record["name"]}.json'), record)

    # ---- all photographs

    def known_names(self) -> dict[str, str]:
        """Name by absolute path of the photographs that are done; the names
        of those that are gone are free."""
        return {
            record['source']: record['name']
            for record in self.all_records() if osp.exists(record['source'])
        }

    def all_records(self, names: Iterable[str] = ()) -> list[dict]:
        """Records of this and of earlier runs, sorted by name; those of the
        names first, in their order."""
        found = {}
        for base, folders, files in os.walk(self.path(RECORDS)):
            folders.sort()
            for file in sorted(f for f in files if f.endswith('.json')):
                record = read_json(osp.join(base, file))
                if self._is_record(record):
                    found[record['name']] = record
        order = dict.fromkeys([*names, *found])
        return [found[name] for name in order if name in found]

    def _is_record(self, record: dict | None) -> bool:
        """Whether a record names files of this folder only.

        Files are removed by it, and whoever made the folder wrote it.
        """
        try:
            paths = [*files_of(record), f'{RECORDS}/{record["name"]}.json']
            known = {'key', 'source', 'measurements', 'width', 'height'}
            return known <= set(record) and all(
                path.split('/')[0] in WRITTEN and is_within(
                    osp.realpath(self.path(path)),
                    osp.realpath(self.path(path.split('/')[0])))
                for path in paths)
        except (AttributeError, KeyError, TypeError, ValueError):
            return False

    def finish(self, header: dict, names: Sequence[str],
               failed: Sequence[dict]) -> list[dict]:
        """Write the table of measurements and ``run.json``.

        Args:
            header (dict): As given to :meth:`claim`.
            names (Sequence[str]): Photographs in the order of the inputs.
            failed (Sequence[dict]): ``source`` and ``reason`` of each.

        Returns:
            list[dict]: The records, in the order of the table.
        """
        records = self.all_records(names)
        table = io.StringIO()
        writer = csv.DictWriter(
            table,
            ['image', 'source', 'width', 'height'] + columns(self.tasks),
            extrasaction='ignore',
            lineterminator='\n')
        writer.writeheader()
        for record in records:
            row = {
                # six digits are more than any of these is good for
                key: f'{value:.6g}' if isinstance(value, float) else value
                for key, value in record['measurements'].items()
            }
            writer.writerow({**record, **row, 'image': record['name']})
        save_text(self.path(MEASUREMENTS), table.getvalue())
        shown = ('name', 'source', 'width', 'height', 'labels',
                 'probabilities', 'overlay')
        images = [{key: record[key] for key in shown} for record in records]
        save_json(
            self.path(RUN), dict(header, images=images, failed=list(failed)))
        return records

    def write_gallery(self,
                      records: Sequence[dict],
                      thumbnail: int = gallery.THUMBNAIL) -> str:
        """Write ``gallery.html`` and return its path.

        Args:
            records (Sequence[dict]): What to show. Photographs that are gone
                since are left out.
            thumbnail (int): Longer side of the pictures.
        """
        images: list[gallery.GalleryImage] = []
        for record in records:
            if not osp.isfile(record['source']):
                continue
            row = dict(record['measurements'])
            flags = [f.replace('_', ' ') for f in row.pop('flags').split()]
            links = {}
            if record['overlay']:
                links['overlay'] = self.path(record['overlay'])
            images.append(
                gallery.GalleryImage(
                    name=record['name'],
                    photograph=record['source'],
                    labels={
                        task: self.path(path)
                        for task, path in record['labels'].items()
                    },
                    measurements=row,
                    flags=flags,
                    links=links))
        made_by = read_json(self.path(RUN)) or {}
        return gallery.write_gallery(
            self.folder,
            images,
            self.tasks,
            title=f'Predictions: {osp.basename(osp.abspath(self.folder))}',
            thumbnail=thumbnail,
            note=f'{osp.basename(made_by.get("checkpoint", "?"))} (SHA-256 '
            f'{made_by.get("checkpoint_sha256", "?")[:12]})')


def file_identity(path: str) -> list | None:
    """What changes when a file changes: size and time; None if it is gone."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return [stat.st_size, stat.st_mtime_ns]


def files_of(record: dict) -> list[str]:
    """The files that a record names."""
    files = list(record['labels'].values())
    for paths in record['probabilities'].values():
        files += paths
    return files + [record['overlay']] * bool(record['overlay'])


def header_of(tasks: Sequence[Task], checkpoint: str, sha256: str,
              options: dict) -> dict:
    """What ``run.json`` says besides photographs, in plain types.

    ``key`` is what all photographs of a folder share: the hash of the
    checkpoint, and the options that change outputs.
    """
    return dict(
        key=json.dumps([sha256, options], sort_keys=True),
        note=DISCLAIMER,
        mbos_version=mbos.__version__,
        checkpoint=checkpoint,
        checkpoint_sha256=sha256,
        options=options,
        tasks=[
            dict(
                task.as_config(),
                palette=[list(colour) for colour in task.colours],
                threshold=options['thresholds'][task.name]) for task in tasks
        ],
        columns=columns(tasks))
