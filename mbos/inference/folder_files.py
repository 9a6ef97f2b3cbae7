"""The folder that a prediction run writes; ``docs/prediction.md`` has its
layout. Every file is whole or not there, and everything that sums up is made
from the records, one per photograph, so that runs can be stopped and shared.
"""
import csv
import glob
import io
import os
import os.path as osp
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

from mbos.io.disclaimer import DISCLAIMER
from mbos.io.files import (read_json, remove_leftovers, save_bytes, save_image,
                           save_json, save_text)
from mbos.io.labels import save_labels
from mbos.pictures import gallery
from mbos.tasks import Task
from .measurements import columns
from .photograph_list import Source

RUN, MEASUREMENTS = 'run.json', 'measurements.csv'
RECORD, OVERLAY = 'records/{name}.json', 'overlays/{name}.jpg'
LABELS = 'labels/{task}/{name}.png'
PROBABILITIES = 'probabilities/{task}/{of_class}/{name}.png'
WRITTEN = ('labels', 'overlays', 'probabilities', 'records')
"""tuple[str]: The folders with a file or more per photograph."""
LISTED = ('name', 'source', 'width', 'height', 'labels', 'probabilities',
          'overlay')
"""tuple[str]: What ``run.json`` says of a photograph; records say more."""
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
    """The folder of a run, with label maps of some tasks."""

    def __init__(self, folder: str, tasks: Sequence[Task]):
        self.folder = folder
        self.tasks = list(tasks)

    def path(self, *parts: str) -> str:
        """A file of the folder."""
        return osp.join(self.folder, *parts)

    # ---- what made the folder

    def claim(self, header: dict, overwrite: bool = False) -> None:
        """Make sure that nothing of another checkpoint gets mixed in.

        Raises:
            ValueError: If the folder holds other predictions or other files,
                unless they are to be replaced.
        """
        known = read_json(self.path(RUN))
        if not overwrite:
            self._check_same(known, header)
        remove_leftovers(self.folder)
        for name in WRITTEN:  # other folders are not looked at
            for base, _, _ in os.walk(self.path(name)):
                remove_leftovers(base)
        text = README
        for task in self.tasks:
            values = [f'{k} {name}' for k, name in enumerate(task.classes, 1)]
            text += f'{task.name}: {", ".join(values)}\n'
        save_text(self.path('README.txt'), text)
        if known is None or overwrite:
            for record in self.all_records():
                if record['key'] != header['key']:
                    self._remove(record['name'])
            save_json(self.path(RUN), dict(header, images=[], failed=[]))

    def _check_same(self, known: dict | None, header: dict) -> None:
        """Refuse a folder of another run, whose ``run.json`` is known."""
        if known is None:
            there = [n for n in WRITTEN if osp.exists(self.path(n))]
            changed = [f'{name} but no {RUN}' for name in there]
        else:
            theirs, ours = (
                dict(
                    run.get('options') or {},
                    checkpoint=str(run.get('checkpoint_sha256'))[:12])
                for run in (known, header))
            changed = [
                f'{key} {theirs.get(key)!r} instead of {ours[key]!r}'
                for key in ours if theirs.get(key) != ours[key]
            ]
        if changed:
            raise ValueError(
                f'{self.folder}: holds other predictions '
                f'({"; ".join(changed)}); give the same checkpoint and '
                'options, another --out, or --overwrite to make everything '
                'again.')

    # ---- one photograph

    def is_done(self, source: Source, key: str) -> bool:
        """Whether a photograph was predicted with this key, and is kept."""
        record = self._record(source.name)
        if record is None:
            return False
        files = [*record['labels'].values(), record['overlay']]
        files += sum(record['probabilities'].values(), [])
        return (record['key'] == key
                and record.get('file') == file_identity(source.path)
                and all(osp.isfile(self.path(f)) for f in files if f))

    def _record(self, name: str) -> dict | None:
        """What is known of a photograph; None if it is not done.

        Its name is where the record is, whatever stands in there: whoever
        made the folder wrote that, and files are removed by their names.
        """
        record = read_json(self.path(RECORD.format(name=name))) or {}
        if not set(record).issuperset(('key', 'measurements', *LISTED)):
            return None
        return dict(record, name=name)

    def _remove(self, name: str) -> None:
        """Remove what was written of a photograph, the record first."""
        for pattern in (RECORD, LABELS, OVERLAY, PROBABILITIES):
            pattern = pattern.format(
                name=glob.escape(name), task='*', of_class='*')
            for path in Path(self.folder).glob(pattern):
                path.unlink()

    def forget(self, name: str) -> None:
        """A photograph is not done any more, before its files change."""
        Path(self.path(RECORD.format(name=name))).unlink(missing_ok=True)

    def write_labels(self, name: str, task: Task, labels: np.ndarray) -> str:
        """Write a label map; returns its path below the folder."""
        relative = LABELS.format(name=name, task=task.name)
        save_labels(self.path(relative), labels, task)
        return relative

    def write_probabilities(self, name: str, task: Task,
                            prob: np.ndarray) -> list[str]:
        """Write a 16-bit PNG per class; returns their paths."""
        paths = []
        for of_class, plane in zip(task.classes, prob):
            values = np.rint(plane * 65535).astype(np.uint16)
            paths.append(
                PROBABILITIES.format(
                    name=name, task=task.name, of_class=of_class))
            save_bytes(
                self.path(paths[-1]),
                cv2.imencode('.png', values)[1].tobytes())
        return paths

    def write_overlay(self, name: str, picture: np.ndarray) -> str:
        """Write the picture to look at; returns its path."""
        relative = OVERLAY.format(name=name)
        save_image(self.path(relative), picture, quality=90)
        return relative

    def write_record(self, record: dict) -> None:
        """Write what is known of a photograph, which marks it as done."""
        save_json(self.path(RECORD.format(name=record['name'])), record)

    # ---- all photographs

    def all_records(self, names: Iterable[str] = ()) -> list[dict]:
        """Records of this and of earlier runs: those of the names first, in
        their order, then the others by name."""
        folder = Path(self.path('records'))
        there = [
            path.relative_to(folder).with_suffix('').as_posix()
            for path in sorted(folder.rglob('*.json'))
        ]
        found = map(self._record, dict.fromkeys([*names, *there]))
        return [record for record in found if record is not None]

    def finish(self, header: dict, names: Sequence[str],
               failed: Sequence[dict]) -> list[dict]:
        """Write the table of measurements and ``run.json``; returns the
        records in the order of the table, which begins with ``names``."""
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
            writer.writerow(dict(record, **row, image=record['name']))
        save_text(self.path(MEASUREMENTS), table.getvalue())
        images = [{key: record[key] for key in LISTED} for record in records]
        save_json(
            self.path(RUN), dict(header, images=images, failed=list(failed)))
        return records

    def write_gallery(self,
                      records: Sequence[dict],
                      thumbnail: int = gallery.THUMBNAIL) -> str:
        """Write ``gallery.html`` of those photographs that are still there,
        with pictures of a longer side; returns its path."""
        images = []
        for record in records:
            if not osp.isfile(record['source']):
                continue
            values = dict(record['measurements'])
            flags = shown_flags(values.pop('flags'))
            labels = {t: self.path(p) for t, p in record['labels'].items()}
            overlay = record['overlay']
            links = dict(overlay=self.path(overlay)) if overlay else {}
            images.append(
                gallery.GalleryImage(record['name'], record['source'], labels,
                                     values, flags, links))
        run = read_json(self.path(RUN)) or {}
        return gallery.write_gallery(
            self.folder,
            images,
            self.tasks,
            title=f'Predictions: {osp.basename(osp.abspath(self.folder))}',
            thumbnail=thumbnail,
            note=f'{osp.basename(run.get("checkpoint", "?"))} (SHA-256 '
            f'{run.get("checkpoint_sha256", "?")[:12]})')


def shown_flags(flags: str) -> list[str]:
    """Flags of a photograph as words."""
    return [flag.replace('_', ' ') for flag in flags.split()]


def file_identity(path: str) -> list[int]:
    """What changes when a file changes: size and time."""
    stat = os.stat(path)
    return [stat.st_size, stat.st_mtime_ns]
