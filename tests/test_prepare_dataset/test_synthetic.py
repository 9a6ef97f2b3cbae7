"""Synthetic collections: layouts, encodings, truth and determinism."""
import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from prepare_dataset.synthetic import COLLECTIONS, generate, main
from prepare_dataset.synthetic_drawing import Canvas, Frame
from prepare_dataset.synthetic_eye import draw_eye, label_planes
from prepare_dataset.synthetic_layouts import one_bit_tiff

SETTINGS = dict(images=3, val_images=1, test_images=2, size=128, seed=5)
LESIONS = ('EX', 'HE', 'SE', 'MA')


def digest(folder):
    return {
        str(path.relative_to(folder)):
        hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob('*')) if path.is_file()
    }


def names(folder, pattern='*'):
    return sorted(p.name for p in Path(folder).glob(pattern))


def read(path):
    return np.array(Image.open(path))


@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    out = tmp_path_factory.mktemp('synthetic')
    folders = generate(out, workers=2, **SETTINGS)
    assert set(folders) == {*COLLECTIONS, 'hidden'}
    return out


def hidden(out, collection, split, task):
    folder = out / 'hidden' / collection / split / task
    return {path.stem: read(path) for path in sorted(folder.glob('*.png'))}


def test_same_arguments_same_bytes_whatever_the_workers(drawn, tmp_path):
    generate(tmp_path, workers=1, **SETTINGS)
    assert digest(tmp_path) == digest(drawn)


def test_another_seed_draws_other_eyes(drawn, tmp_path):
    generate(tmp_path, **dict(SETTINGS, seed=6))
    one, other = digest(drawn), digest(tmp_path)
    photographs = [n for n in one if n.endswith('_training.tif')]
    assert photographs and all(one[n] != other[n] for n in photographs)


def test_more_images_leave_the_first_ones_unchanged(drawn, tmp_path):
    generate(tmp_path, **dict(SETTINGS, images=4))
    more = digest(tmp_path)
    assert 'raw/RETA/train/images/IDRiD_04.jpg' in more
    more['synthetic.json'] = digest(drawn)['synthetic.json']
    assert digest(drawn).items() <= more.items()


def test_skips_what_is_there_and_redraws_what_is_unfinished(tmp_path):
    settings = dict(images=1, val_images=1, test_images=1, size=96)
    generate(tmp_path, **settings)
    image = tmp_path / 'raw/DRIVE/test/images/01_test.tif'
    content = image.read_bytes()
    image.write_bytes(b'changed')
    generate(tmp_path, **settings)
    assert image.read_bytes() == b'changed'

    marker = tmp_path / 'synthetic.json'
    state = json.loads(marker.read_text())
    marker.write_text(json.dumps(dict(state, complete=False)))
    (tmp_path / 'raw/DRIVE/test/images/99_test.tif').write_bytes(b'')
    generate(tmp_path, **settings)
    assert image.read_bytes() == content
    assert names(image.parent) == ['01_test.tif']
    assert not list(tmp_path.rglob('*.part'))


def test_never_touches_collections_of_other_origin(tmp_path):
    real = tmp_path / 'raw' / 'DRIVE' / 'image.tif'
    real.parent.mkdir(parents=True)
    real.write_bytes(b'real')
    with pytest.raises(FileExistsError, match='DRIVE.*another folder'):
        generate(tmp_path, force=True, **SETTINGS)
    assert real.read_bytes() == b'real'


@pytest.mark.parametrize('wrong, message', [
    (dict(images=55), '55 train images .* 1 to 54'),
    (dict(test_images=0), '0 test images .* 1 to 20'),
    (dict(size=64), 'size is 64, expected at least 96'),
    (dict(workers=0), '0 workers'),
])
def test_arguments_out_of_range(tmp_path, wrong, message):
    with pytest.raises(ValueError, match=message):
        generate(tmp_path, **dict(SETTINGS, **wrong))
    assert not list(tmp_path.iterdir())


