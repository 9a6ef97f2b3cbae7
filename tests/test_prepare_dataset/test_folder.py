"""One's own collection: patterns, classes, values, splits, and what is wrong.
"""
import numpy as np
import pytest
import raw_trees
from PIL import Image
from raw_trees import CUP, DISC, LESIONS, read, rectangle, save, save_grey

from mbos.io import RefusedError
from prepare_dataset.check import check
from prepare_dataset.folder import main, prepare
from prepare_dataset.record import read_geometry

VESSELS = rectangle(40, 46, 80, 50)
STEMS = [f'p{patient}{side}' for patient in (1, 2, 3) for side in 'LR']


@pytest.fixture
def eyes(tmp_path):
    """Three patients, left and right eye, masks of vessels and others."""
    base = tmp_path / 'clinic'
    for stem in STEMS:
        photograph = raw_trees.photograph()
        save(base / f'images/{stem}.jpg',
             photograph if stem[-1] == 'L' else photograph[:, ::-1])
        save_grey(base / f'manual1/{stem}.png', VESSELS)
        save_grey(base / f'disc/{stem}.png', DISC)
        save_grey(base / f'cup/{stem}.png', CUP)
        save(base / f'refuge/{stem}.bmp', raw_trees.REFUGE_VALUES)
        save(base / f'soft/{stem}.png',
             np.where(VESSELS, 200, 60).astype(np.uint8))
        labels = Image.fromarray(raw_trees.lesion_labels())
        # as VOC's: two classes of one brightness
        labels.putpalette(
            [0, 0, 0, 128, 0, 0, 0, 128, 0, 0, 0, 128, 9, 9, 128])
        save(base / f'seg/{stem}.png', labels)
        save_grey(base / f'mask/{stem}_mask.gif', rectangle(30, 20, 90, 80))
    return base


def run(eyes, *masks, **options):
    out = eyes.parent / 'out'
    summary = prepare(eyes / 'images', out, masks, workers=1, **options)
    assert summary.ok, summary.errors
    assert problems(eyes) == []
    return summary


def problems(eyes):
    return [p for r in check(eyes.parent / 'out') for p in r.problems]


def label(summary, folder, stem='p1L'):
    """A prepared label map in the place it has in the photograph."""
    geometry = read_geometry(summary.folder)[stem]
    return geometry.restore(read(summary.folder / folder / f'{stem}.png'))


ODOC = raw_trees.ODOC_LABELS
SPOT = "dict(path='{0}', classes=['{1}'])"


@pytest.mark.parametrize('masks, options, folder, expected, shown', [
    (['vessel=manual1/{stem}.png'], {}, 'vessel', VESSELS, ''),
    (['vessel=../manual1/{stem}.*'], {}, 'vessel', VESSELS, ''),
    (['vessel=manual1'], {}, 'vessel', VESSELS, ''),
    (['vessel=man*/{stem}.PNG'], {}, 'vessel', VESSELS, ''),
    (['vessel=manual1/p{eye}.png'], dict(fields='p(?P<eye>.*)'), 'vessel',
     VESSELS, ''),
    (['vessel=soft'], dict(values=['vessel=128-255']), 'vessel', VESSELS, ''),
    (['odoc=refuge'], dict(values=['odoc=disc:128,cup:0,background:255']),
     'odoc', ODOC, ''),
    (['odoc.disc=disc', 'odoc.cup=cup'], {}, 'odoc', ODOC,
     "ann_dirs=dict(odoc='odoc'),"),
    # some classes only keep their label values
    (['odoc.disc=manual1'], {}, 'odoc', VESSELS,
     f"odoc={SPOT.format('odoc', 'disc')}"),
    (['odoc.cup=manual1'], {}, 'odoc', VESSELS * 2,
     f"odoc={SPOT.format('odoc', 'cup')}"),
    (['lesion=seg'], {}, 'lesion', raw_trees.lesion_labels(), ''),
    (['fovea=manual1'], {}, 'fovea', VESSELS,
     "dict(name='fovea', classes=('fovea',))"),
    (['fluid.irf=manual1'], dict(classes=['fluid=srf,irf'],
                                 nested=['fluid']), 'fluid', VESSELS * 2,
     "classes=('srf', 'irf'), nested=True)"),
    (['vessel=manual1'], dict(fov='mask/{stem}_mask.gif'), 'fov',
     rectangle(30, 20, 90, 80), ''),
    (['vessel=manual1', 'vessel-2nd=disc'], {}, 'vessel-2nd', DISC,
     "ann_dirs=dict(vessel='vessel'),"),
])  # yapf: disable
def test_ways_to_name_masks_classes_and_values(eyes, masks, options, folder,
                                               expected, shown):
    summary = run(eyes, *masks, **options)
    assert summary.folder == eyes.parent / 'out/clinic'
    np.testing.assert_array_equal(label(summary, folder), expected)
    assert shown in str(summary) and 'outside' not in str(summary)


