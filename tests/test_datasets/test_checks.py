"""Checks before training; also of data that somebody else packed."""
import json
import logging
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from mbos.datasets import DataError
from mbos.datasets.checks import check_pixels, find_images
from mbos.io.labels import save_labels
from tests.test_datasets.conftest import MANIFEST, shape_of


def problem_of(make, **changes):
    with pytest.raises(DataError) as error:
        check_pixels([make(**changes)])
    problem, = error.value.problems
    return problem


def write_mask(root, values, i):
    """Overwrite a mask by repeated values."""
    plane = np.resize(np.array(values, np.uint8), shape_of(i))
    save_labels(root / f'ann/eye_{i}.png', plane)


def small_mask(name):
    return lambda root: save_labels(root / name, np.ones((9, 9), np.uint8))


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def pipe(root):
    (root / 'pseudo/manifest.json').unlink()
    os.mkfifo(root / 'pseudo/manifest.json')


def copy(other):
    return lambda root: shutil.copy(root / 'images/eye_0.png', root / other)


def text(name, content):
    return lambda root: (root / name).write_text(content)


def manifest(**changes):
    return text('pseudo/manifest.json', json.dumps(MANIFEST | changes))


def link_outside(root):
    (root.parent / 'a.txt').write_text('eye_1')
    (root / 'a.txt').symlink_to('../a.txt')


def cut_jpeg(root):
    for path in list((root / 'images').iterdir()):
        Image.open(path).save(path.with_suffix('.jpg'))
    cut(root / 'images/eye_2.jpg')


def some(*classes, **more):
    """Arguments of a dataset that labels only some lesions."""
    return dict(
        ann_dirs=dict(lesion=dict(path='ann', classes=classes, **more)))


@pytest.mark.parametrize('damage, changes, expected', [
    (None, dict(data_root='nowhere/at/all'), 'nowhere/at/all/images: folder'),
    (lambda root: (root / 'empty').mkdir(), dict(img_dir='empty'), 'no file'),
    (None, dict(img_suffix=['.jpg', '.tif']), "'.tif'], but 5 .png; set"),
    (copy('images/eye_0.tif'), dict(img_suffix=['.png', '.tif']),
     'same stem as eye_0.tif'),
    (copy('images/eye\n9.png'), dict(ann_dirs={}, pseudo_dirs={}),
     r"'eye\n9.png'"),
    (lambda root: os.remove(root / 'ann/eye_3.png'), {},
     'ann: 1 of 5 masks are missing (truth, lesion), such as eye_3.png'),
    (small_mask('ann/eye_1.png'), {}, 'ann/eye_1.png: the mask has shape (9'),
    (lambda root: Image.new('RGB', (56, 42)).save(root / 'ann/eye_1.png'), {},
     "ann/eye_1.png: has Pillow mode 'RGB', expected one channel"),
    (lambda root: cut(root / 'images/eye_2.png'), {}, 'eye_2.png: cannot be'),
    (cut_jpeg, dict(img_suffix='.jpg'), 'eye_2.jpg: cannot be read'),
    (pipe, {}, 'not a regular file but a pipe'),
    (small_mask('ann/eye_0.png'), dict(ann_dirs={}, fov_dir='ann'),
     'ann/eye_0.png: the mask has shape (9'),
    (None, dict(pseudo_dirs=dict(vessel='ddr_v')),
     '(pseudo, vessel), such as eye_0.png; run tools/generate_pse'),
    (manifest(task='odoc'), {}, "manifest.json: made for ('odoc'"),
    (manifest(classes=['x']), {}, "manifest.json: made for ('vessel'"),
    (manifest(images=['eye_0']), {}, 'without 4 of the 5 images'),
    (manifest(images=7), {}, 'manifest.json: is not a manifest'),
    (None, dict(split='none.txt'), 'none.txt: split file cannot be read'),
    (text('a.txt', '\n'), dict(split='a.txt'), 'a.txt: the split file is em'),
    (text('a.txt', 'eye_1\neye_9\n'), dict(split='a.txt'), "t: 'eye_9' is"),
    (link_outside, dict(split='a.txt'), 'a link leads out of'),
])  # yapf: disable
def test_one_problem(make, root, damage, changes, expected):
    if damage:
        damage(root)
    assert expected in problem_of(make, **changes)


