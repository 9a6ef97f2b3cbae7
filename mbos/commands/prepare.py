"""Make a dataset of a published collection, or of a folder of one's own.

    mbos prepare COLLECTION RAW OUT

is ``python -m prepare_dataset.COLLECTION RAW OUT``.
"""
import runpy
import sys
from pathlib import Path

import prepare_dataset


def collections() -> dict[str, str]:
    """The commands of ``prepare_dataset``, and what each is for."""
    found = {}
    for path in sorted(Path(prepare_dataset.__file__).parent.glob('*.py')):
        text = path.read_text(encoding='utf-8')
        if "__name__ == '__main__'" in text:
            found[path.stem] = text.partition('\n')[0].strip('".:')
    return found


def main() -> int:
    """Run the command that ``sys.argv`` names; prints all without one."""
    known = collections()
    name = sys.argv[1] if len(sys.argv) > 1 else ''
    if name in known:
        del sys.argv[1]
        # its worker processes find it by the name of the main module
        runpy.run_module(
            f'prepare_dataset.{name}', run_name='__main__', alter_sys=True)
        return 0
    asked = name in ('-h', '--help')
    stream = sys.stdout if asked else sys.stderr
    width = max(map(len, known))
    print('usage: mbos prepare COLLECTION [ARGUMENTS]\n', file=stream)
    for collection, description in known.items():
        print(f'  {collection:{width}}  {description}', file=stream)
    if name and not asked:
        print(f'\nmbos prepare: no collection {name!r}', file=stream)
    return 0 if asked else 2