def test_command_line(tmp_path, capsys):
    main([
        str(tmp_path), '--images', '1', '--val-images', '1', '--test-images',
        '1', '--size', '96', '--seed', '3'
    ])
    assert f'DDR: {tmp_path / "raw" / "DDR"}' in capsys.readouterr().out
    state = json.loads((tmp_path / 'synthetic.json').read_text())
    assert state['seed'] == 3 and state['complete']
    assert names(tmp_path / 'raw/RETA/train/masks') == ['IDRiD_01_vessel.png']


def test_reta_layout_holds_vessels_only(drawn):
    root = drawn / 'raw' / 'RETA'
    assert names(root / 'train') == ['images', 'masks']
    assert names(root / 'train/images') == [
        'IDRiD_01.jpg', 'IDRiD_02.jpg', 'IDRiD_03.jpg'
    ]
    assert len(list(root.rglob('*.*'))) == 6
    for stem, truth in hidden(drawn, 'RETA', 'train', 'vessel').items():
        image = Image.open(root / 'train/images' / f'{stem}.jpg')
        mask = Image.open(root / 'train/masks' / f'{stem}_vessel.png')
        assert image.size == mask.size and image.width == image.height
        assert mask.mode == 'L'
        assert np.array_equal(np.array(mask), truth * 255)


def test_reta_eyes_are_those_of_idrid(drawn):
    folder = 'raw/IDRiD/A. Segmentation/1. Original Images/a. Training Set'
    wide = read(drawn / folder / 'IDRiD_02.jpg').astype(int)
    square = read(drawn / 'raw/RETA/train/images/IDRiD_02.jpg').astype(int)
    top = (len(square) - len(wide)) // 2
    left = (wide.shape[1] - square.shape[1]) // 2
    rows, columns = slice(top, top + len(wide)), slice(left,
                                                       left + len(square))
    # JPEG blocks differ, the scene does not.
    assert np.abs(wide[:, columns] - square[rows]).mean() < 5
    for task in ('vessel', 'lesion', 'odoc'):
        truth = hidden(drawn, 'IDRiD', 'train', task)['IDRiD_02']
        moved = hidden(drawn, 'RETA', 'train', task)['IDRiD_02']
        assert truth.any()
        assert np.array_equal(truth[:, columns], moved[rows])
        assert moved.sum() == truth.sum()


def test_ddr_layout_holds_four_lesions_only(drawn):
    root = drawn / 'raw/DDR/DDR-dataset/lesion_segmentation'
    splits = dict(
        train=('train', 'label', 3),
        val=('valid', 'segmentation label', 1),
        test=('test', 'label', 2))
    assert names(root) == ['test', 'train', 'valid']
    sizes = set()
    for split, (folder, label, count) in splits.items():
        assert names(root / folder) == sorted(['image', label])
        images = sorted((root / folder / 'image').glob('007-*-*00.jpg'))
        assert len(images) == count
        assert names(root / folder / label) == ['EX', 'HE', 'MA', 'SE']
        truth = hidden(drawn, 'DDR', split, 'lesion')
        for path in images:
            expected = np.zeros_like(truth[path.stem])
            for value, lesion in enumerate(LESIONS, 1):
                mask = Image.open(root / folder / label / lesion /
                                  f'{path.stem}.tif')
                assert mask.mode == 'L'
                assert mask.size == Image.open(path).size
                assert set(np.unique(mask)) <= {0, 255}
                expected[np.array(mask) > 0] = value
            assert np.array_equal(expected, truth[path.stem])
            sizes.add(expected.shape)
    assert len(sizes) >= 3