@pytest.mark.parametrize('changes, values, expected', [
    ({}, [0, 1, 255], None),
    ({}, [0, 128, 255], 'has label values [128], but task'),
    ({}, [0, 255], 'has label values [0, 255]'),
    (dict(allow_unlabelled=True), [0, 255], None),
    (some('EX', 'SE'), [0, 1, 3, 255], None),
    (some('EX', 'SE'), [0, 2, 4], 'has label values [2, 4], but task'),
    (some('SE'), [0, 3, 255], None),
    (some('SE'), [0, 1, 255], None),
    (some('SE'), [0, 1, 3], 'has label values [1], but task'),
    (some('SE'), [0, 2], 'has label values [2], but task'),
    (some('SE'), [0, 255], 'binary=True beside the path'),
    (some('SE', binary=True), [0, 77, 255], None),
])  # yapf: disable
def test_values_of_masks(make, root, changes, values, expected):
    for i in range(5):
        write_mask(root, values if i == 1 else [0], i)
    if expected is None:
        check_pixels([make(**changes)])
    else:
        problem = problem_of(make, **changes)
        assert 'ann/eye_1.png' in problem and expected in problem


def test_good_data(make, root):
    check_pixels([make(ann_dirs={}, pseudo_dirs={}, weights={})])
    Image.fromarray(np.eye(42, 56) > 0).save(root / 'ann/eye_1.png')
    small_mask('ann/other.png')(root)
    (root / 'val.txt').write_text('eye_3\n\neye_1.png\neye_3\n')
    turned, exif = root / 'images/eye_3.png', Image.Exif()
    exif[274] = 6
    Image.open(turned).save(turned, exif=exif)
    dataset = make(split='val.txt', pseudo_dirs={}, fov_dir='nowhere')
    check_pixels([dataset])
    assert dataset.stems == ['eye_1', 'eye_3']
    assert dataset.get_fov(0) is None


@pytest.mark.parametrize('suffix, names, left_out', [
    ('.jpg', ['a.JPG', 'b.jpeg', 'c.JPEG', 'd.jpg'], ''),
    ('.TIF', ['a.tif', 'b.tiff', 'c.TIFF'], ''),
    (['.jpg', '_fundus.jpg'], ['a.JPG', 'b_fundus.JPEG'], '2 .heic, 1 .webp'),
])
def test_which_images_are_taken(tmp_path, suffix, names, left_out, caplog):
    others = ['x.webp', 'y.HEIC', 'z.heic', '.e.png'] if left_out else []
    for name in names + others:
        (tmp_path / name).write_bytes(b'x')
    with caplog.at_level(logging.WARNING):
        found = find_images(str(tmp_path), suffix)
    assert found == dict(zip('abcd', names))
    said = [f'left out are {left_out}; set' in r.getMessage()
            for r in caplog.records]  # yapf: disable
    assert said == [True] * bool(left_out)


def test_pseudo_labels_without_a_manifest(make, root):
    os.remove(root / 'pseudo/manifest.json')
    with pytest.warns(UserWarning, match='manifest.json not found'):
        make()


def test_at_most_ten_are_shown(make, root):
    for i in range(5):
        write_mask(root, [77], i)
    (root / 'images/eye_4.png').write_bytes(b'no image')
    folders = dict.fromkeys(('lesion', 'vessel', 'odoc'), 'ann')
    with pytest.raises(DataError, match='^13 problem.* first 10:') as error:
        check_pixels([make(ann_dirs=folders, pseudo_dirs={})])
    assert len(error.value.problems) == 10


@pytest.mark.parametrize('changes, expected', [
    (dict(ann_dirs=dict(drusen='ann')), 'ann_dirs, drusen: unknown'),
    (dict(tasks=['drusen']), "Unknown task 'drusen'"),
    (dict(weights=dict(drusen=1)), "by task .*got {'drusen': 1}"),
    (dict(weights=dict(vessel=-1)), 'weights of at least 0'),
    (dict(pseudo_dirs=dict(lesion='pseudo')), 'both ground truth and pseudo'),
    (some('EX', 'MAC'), "'ddr', ann_dirs, lesion: Task 'lesion' has the cla"),
    (dict(ann_dirs=dict(lesion=dict(path='ann', clases=[]))), 'clases'),
    (dict(ann_dirs=dict(lesion=['ann'])), "'ddr', ann_dirs, lesion: .*list"),
    (some('EX', 'HE', binary=True), 'binary=True is for masks of a single'),
])  # yapf: disable
def test_wrong_arguments(make, changes, expected):
    with pytest.raises(ValueError, match=expected):
        make(**changes)


@pytest.mark.parametrize('name', ['images', 'ann/eye_1.png', 'pseudo'])
def test_links_out_of_the_data_root(make, root, monkeypatch, name):
    place, target = root / name, root.parent / 'elsewhere'
    shutil.move(place, target)
    place.symlink_to(target)
    assert f'{place}: a link leads out of {root}, to {target}' in problem_of(
        make)
    monkeypatch.setenv('MBOS_ALLOW_LINKS', str(root.parent))
    check_pixels([make()])
