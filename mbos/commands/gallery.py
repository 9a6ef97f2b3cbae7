"""Write the gallery page of a folder of predictions again.

``mbos gallery OUT``, of what ``tools/predict.py --out OUT`` wrote:
with pictures of another size, or after ``--no-gallery``. Needs neither the
checkpoint nor a GPU, only the photographs where they were.
"""
import argparse
import os.path as osp

from mbos.inference.folder_files import RUN, OutputFolder
from mbos.io.files import read_json
from mbos.pictures.gallery import THUMBNAIL
from mbos.tasks import build_tasks

TASK_KEYS = ('name', 'classes', 'nested', 'palette')


def parse_args():
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('out', help='folder that tools/predict.py wrote')
    parser.add_argument(
        '--size',
        type=int,
        default=THUMBNAIL,
        help='longer side of the pictures in pixels (default: %(default)s)')
    args = parser.parse_args()
    if not 64 <= args.size <= 4096:
        parser.error('--size must lie between 64 and 4096')
    return args


def main():
    """Read the records of the run and write the page."""
    args = parse_args()
    run = read_json(osp.join(args.out, RUN))
    if run is None or 'tasks' not in run:
        raise ValueError(f'{args.out}: no readable {RUN} in it; give the '
                         '--out folder of tools/predict.py.')
    tasks = build_tasks([{
        key: task[key]
        for key in TASK_KEYS
    } for task in run['tasks']])
    folder = OutputFolder(args.out, tasks)
    records = folder.all_records(image['name'] for image in run['images'])
    gone = [r['source'] for r in records if not osp.isfile(r['source'])]
    if len(gone) == len(records):
        raise ValueError(
            f'{args.out}: none of its {len(records)} photographs is where it '
            f'was ({", ".join(gone[:1]) or "none"}); put them back or predict '
            'them again.')
    page = folder.write_gallery(records, args.size)
    for path in gone:
        print(f'Left out, as it is not there any more: {path}')
    print(f'Look at {page}')