def test_refuge_layout_holds_disc_and_cup_only(drawn):
    root = drawn / 'raw' / 'REFUGE'
    masks = {
        'train/n0001':
        'Annotation-Training400/Disc_Cup_Masks/Non-Glaucoma/n0001.bmp',
        'train/n0002':
        'Annotation-Training400/Disc_Cup_Masks/Non-Glaucoma/n0002.bmp',
        'train/g0001':
        'Annotation-Training400/Disc_Cup_Masks/Glaucoma/g0001.bmp',
        'val/V0001': 'REFUGE-Validation400-GT/Disc_Cup_Masks/V0001.bmp',
        'test/T0001': 'REFUGE-Test-GT/Disc_Cup_Masks/N/T0001.bmp',
        'test/T0002': 'REFUGE-Test-GT/Disc_Cup_Masks/N/T0002.bmp',
    }
    images = [
        'REFUGE-Validation400/V0001.jpg', 'Test400/T0001.jpg',
        'Test400/T0002.jpg', 'Training400/Glaucoma/g0001.jpg',
        'Training400/Non-Glaucoma/n0001.jpg',
        'Training400/Non-Glaucoma/n0002.jpg'
    ]
    files = [p for p in root.rglob('*') if p.is_file()]
    assert sorted(str(p.relative_to(root))
                  for p in files) == sorted([*images, *masks.values()])
    for name, path in masks.items():
        split, stem = name.split('/')
        mask = Image.open(root / path)
        truth = hidden(drawn, 'REFUGE', split, 'odoc')[stem]
        assert mask.mode == 'L'
        values = np.array(mask)
        assert set(np.unique(values)) == {0, 128, 255}
        assert np.array_equal(values == 0, truth == 2)
        assert np.array_equal(values == 128, truth == 1)
        lesion = hidden(drawn, 'REFUGE', split, 'lesion')[stem]
        assert not lesion.any()


def test_drive_layout_holds_vessels_and_fields_of_view(drawn):
    root = drawn / 'raw' / 'DRIVE'
    test = hidden(drawn, 'DRIVE', 'test', 'vessel')
    assert list(test) == ['01_test', '02_test']
    assert names(root /
                 'test/mask') == ['01_test_mask.gif', '02_test_mask.gif']
    assert names(root /
                 'test/1st_manual') == ['01_manual1.gif', '02_manual1.gif']
    assert names(root / 'training', '*/*') == [
        '21_manual1.gif', '21_training.tif', '21_training_mask.gif'
    ]
    for stem, truth in test.items():
        image = Image.open(root / 'test/images' / f'{stem}.tif')
        vessel = Image.open(root / 'test/1st_manual' /
                            f'{stem[:2]}_manual1.gif')
        fov = Image.open(root / 'test/mask' / f'{stem}_mask.gif')
        assert (image.mode, vessel.mode, fov.mode) == ('RGB', 'L', 'L')
        assert np.array_equal(np.array(vessel), truth * 255)
        fov = np.array(fov)
        assert set(np.unique(fov)) == {0, 255}
        assert not truth[fov == 0].any()
        # What the preparation looks for: grey value above 20.
        grey = np.array(image.convert('L'))
        assert (grey[fov > 0] > 20).mean() > 0.99
        assert (grey[fov == 0] <= 20).mean() > 0.97


def test_idrid_layout_holds_lesions_and_disc_only(drawn):
    root = drawn / 'raw/IDRiD/A. Segmentation'
    groups = {
        'MA': '1. Microaneurysms',
        'HE': '2. Haemorrhages',
        'EX': '3. Hard Exudates',
        'SE': '4. Soft Exudates',
        'OD': '5. Optic Disc'
    }
    split = 'b. Testing Set'
    lesions = hidden(drawn, 'IDRiD', 'test', 'lesion')
    discs = hidden(drawn, 'IDRiD', 'test', 'odoc')
    assert list(lesions) == ['IDRiD_55', 'IDRiD_56']
    assert names(root / '1. Original Images' /
                 split) == ['IDRiD_55.jpg', 'IDRiD_56.jpg']
    for stem, truth in lesions.items():
        merged = np.zeros_like(truth)
        for value, name in enumerate([*LESIONS, 'OD'], 1):
            path = (
                root / '2. All Segmentation Groundtruths' / split /
                groups[name] / f'{stem}_{name}.tif')
            if name == 'OD':
                assert np.array_equal(read(path) > 0, discs[stem] > 0)
            elif path.exists():
                assert read(path).any()
                merged[read(path) > 0] = value
        assert np.array_equal(merged, truth)
    assert set(groups.values()) >= set(
        names(root / '2. All Segmentation Groundtruths' / 'a. Training Set'))


