"""Which photographs are meant, and their names."""
from itertools import combinations
from pathlib import Path

import pytest

from mbos.inference.folder_run import find_photographs, name_photographs


def touch(folder, *names):
    for path in map(folder.joinpath, names):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names(folder, *inputs, known={}, **options):
    found, _ = find_photographs([str(folder / i) for i in inputs], **options)
    return list(name_photographs(found, known).values())


def test_folders_files_and_patterns(tmp_path):
    touch(tmp_path, 'in/b.JPG', 'in/a.png', 'in/notes.txt', 'in/.hidden.png',
          'in/sub/c.tiff', 'in/.cache/d.png', 'in/sub/deep/e.ppm', 'in/f.HEIC',
          'more/x.bmp', 'more/x.csv', 'more/sub/y.bmp', 'single.dat')
    inputs = ['single.dat', 'in', 'more/*', 'in/a.png', '**/x.bmp']
    expected = 'single a b sub/c sub/deep/e y more/x more/x_2'
    assert names(tmp_path, *inputs) == expected.split()
    found, left_out = find_photographs([str(tmp_path / 'in')])
    assert list(found)[0] == str(tmp_path / 'in/a.png')
    assert [Path(f).name for f in left_out] == ['f.HEIC', 'notes.txt']
    # linked folders are searched once
    touch(tmp_path, 'disk/eye.jpg', 'of/a.png')
    (tmp_path / 'of/linked').symlink_to(tmp_path / 'disk')
    (tmp_path / 'disk/circle').symlink_to(tmp_path / 'of')
    assert names(tmp_path, 'of') == ['a', 'linked/eye']


def test_outputs_are_no_inputs(tmp_path):
    touch(tmp_path, 'eye.jpg', 'out/overlays/eye.jpg', 'outer/eye.jpg',
          'texts/b.csv')
    out = str(tmp_path / 'out')
    assert names(tmp_path, '.', exclude=out) == ['eye', 'outer/eye']
    for given in ('out/.', 'nothing', '*.png', 'texts'):
        with pytest.raises(FileNotFoundError, match='no photographs found'):
            names(tmp_path, given, exclude=out)


def test_equal_names_keep_apart(tmp_path):
    touch(tmp_path, 'left/1.jpg', 'right/1.jpg', 'right/2.jpg', 'x/y/3.jpg',
          'z/y/3.jpg', 'left/4.jpg', 'left/4.png', 'left/4.JPG')
    inputs = ('left/1.jpg', 'right', 'x/y', 'z/y', 'left/4.jpg', 'left/4.png')
    expected = ['left/1', 'right/1', '2', 'y/3', 'y/3_2', 'left/4', 'left/4_2']
    assert names(tmp_path, *inputs) == expected
    # only the case of the suffix differs
    assert len({n.casefold() for n in names(tmp_path, 'left')}) == 4
    # names stay in a run that goes on, wherever it was stopped
    found, _ = find_photographs([str(tmp_path / i) for i in inputs])
    whole = name_photographs(found, {})
    for number in range(len(whole)):
        for done in combinations(whole.items(), number):
            assert name_photographs(found, dict(done)) == whole
    # and those of an earlier run, also if they are not asked for now
    known = {str(tmp_path / 'left/1.jpg'): '1'}
    assert names(tmp_path, 'right/1.jpg', known=known) == ['right/1']
