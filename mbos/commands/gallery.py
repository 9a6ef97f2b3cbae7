"""Write the gallery page of a folder of predictions again.

``mbos gallery OUT``, of what ``tools/predict.py --out OUT`` wrote:
with pictures of another size, or after ``--no-gallery``. Needs neither the
checkpoint nor a GPU, only the photographs where they were.
"""
import os.path as osp

from mbos.inference.folder_files import RUN, OutputFolder
from mbos.io.files import read_json
from mbos.pictures.gallery import THUMBNAIL
from mbos.tasks import build_tasks
from .options import make_parser

ARGUMENTS = [
    ('out', 'folder that tools/predict.py wrote', {}),
    ('--size', 'longer side of the pictures in pixels (default: %(default)s)',
     dict(type=int, default=THUMBNAIL)),
]


def main() -> None:
    """Read the records of the run and write the page."""
    parser = make_parser(__doc__, ARGUMENTS)
    args = parser.parse_args()
    if not 64 <= args.size <= 4096:
        parser.error('--size must lie between 64 and 4096')
    run = read_json(osp.join(args.out, RUN)) or {}
    if 'tasks' not in run:
        raise ValueError(f'{args.out}: no readable {RUN} in it; give the '
                         '--out folder of tools/predict.py.')
    keys = 'name', 'classes', 'nested', 'palette'
    tasks = build_tasks([{k: task[k] for k in keys} for task in run['tasks']])
    folder = OutputFolder(args.out, tasks)
    records = folder.all_records(image['name'] for image in run['images'])
    gone = [r['source'] for r in records if not osp.isfile(r['source'])]
    if len(gone) == len(records):
        raise ValueError(f'{args.out}: none of its {len(records)} photographs '
                         'is where it was.')
    page = folder.write_gallery(records, args.size)
    for path in gone:
        print(f'Left out, as it is not there any more: {path}')
    print(f'Look at {page}')
