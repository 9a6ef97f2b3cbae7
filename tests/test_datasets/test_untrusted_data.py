"""Data that somebody else packed: bombs, links, pipes, odd names."""
import os
import shutil

import pytest

from mbos.datasets import DataError
from mbos.io import RefusedError
from mbos.io.labels import read_labels
from tests.bombs import png


def only(make, full=False, **changes):
    with pytest.raises(DataError) as error:
        make(**changes).check(full=full)
    problem, = error.value.problems
    return problem


@pytest.mark.parametrize('name', ['images/eye_1.png', 'ann/eye_1.png'])
def test_bombs(make, root, name):
    """A size that would take 10 GB, and one that Pillow only warns of."""
    for size in ((60000, 60000), (20000, 15000)):
        (root / name).write_bytes(png(*size))
        text = only(make, full=True)
        assert text.startswith(f'{root / name}: its header claims')
        assert 'MBOS_MAX_IMAGE_PIXELS' in text


def test_bombs_that_came_after_the_check(make, root):
    """No reader of the pipeline, such as OpenCV, sees them."""
    dataset = make()
    (root / 'images/eye_1.png').write_bytes(png(20000, 20000))
    with pytest.raises(RefusedError, match='images/eye_1.png'):
        dataset[1]
    (root / 'ann/eye_2.png').write_bytes(png(20000, 20000))
    with pytest.raises(RefusedError, match='ann/eye_2.png'):
        read_labels(str(root / 'ann/eye_2.png'))


@pytest.mark.parametrize('name', ['images', 'ann', 'pseudo'])
@pytest.mark.parametrize('whole', [True, False])
def test_links_out_of_the_data_root(make, root, monkeypatch, name, whole):
    place = root / name if whole else root / name / 'eye_1.png'
    target = root.parent / f'elsewhere_{place.name}'
    shutil.move(place, target)
    place.symlink_to(target)
    text = only(make)
    assert f'{place}: a link leads out of {root}, to {target}' in text
    monkeypatch.setenv('MBOS_ALLOW_LINKS', str(root.parent))
    make().check(full=True)


def test_split_that_is_a_link(make, root):
    (root.parent / 'list.txt').write_text('eye_1\n')
    (root / 'split.txt').symlink_to('../list.txt')
    text = only(make, split='split.txt')
    assert f'{root}/split.txt: a link leads out' in text
    make(split=str(root.parent / 'list.txt'))


def test_pipes_are_not_waited_for(make, root):
    for name in ('split.txt', 'images/eye_9.png'):
        os.mkfifo(root / name)
    assert 'not a regular file but a pipe' in only(make, split='split.txt')
    assert len(make()) == 5
    os.remove(root / 'ann/eye_1.png')
    os.mkfifo(root / 'ann/eye_1.png')
    assert 'ann/eye_1.png: annotation (lesion) of' in only(make)
    os.remove(root / 'ann/eye_1.png')
    os.symlink('/dev/zero', root / 'ann/eye_1.png')
    with pytest.raises(DataError, match='annotation .* is missing'):
        make()
    os.remove(root / 'pseudo/manifest.json')
    os.mkfifo(root / 'pseudo/manifest.json')
    with pytest.raises(DataError, match='not a regular file but a pipe'):
        make()


def test_names_that_break_logs(make, root):
    shutil.copy(root / 'images/eye_0.png', root / 'images/eye\n9.png')
    shutil.copy(root / 'ann/eye_0.png', root / 'ann/eye\n9.png')
    shutil.copy(root / 'pseudo/eye_0.png', root / 'pseudo/eye\n9.png')
    with pytest.raises(DataError) as error:
        make()
    assert [r"'eye\n9.png'" in p
            for p in error.value.problems[:3]] == [True] * 3
