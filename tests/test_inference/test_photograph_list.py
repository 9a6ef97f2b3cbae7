"""Which photographs are meant, and their names."""
import os

import pytest

from mbos.inference.photograph_list import find_photographs, name_photographs


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'')


def names(found, known=None):
    return list(name_photographs(found, known).values())


def test_folders_files_and_patterns(tmp_path):
    touch(tmp_path, 'in/b.JPG', 'in/a.png', 'in/notes.txt', 'in/.hidden.png',
          'in/sub/c.tiff', 'in/.cache/d.png', 'in/sub/deep/e.ppm', 'in/f.HEIC',
          'more/x.bmp', 'more/x.csv', 'more/sub/y.bmp', 'single.dat')
    found, left_out = find_photographs([
        str(tmp_path / 'single.dat'),
        str(tmp_path / 'in'),
        str(tmp_path / 'more/*'),
        str(tmp_path / 'in/a.png'),  # a second time
        str(tmp_path / '**/x.bmp')
    ])
    assert names(found) == [
        'single', 'a', 'b', 'sub/c', 'sub/deep/e', 'y', 'x_bmp', 'x_csv'
    ]
    assert list(found)[1] == str(tmp_path / 'in/a.png')
    assert [os.path.basename(f) for f in left_out] == ['f.HEIC', 'notes.txt']


def test_linked_folders_are_searched_once(tmp_path):
    touch(tmp_path, 'disk/eye.jpg', 'in/a.png')
    (tmp_path / 'in/linked').symlink_to(tmp_path / 'disk')
    (tmp_path / 'disk/circle').symlink_to(tmp_path / 'in')
    found, _ = find_photographs([str(tmp_path / 'in')])
    assert names(found) == ['a', 'linked/eye']


def test_outputs_are_no_inputs(tmp_path):
    touch(tmp_path, 'eye.jpg', 'out/overlays/eye.jpg', 'outer/eye.jpg')
    found, _ = find_photographs([str(tmp_path)], exclude=str(tmp_path / 'out'))
    assert names(found) == ['eye', 'outer/eye']
    with pytest.raises(FileNotFoundError, match='that of the outputs'):
        find_photographs([str(tmp_path)], exclude=str(tmp_path) + '/.')


@pytest.mark.parametrize('given, error', [
    ('nothing', FileNotFoundError),
    ('*.png', FileNotFoundError),
    ('empty', FileNotFoundError),
    ('texts', FileNotFoundError),
])
def test_nothing_to_do(tmp_path, given, error):
    (tmp_path / 'empty').mkdir()
    touch(tmp_path / 'texts', 'a.txt', 'sub/b.csv')
    with pytest.raises(error, match=f'{tmp_path}/.{given[1:]}'):
        find_photographs([str(tmp_path / given)])


def test_equal_names_keep_apart(tmp_path):
    touch(tmp_path, 'left/1.jpg', 'right/1.jpg', 'right/2.jpg', 'x/y/3.jpg',
          'z/y/3.jpg', 'left/4.jpg', 'left/4.png', 'left/4.JPG')
    found, _ = find_photographs([
        str(tmp_path / part) for part in ('left/1.jpg', 'right', 'x/y', 'z/y',
                                          'left/4.jpg', 'left/4.png')
    ])
    assert names(found) == [
        'left/1', 'right/1', '2', 'x/y/3', 'z/y/3', '4_jpg', '4_png'
    ]
    # only the case of the suffix differs
    found, _ = find_photographs([str(tmp_path / 'left')])
    assert len({n.casefold() for n in names(found)}) == len(found) == 4


def test_names_of_an_earlier_run_stay(tmp_path):
    first, second = (str(tmp_path / folder / '1.jpg') for folder in 'ab')
    known = {first: '1'}
    assert names({first: '1', second: '1'}, known) == ['1', 'b/1']
    # what is not asked for now keeps its name from others
    assert names({second: '1'}, known) == ['b/1']
