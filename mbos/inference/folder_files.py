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
from itertools import product
from pathlib import Path

from mbos.faults import first_of
from mbos.io.files import read_json, remove_leftovers, save_json, save_text
from mbos.pictures import gallery
from mbos.pictures.document import render_page
from mbos.tasks import Task
from .measurements import columns

RUN = 'run.json'
RECORD, OVERLAY = 'records/{name}.json', 'overlays/{name}.jpg'
LABELS = 'labels/{task}/{name}.png'
PROBABILITIES = 'probabilities/{task}/{of_class}/{name}.png'
WRITTEN = ('labels', 'overlays', 'probabilities', 'records')  # per photograph
LISTED = ('name', 'source', 'width', 'height', 'labels', 'probabilities',
          'overlay')
"""tuple[str]: What ``run.json`` says of a photograph; records say more."""


class OutputFolder:
    """The folder of a run, with label maps of some tasks."""

    def __init__(self, folder: str, tasks: Sequence[Task]):
        self.folder = folder
        self.tasks = list(tasks)

    def path(self, name: str) -> str:
        """A file of the folder."""
        return osp.join(self.folder, name)

    def claim(self, header: dict, overwrite: bool = False) -> None:
        """Make sure that nothing of another checkpoint gets mixed in: with a
        ValueError, unless that is to be replaced."""
        theirs, ours = map(_made_by, (read_json(self.path(RUN)) or {}, header))
        changed = [f'{key} {theirs.get(key)!r} instead of {value!r}'
                   for key, value in ours.items()
                   if theirs.get(key) != value]  # yapf: disable
        is_used = any(osp.exists(self.path(name)) for name in WRITTEN)
        if changed and is_used and not overwrite:
            raise ValueError(
                f'{self.folder}: holds other predictions '
                f'({first_of(changed)}); give the same checkpoint and '
                'options, another --out, or --overwrite to make everything '
                'again.')
        remove_leftovers(self.folder)
        for name in WRITTEN:  # other folders are not looked at
            for base, _, _ in os.walk(self.path(name)):
                remove_leftovers(base)
        text = render_page('predictions.txt', tasks=self.tasks)
        save_text(self.path('README.txt'), text)
        if changed:
            # records last: they are found again where this is interrupted
            patterns = LABELS, OVERLAY, PROBABILITIES, RECORD
            for record, pattern in product(self.all_records(), patterns):
                pattern = pattern.format(
                    name=glob.escape(record['name']), task='*', of_class='*')
                for path in Path(self.folder).glob(pattern):
                    path.unlink()
            save_json(self.path(RUN), dict(header, images=[], failed=[]))

    def is_done(self, path: str, name: str) -> bool:
        """Whether a photograph was predicted as it is now, and is kept."""
        record = self._record(name)
        if record is None or record['file'] != file_identity(path):
            return False
        files = [*record['labels'].values(), record['overlay'] or RUN]
        files += sum(record['probabilities'].values(), [])
        return all(osp.isfile(self.path(file)) for file in files)

    def _record(self, name: str) -> dict | None:
        """What is known of a photograph; None if it is not done. Its name is
        where the record is, whatever stands in there: whoever made the folder
        wrote that, and files are removed by their names."""
        record = read_json(self.path(RECORD.format(name=name))) or {}
        is_whole = set(record).issuperset(('file', 'measurements', *LISTED))
        return dict(record, name=name) if is_whole else None

    def all_records(self, names: Iterable[str] = ()) -> list[dict]:
        """Records of this and of earlier runs: those of the names first, in
        their order, then the others by name."""
        folder = Path(self.path('records'))
        there = (path.relative_to(folder).with_suffix('').as_posix()
                 for path in sorted(folder.rglob('*.json')))  # yapf: disable
        found = map(self._record, dict.fromkeys([*names, *there]))
        return [record for record in found if record is not None]

    def finish(self, header: dict, names: Iterable[str],
               failed: Sequence[dict]) -> list[dict]:
        """Write the table of measurements and ``run.json``; returns the
        records in the order of the table, which begins with ``names``."""
        records = self.all_records(names)
        head = ['image', 'source', 'width', 'height', *columns(self.tasks)]
        table = io.StringIO()
        writer = csv.writer(table, lineterminator='\n')
        writer.writerow(head)
        for record in records:
            row = record | record['measurements'] | dict(image=record['name'])
            # six digits are more than any of these is good for
            writer.writerow(f'{v:.6g}' if isinstance(v, float) else v
                            for v in map(row.get, head))  # yapf: disable
        save_text(self.path('measurements.csv'), table.getvalue())
        images = [{key: record[key] for key in LISTED} for record in records]
        save_json(self.path(RUN), dict(header, images=images, failed=failed))
        return records

    def write_gallery(self, records: Sequence[dict], thumbnail: int) -> str:
        """Write ``gallery.html`` of those photographs that are still there,
        with pictures of a longer side; returns its path."""
        run = read_json(self.path(RUN)) or {}
        images = []
        for record in (r for r in records if osp.isfile(r['source'])):
            values = dict(record['measurements'])
            flags = [f.replace('_', ' ') for f in values.pop('flags').split()]
            labels = {t: self.path(p) for t, p in record['labels'].items()}
            overlay = record['overlay']
            links = dict(overlay=self.path(overlay)) if overlay else {}
            images.append(
                gallery.GalleryImage(record['name'], record['source'], labels,
                                     values, flags, links))
        title = f'Predictions: {osp.basename(osp.abspath(self.folder))}'
        checkpoint = osp.basename(run.get('checkpoint', '?'))
        note = f'{checkpoint} (SHA-256 {_made_by(run)["checkpoint"]})'
        return gallery.write_gallery(self.folder, images, self.tasks, title,
                                     note, thumbnail)


def _made_by(run: dict) -> dict:
    """What all photographs of a folder share: checkpoint and options."""
    checkpoint = str(run.get('checkpoint_sha256'))[:12]
    return dict(checkpoint=checkpoint) | (run.get('options') or {})


def file_identity(path: str) -> list[int]:
    """What changes when a file changes: size and time."""
    stat = os.stat(path)
    return [stat.st_size, stat.st_mtime_ns]
