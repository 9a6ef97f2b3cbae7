"""Checks before training; also of data that somebody else packed."""
import json
import os
import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

from mbos.datasets import DataError
from mbos.io import RefusedError
from mbos.io.labels import read_labels, save_labels
from tests.bombs import png


def problems_of(make, **changes):
    with pytest.raises(DataError) as error:
        make(**changes).check(full=True)
    assert str(error.value).startswith(f'{len(error.value.problems)} problem')
    return error.value.problems


def only(make, **changes):
    problems = problems_of(make, **changes)
    assert len(problems) == 1, problems
    return problems[0]


def test_good_data(make):
    make().check(full=True)
    make(ann_dirs={}, pseudo_dirs={}, weights={}).check(full=True)


def mask(name, values):
    """Overwrite a mask of eye_1, or all, by repeated values."""

    def write(root):
        for i in range(5) if '{' in name else [1]:
            shape = (40 + 2 * i, 56)
            save_labels(
                str(root / name.format(i)),
                np.resize(np.array(values, np.uint8), shape))

    return write


def small_mask(name):
    return lambda root: save_labels(
        str(root / name), np.ones((9, 9), np.uint8))


def remove(name):
    return lambda root: os.remove(root / name)


def truncate(name):
    return lambda root: (root / name).write_bytes(
        (root / name).read_bytes()[:(root / name).stat().st_size // 2])


def rename_masks(root):
    for i in range(5):
        os.rename(root / f'ann/eye_{i}.png', root / f'ann/eye_{i}.gif')


def truncated_jpeg(root):
    for i in range(5):
        path = root / f'images/eye_{i}.png'
        Image.open(path).save(path.with_suffix('.jpg'))
    path = root / 'images/eye_2.jpg'
    path.write_bytes(path.read_bytes()[:-200])


@pytest.mark.parametrize('damage, changes, expected', [
    (None, dict(data_root='nowhere/at/all'),
     'nowhere/at/all: data root not found; prepare the dataset'),
    (None, dict(img_dir='pictures'), 'image folder not found'),
    (lambda root:
     (root / 'empty').mkdir(), dict(img_dir='empty'), 'the folder is empty'),
    (None, dict(img_suffix=['.jpg', '.tif']),
     "no image with suffix '.jpg' or '.tif', but 5 file(s) with '.png'; set"),
    (lambda root: shutil.copy(root / 'images/eye_0.png', root /
                              'images/eye_0.tif'),
     dict(img_suffix=['.png', '.tif']),
     'eye_0.png: has the same stem as eye_0.tif'),
    (remove('ann/eye_3.png'), {},
     'ann/eye_3.png: annotation (lesion) of image'),
    (remove('images/eye_3.png'), {},
     'ann/eye_3.png: annotation (lesion) without an image'),
    (None, dict(ann_dirs=dict(lesion='masks')),
     'masks: annotation (lesion) folder not found; prepare'),
    (rename_masks, {}, "expected <stem>.png, found '.gif'"),
    (small_mask('ann/eye_1.png'), {},
     'ann/eye_1.png: the mask is 9x9, its image 56x42'),
    (lambda root: Image.new('RGB', (56, 42)).save(root / 'ann/eye_1.png'), {},
     "ann/eye_1.png: has Pillow mode 'RGB', expected one channel"),
    (truncate('images/eye_2.png'), {}, 'images/eye_2.png: cannot be read'),
    (truncate('ann/eye_3.png'), {}, 'ann/eye_3.png: the mask cannot be read'),
    (truncated_jpeg, dict(img_suffix='.jpg'), 'eye_2.jpg: cannot be read'),
    (None, dict(pseudo_dirs=dict(vessel='ddr_v')),
     'ddr_v: pseudo label (vessel) folder not found; run tools/generate_pse'),
    (remove('pseudo/eye_4.png'), {},
     'pseudo/eye_4.png: pseudo label (vessel) of image'),
    (None, dict(pseudo_checkpoint_sha256='abcd' * 16),
     'made by checkpoint work_dirs/stage1/iter_1.pth (sha256 000000000000...'
     '), expected sha256 abcdabcdabcd'),
    (None, dict(split='none.txt'), 'split file cannot be read'),
])
def test_one_problem(make, root, damage, changes, expected):
    if damage:
        damage(root)
    assert expected in only(make, **changes)


@pytest.mark.parametrize('values, expected', [
    ((0, 255), 'looks like a 0/255 mask'),
    ((255, 255), 'looks like a 0/255 mask'),
    ((0, 128, 255), 'label value(s) 128 out of range'),
    ((0, 4, 5, 9), 'label value(s) 5, 9 out of range'),
])
def test_wrong_values(make, root, values, expected):
    mask('ann/eye_1.png', values)(root)
    text = only(make)
    assert 'ann/eye_1.png' in text and expected in text
    assert "task 'lesion' expects 0 background, 1 EX, 2 HE, 3 SE, 4 MA" in text


def labelled(path, **entry):
    """Arguments of a dataset that labels only some lesions."""
    return dict(ann_dirs=dict(lesion=dict(path=path, **entry)))


@pytest.mark.parametrize('classes, values, expected', [
    (['EX', 'SE'], [0, 1, 3, 255], None),
    (['EX', 'SE'], [0, 1, 2], 'label value(s) 2 (HE) contradict'),
    (['EX', 'SE'], [0, 2, 4], 'label value(s) 2 (HE), 4 (MA) contradict'),
    (['SE'], [0, 3, 255], None),
    (['SE'], [0, 1, 255], None),
    (['SE'], [0, 1, 3], 'label value(s) 1 (EX) contradict'),
    (['SE'], [0, 2], 'label value(s) 2 (HE) contradict'),
    (['SE'], [0, 9], 'label value(s) 9 out of range'),
    (['SE'], [0, 255], 'or say binary=True beside its path'),
])
def test_values_that_contradict_the_classes(make, root, classes, values,
                                            expected):
    mask('ann/eye_{}.png', values)(root)
    dataset = make(**labelled('ann', classes=classes))
    problems = dataset.problems(full=True)
    assert len(problems) == (5 if expected else 0)
    assert all(expected in p and 'ann/eye_' in p for p in problems)


def test_good_masks(make, root):
    mask('ann/eye_1.png', [0, 1, 255])(root)
    make().check(full=True)
    mask('ann/eye_1.png', [0, 0, 255])(root)
    make(allow_unlabelled=True).check(full=True)
    Image.fromarray(np.eye(42, 56) > 0).save(root / 'ann/eye_1.png')
    make().check(full=True)
    mask('ann/eye_{}.png', [0, 77, 255])(root)
    make(**labelled('ann', classes=['SE'], binary=True)).check(full=True)


def test_photographs_that_are_turned_are_fine(make, root):
    path = root / 'images/eye_0.png'
    image = Image.open(path)
    exif = image.getexif()
    exif[274] = 6
    image.save(path, exif=exif)
    make().check(full=True)


def test_at_most_ten_are_shown(make, root):
    for folder in ('ann', 'pseudo'):
        mask(folder + '/eye_{}.png', [77])(root)
    for i in range(5):
        (root / f'images/eye_{i}.png').write_bytes(b'no image')
    with pytest.raises(DataError, match='^15 problems .* first 10:') as error:
        make().check()
    assert str(error.value).count('\n') == 10
    assert pickle.loads(pickle.dumps(error.value)).args == error.value.args


def test_field_of_view(make, root):
    assert make(fov_dir='nowhere').fov_dir is None
    (root / 'fov').mkdir()
    assert 'no field of view for any' in only(make, fov_dir='fov')
    mask('fov/eye_{}.png', [255])(root)
    make(fov_dir='fov').check()
    small_mask('fov/eye_0.png')(root)
    assert 'fov/eye_0.png: the mask is 9x9' in only(make, fov_dir='fov')


def test_pseudo_labels_that_are_good(make, root):
    small_mask('pseudo/other.png')(root)
    make(pseudo_checkpoint_sha256='0' * 64).check()


def test_pseudo_without_manifest(make, root):
    os.remove(root / 'pseudo/manifest.json')
    with pytest.warns(UserWarning, match='pseudo labels without manifest'):
        make()


@pytest.mark.parametrize('changes, expected', [
    (dict(task='odoc'), "made for task 'odoc', but the config reads"),
    (dict(images=['eye_0', 'eye_1', 'eye_2']),
     "does not list 2 of 5 images, e.g. 'eye_3'"),
    (dict(images='eye_0'), 'is not a manifest'),
])
def test_wrong_manifest(make, root, manifest_writer, changes, expected):
    manifest_writer(root / 'pseudo', **changes)
    assert expected in only(make)


@pytest.mark.parametrize('text', ['{', '[]', '7', json.dumps(dict(task='x'))])
def test_damaged_manifest(make, root, text):
    (root / 'pseudo/manifest.json').write_text(text)
    assert 'manifest.json: ' in only(make)


def test_split(make, root):
    path = root / 'val.txt'
    path.write_text('eye_3\n\neye_1.png\n')
    dataset = make(split='val.txt')
    assert [dataset.stem(i) for i in range(len(dataset))] == ['eye_1', 'eye_3']
    dataset.check(full=True)


@pytest.mark.parametrize('text, expected', [
    ('eye_1\neye_9\n', "val.txt:2: 'eye_9' is not an image"),
    ('../images/eye_1\n', "val.txt:1: '../images/eye_1' is not an image"),
    ('/etc/passwd\n', "val.txt:1: '/etc/passwd' is not an image"),
    ('eye_1\0\n', r"val.txt:1: 'eye_1\x00' is not an image"),
    ('eye_1\neye_1.png\n', "val.txt:2: 'eye_1.png' is listed twice"),
    ('\n', 'names no image'),
])
def test_wrong_split(make, root, text, expected):
    (root / 'val.txt').write_text(text)
    assert expected in only(make, split='val.txt')


@pytest.mark.parametrize('changes, expected', [
    (dict(ann_dirs=dict(drusen='ann')), "unknown task 'drusen'; the tasks"),
    (dict(tasks=['drusen']), "Unknown task 'drusen'"),
    (dict(weights=dict(drusen=1)), "weights names the unknown task 'drusen'"),
    (dict(weights=dict(vessel=-1)), 'weight of at least 0'),
    (dict(pseudo_dirs=dict(lesion='pseudo')), 'both ground truth and pseudo'),
    (dict(binary_truth=['lesion']), 'binary_truth is for testing'),
    (labelled('ann', classes=['EX', 'MAC']),
     "'ddr': Task 'lesion' has the classes EX, HE, SE, MA: expected a list of "
     r"some of them, each once, got \['EX', 'MAC'\]"),
    (labelled('ann', classes='EX'), "each once, got 'EX'"),
    (labelled('ann', clases=['EX']), 'expected a folder or dict'),
    (labelled(None, classes=['EX']), 'expected a folder or dict'),
    (labelled('ann', classes=[]), r'each once, got \[\]'),
    (labelled('ann', classes=5), 'each once, got 5'),
    (dict(ann_dirs=dict(lesion=['ann'])), r"folder, .*, got \['ann'\]"),
    (labelled('ann', binary=True), 'binary=True is for masks of a single'),
])
def test_wrong_arguments(make, changes, expected):
    with pytest.raises(ValueError, match=expected):
        make(**changes)


def test_masks_whose_suffix_is_in_upper_case_are_named(make, root):
    (root / 'ann/eye_1.png').rename(root / 'ann/eye_1.PNG')
    assert 'eye_1.PNG is there: rename it' in only(make)


@pytest.mark.parametrize('name', ['images/eye_1.png', 'ann/eye_1.png'])
def test_bombs(make, root, name):
    """A size that would take 10 GB, and one that Pillow only warns of."""
    for size in ((60000, 60000), (20000, 15000)):
        (root / name).write_bytes(png(*size))
        text = only(make)
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