def test_one_bit_tiff_reads_like_the_originals(tmp_path):
    mask = np.zeros((5, 11), bool)
    mask[1:3, 2:10] = True
    path = tmp_path / 'IDRiD_01_MA.tif'
    path.write_bytes(one_bit_tiff(mask))
    image = Image.open(path)
    assert image.mode == 'P' and image.tag_v2[258] == (1, )
    assert np.array_equal(np.array(image), mask)
    assert image.getpalette()[:6] == [0, 0, 0, 255, 0, 0]
    grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert np.array_equal(grey, mask * np.uint8(76))


def test_hidden_truth_of_every_photograph_and_task(drawn):
    expected = dict(
        RETA=dict(train=3),
        DDR=dict(train=3, val=1, test=2),
        REFUGE=dict(train=3, val=1, test=2),
        DRIVE=dict(train=1, test=2),
        IDRiD=dict(train=3, test=2))
    for collection, splits in expected.items():
        assert names(drawn / 'hidden' / collection) == sorted(splits)
        for split, count in splits.items():
            for task, highest in dict(vessel=1, lesion=4, odoc=2).items():
                planes = hidden(drawn, collection, split, task)
                assert len(planes) == count
                for plane in planes.values():
                    assert plane.dtype == np.uint8
                    assert plane.max() <= highest


def test_shares_of_the_field_of_view_are_those_of_real_eyes():
    frame = Frame(220, 220, 109.5, 109.5, 105)
    shares = {}
    for seed in range(12):
        rng = np.random.default_rng(seed)
        eye = draw_eye(frame, rng, diseased=True, glaucoma=seed % 2 == 1)
        masks = eye.masks()
        fov = masks.pop('fov').sum()
        assert not any(m[np.hypot(*np.ogrid[-109.5:110,
                                            -109.5:110]) > 107].any()
                       for m in masks.values())
        assert (masks['disc'] | ~masks['cup']).all()
        ratio = np.ptp(np.nonzero(masks['cup'])[0]) / np.ptp(
            np.nonzero(masks['disc'])[0])
        assert 0.35 < ratio < 0.56 if seed % 2 == 0 else 0.54 < ratio < 0.77
        for name, mask in masks.items():
            shares.setdefault(name, []).append(mask.sum() / fov)
    assert all(0.10 < s < 0.22 for s in shares['vessel'])
    assert all(0.02 < s < 0.05 for s in shares['disc'])
    for name in LESIONS:
        # Most diseased eyes have each lesion, some do not.
        assert np.mean(np.array(shares[name]) > 0.0005) > 0.4
        assert 0.001 < np.mean(shares[name]) < 0.04


def test_healthy_eyes_have_no_lesions():
    frame = Frame(120, 120, 59.5, 59.5, 58)
    masks = draw_eye(frame, np.random.default_rng(0)).masks()
    assert not any(masks[name].any() for name in LESIONS)
    assert masks['disc'].any() and masks['cup'].any()


def test_labels_merge_later_lesions_over_earlier_ones():
    masks = {
        name: np.zeros((1, 4), bool)
        for name in (*LESIONS, 'vessel', 'disc', 'cup')
    }
    masks['EX'][0, :2] = True
    masks['MA'][0, 1:3] = True
    masks['disc'][0, 1:] = True
    masks['cup'][0, 2] = True
    planes = label_planes(masks)
    assert planes['lesion'].tolist() == [[1, 4, 4, 0]]
    assert planes['odoc'].tolist() == [[0, 1, 2, 1]]
    assert planes['vessel'].tolist() == [[0, 0, 0, 0]]


def test_canvas_covers_the_pixels_that_a_shape_covers():
    # The radius is 4 px, so the polygon spans pixels 2 to 7 in each
    # direction: its corners are the outer corners of those pixels.
    canvas = Canvas(Frame(10, 10, 4.5, 4.5, 4))
    canvas.polygon(np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * 0.74)
    coverage = canvas.coverage()
    assert np.array_equal(np.argwhere(coverage > 0.5).min(0), [2, 2])
    assert np.array_equal(np.argwhere(coverage > 0.5).max(0), [7, 7])
    assert (coverage[2:8, 2:8] == 1).all()
    assert coverage.sum() == pytest.approx(36, abs=1)
