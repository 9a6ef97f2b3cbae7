"""Make a dataset of a published collection, or of a folder of one's own.

    mbos prepare COLLECTION RAW OUT

is ``python -m prepare_dataset.COLLECTION RAW OUT``.
"""
import runpy
import sys
from pathlib import Path

import prepare_dataset
from .options import make_parser


def collections() -> dict[str, str]:
    """The commands of ``prepare_dataset``, and what each is for."""
    found = {}
    for path in sorted(Path(prepare_dataset.__file__).parent.glob('*.py')):
        text = path.read_text(encoding='utf-8')
        if "__name__ == '__main__'" in text:
            found[path.stem] = text.partition('\n')[0].strip('".:')
    return found


def main() -> int:
    """Run the command that ``sys.argv`` names."""
    known = collections()
    lines = [f'    {name:16}  {text}' for name, text in known.items()]
    parser = make_parser('\n'.join([__doc__, *lines]), [
        ('collection', 'one of these', dict(choices=known)),
    ])  # yapf: disable
    name = parser.parse_args(sys.argv[1:2]).collection
    del sys.argv[1]
    # its worker processes find it by the name of the main module
    runpy.run_module(
        f'prepare_dataset.{name}', run_name='__main__', alter_sys=True)
    return 0
