"""The table of benchmarks/ablation.sh.

usage: python -m benchmarks.ablation_table WORK_DIRS
"""
import argparse
import json
from pathlib import Path

COLUMNS = (
    ('vessels, hidden: Dice', 'idrid_vessels', 'vessel', 'Dice@0.5', 'vessel'),
    ('AP', 'idrid_vessels', 'vessel', 'AP', 'vessel'),
    ('discs, hidden: Dice', 'idrid_discs', 'odoc', 'Dice@0.5', 'disc'),
    ('AP', 'idrid_discs', 'odoc', 'AP', 'disc'),
    ('lesions: AP', 'idrid_lesions', 'lesion', 'AP', 'mean'),
    ('DRIVE: Dice', 'drive', 'vessel', 'Dice@0.5-fov', 'vessel'),
    ('Drishti-GS: disc', 'drishti_gs', 'odoc', 'Dice@0.5', 'disc'),
    ('cup', 'drishti_gs', 'odoc', 'Dice@0.5', 'cup'),
)
"""Title, test set, task, metric and class."""

NETWORKS = {
    'three networks of one task': ('vessel', 'lesion', 'odoc'),
    'stage 1': ('stage1', ),
    'stage 2 as published': ('published', ),
    'the same from stage 1': ('warm', ),
    'pseudo labels alone, from stage 1': ('labels', ),
}
"""Names of the runs, without seed, by row."""


def cell(root: Path, runs, test_set, task, metric, of_class) -> str:
    """The metric of each seed, in order."""
    tasks = [
        json.loads(path.read_text())['tasks'] for run in runs
        for path in sorted(root.glob(f'{run}_*/scores/eval_{test_set}.json'))
    ]
    return ' / '.join(
        f'{own[task]["comparable"][metric][of_class]["value"]:.3f}'
        for own in tasks if task in own)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work_dirs', type=Path)
    folder = parser.parse_args().work_dirs
    print('|'.join(['| ', *(title for title, *_ in COLUMNS), '']))
    print('|---' * (1 + len(COLUMNS)) + '|')
    for row, names in NETWORKS.items():
        cells = [cell(folder, names, *column) for _, *column in COLUMNS]
        print('|'.join(['', row, *cells, '']))