def test_masks_in_the_folder_of_the_photographs(eyes):
    for stem in STEMS:
        save_grey(eyes / f'images/{stem}_1stHO.png', VESSELS)
    summary = run(eyes, 'vessel={stem}_1stHO.png')
    np.testing.assert_array_equal(label(summary, 'vessel'), VESSELS)
    assert len(list((summary.folder / 'images').iterdir())) == 6


def test_masks_of_each_class(eyes):
    """Masks may be missing: such photographs are left out, or show nothing."""
    for name in LESIONS:
        for side in 'LR':
            save_grey(eyes / f'{name}/p1{side}.tif', LESIONS[name])
    keys = [f'lesion.{name}={name}/{{stem}}.tif' for name in LESIONS]
    summary = run(eyes, *keys, skip_unlabelled=True, name='some')
    np.testing.assert_array_equal(
        label(summary, 'lesion'), raw_trees.lesion_labels())
    assert '4 photographs without a mask are left out' in str(summary)
    summary = run(
        eyes, 'lesion.MA=MA', 'lesion.HE=manual1', optional=['lesion.MA'])
    assert set(np.unique(label(summary, 'lesion', 'p2L'))) == {0, 2}
    found = label(summary, 'lesion')
    np.testing.assert_array_equal(found == 4, LESIONS['MA'])
    assert "lesion=dict(path='lesion', classes=['HE', 'MA'])" in str(summary)


def test_photographs_without_labels(eyes, capsys):
    images, out = str(eyes / 'images'), str(eyes.parent / 'out')
    assert main([images, out, '--name', 'pool', '--workers', '1']) == 0
    shown = capsys.readouterr().out
    assert "img_dir='images'" in shown and 'ann_dirs' not in shown
    assert len(list((eyes.parent / 'out/pool/fov').iterdir())) == 6


def test_photographs_of_one_name_in_two_folders(eyes):
    for visit in ('a', 'b'):
        save(eyes / f'images/{visit}/eye.png', raw_trees.photograph())
        save_grey(eyes / f'manual1/{visit}/eye.png', VESSELS)
    summary = run(eyes, 'vessel=manual1/{dir}/{stem}.png', only='*.png')
    assert {p.stem for p in (summary.folder / 'images').iterdir()
            } == {'a_eye', 'b_eye'}  # yapf: disable


def splits_of(summary):
    return {
        path.parent.name: sorted(p.stem for p in path.iterdir())
        for path in summary.folder.glob('*/images')
    }


def test_patients_stay_on_one_side_of_a_share(eyes):
    given = dict(splits=['val=0.3', 'test=0.3'], group=r'p(\d)', workers=1)
    found, again = (
        splits_of(prepare(eyes / 'images', eyes.parent / out, **given))
        for out in 'ab')
    assert found == again
    assert sorted(map(len, found.values())) == [2, 2, 2]
    for stems in found.values():
        assert {stem[-1] for stem in stems} == set('LR')


def test_splits_by_list_and_by_pattern(eyes):
    path = eyes / 'val.txt'
    path.write_text('# held out\np1L\np1R.jpg\n')
    given = dict(out=eyes.parent / 'out', workers=1)
    found = splits_of(
        prepare(eyes / 'images', splits=[f'val={path}', 'test=p3*'], **given))
    assert found == dict(
        train=['p2L', 'p2R'], val=['p1L', 'p1R'], test=['p3L', 'p3R'])
    path.write_text('p9L\n')
    with pytest.raises(RefusedError, match="val.txt: p9L is neither"):
        prepare(eyes / 'images', splits=[f'val={path}'], **given)


