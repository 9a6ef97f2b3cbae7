"""The table of benchmarks/ablation.sh.

usage: python benchmarks/ablation_table.py WORK_DIRS
"""
import argparse
import json
from pathlib import Path

COLUMNS = {
    'vessels, hidden: Dice': ('idrid_vessels', 'vessel', 'Dice@0.5', 'vessel'),
    'AP': ('idrid_vessels', 'vessel', 'AP', 'vessel'),
    'discs, hidden: Dice': ('idrid_discs', 'odoc', 'Dice@0.5', 'disc'),
    'AP ': ('idrid_discs', 'odoc', 'AP', 'disc'),
    'lesions: AP': ('idrid_lesions', 'lesion', 'AP', 'mean'),
    'DRIVE: Dice': ('drive', 'vessel', 'Dice@0.5-fov', 'vessel'),
    'Drishti-GS: disc': ('drishti_gs', 'odoc', 'Dice@0.5', 'disc'),
    'cup': ('drishti_gs', 'odoc', 'Dice@0.5', 'cup'),
}
"""dict[str, tuple[str]]: Test set, task, metric and class of each column."""

NETWORKS = {
    'three networks of one task': ('vessel', 'lesion', 'odoc'),
    'stage 1': ('stage1', ),
    'stage 2 as published': ('published', ),
    'the same from stage 1': ('warm', ),
    'pseudo labels alone, from stage 1': ('labels', ),
}
"""dict[str, tuple[str]]: Names of the runs, without seed, by row."""


def values(root: Path, runs, test_set, task, metric, of_class) -> list[float]:
    """The metric of each seed, in order."""
    found = []
    for run in runs:
        for path in sorted(root.glob(f'{run}_*/scores/eval_{test_set}.json')):
            metrics = json.loads(path.read_text())['tasks'].get(task)
            if metrics:
                found.append(metrics['comparable'][metric][of_class]['value'])
    return found


def table(root: Path) -> str:
    """A Markdown table with a row per network; seeds are divided by '/'."""
    lines = [
        '| |' + '|'.join(map(str.strip, COLUMNS)) + '|',
        '|---|' + '---|' * len(COLUMNS)
    ]
    for row, runs in NETWORKS.items():
        cells = [
            ' / '.join(f'{v:.3f}' for v in values(root, runs, *column))
            for column in COLUMNS.values()
        ]
        lines.append(f'|{row}|' + '|'.join(cells) + '|')
    return '\n'.join(lines)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work_dirs', type=Path)
    print(table(parser.parse_args().work_dirs))