@pytest.mark.parametrize('options, text', [
    (dict(masks=['vessel=manual/{stem}.png']),
     "vessel='manual/{stem}.png' fits no file of any photograph"),
    (dict(masks=['vessel=manual1/p*.png']), 'put {stem} into it'),
    (dict(masks=['vessel=manual1/{stm}.png']), 'unknown field {stm}'),
    (dict(masks=['manual1']), "expected TASK=... or TASK.CLASS=..."),
    (dict(masks=['vessel=manual1', 'vessel=manual1']), 'each name once'),
    (dict(masks=['odoc.disk=manual1']), 'the classes of odoc are disc, cup'),
    (dict(masks=['odoc=manual1', 'odoc.disc=manual1']),
     'one mask of all classes and masks of single classes'),
    (dict(masks=['vessel=manual1'], values=['vessle=255']), 'names vessle'),
    (dict(masks=['odoc=manual1'], values=['odoc=disk:128'
                                          ]), 'cannot be understood'),
    (dict(masks=['vessel=manual1'], optional=['lesion']), 'names lesion'),
    (dict(classes=['fovea=fovea']), '--masks gives nothing'),
    (dict(masks=['a=manual1'], classes=['a=b,b']), '--classes: Task'),
    (dict(fields='(?P<n>'), 'not a regular expression'),
    (dict(fields=r'(?P<n>x\d)'), 'does not fit --fields'),
    (dict(group=r'x\d'), 'does not fit --group'),
    (dict(only='*.tif'), "fits '*.tif'"),
    (dict(splits=['val']), 'expected NAME=SHARE'),
    (dict(splits=['val=-0.1']), 'larger than 0'),
    (dict(splits=['val=0.7', 'test=0.7']), 'together at most 1'),
    (dict(splits=['val=1']), 'No photograph is left for the split train'),
    (dict(splits=['val=x*']), 'nor a pattern that fits one'),
    (dict(splits=['val=p1*', 'test=*R']), 'p1R.jpg: is in the splits val'),
    (dict(splits=['val=*R'], group=r'p(\d)'),
     'Patient 1 (--group) is on both sides of a split: p1L.jpg in train, '
     'p1R.jpg in val'),
    (dict(name='RETA'), 'choose another name'),
])
def test_what_is_wrong_is_said_in_a_sentence(eyes, options, text):
    with pytest.raises(RefusedError) as error:
        prepare(eyes / 'images', eyes.parent / 'out', workers=1, **options)
    assert text in str(error.value) and len(str(error.value).split('\n')) == 1
    assert not (eyes.parent / 'out').exists()


def other_values(path):
    values = np.zeros(raw_trees.SIZE[::-1], np.uint8)
    values[50, 50:53] = 7, 9, 255
    save(path, values)


@pytest.mark.parametrize('change, masks, text', [
    (lambda path: save_grey(path.with_suffix('.tif'), VESSELS), 'vessel',
     'fits 2 files'),
    (lambda path: path.unlink(), 'vessel', 'p1L.jpg: has no mask'),
    (other_values, 'vessel', 'expected 0 and one other value'),
    (other_values, 'odoc', 'found 7, 9'),
    (lambda path: save_grey(path, np.zeros(
        (9, 9), bool)), 'vessel', 'the mask is 9x9'),
    (lambda path: save_grey(path, 0 * VESSELS), 'vessel', 'is empty'),
])
def test_a_bad_mask_is_named_and_the_rest_is_prepared(eyes, change, masks,
                                                      text):
    if masks == 'odoc':
        for path in (eyes / 'manual1').iterdir():
            save(path, raw_trees.ODOC_LABELS)
    change(eyes / 'manual1/p1L.png')
    summary = prepare(
        eyes / 'images', eyes.parent / 'out', [f'{masks}=manual1'], workers=1)
    error, = summary.errors
    assert 'p1L' in error and text in error
    assert len(list((summary.folder / 'images').iterdir())) == 5
    # the check has the same idea of what is missing
    assert problems(eyes) == [error]


def test_two_preparations_of_one_name_are_not_mixed(eyes):
    out = eyes.parent / 'out'

    def again(*masks, split='val=p1*'):
        prepare(eyes / 'images', out, masks, splits=[split], workers=1)

    again('vessel=manual1')
    with pytest.raises(RefusedError, match='p2L was prepared in the split'):
        again('vessel=manual1', split='val=p2*')
    with pytest.raises(RefusedError, match='vessel was prepared with'):
        again('vessel=images/../manual1/{stem}.png')
    # another task may be added, and photographs may come
    save(eyes / 'images/p4L.jpg', raw_trees.photograph())
    save_grey(eyes / 'manual1/p4L.png', VESSELS)
    again('vessel=manual1', 'fovea=manual1')
    train, val, *_ = check(out)
    assert train.labels == dict(vessel=5, fovea=5, fov=5)
    assert val.labels == dict(vessel=2, fovea=2, fov=2)
    assert not train.problems + val.problems


def test_folders_that_others_made(eyes):
    save(eyes.parent / 'out/clinic/notes.png', VESSELS)
    with pytest.raises(RefusedError, match='choose another name'):
        run(eyes, 'vessel=manual1')
    (eyes.parent / 'out/clinic/prepared.json').write_text(
        '{"a": {"labels": {}, "splits": {"b": {"folder": "../..", '
        '"expected": 1}}}}')
    with pytest.raises(RefusedError, match='prepared.json: cannot be read'):
        check(eyes.parent / 'out')
