"""One's own collection: patterns, classes, values, splits, and what is wrong.
"""
import json

import numpy as np
import pytest
import raw_trees
from PIL import Image
from raw_trees import CUP, DISC, LESIONS, rectangle, save, save_grey

from prepare_dataset.check import check
from prepare_dataset.errors import PrepareError
from prepare_dataset.files import read_geometry
from prepare_dataset.folder import main, prepare

VESSELS = rectangle(40, 46, 80, 50)


@pytest.fixture
def eyes(tmp_path):
    """Three patients, left and right eye, a mask of each."""
    base = tmp_path / 'clinic'
    for patient in (1, 2, 3):
        for side, photograph in (('L', raw_trees.photograph()),
                                 ('R', raw_trees.photograph()[:, ::-1])):
            save(base / f'images/p{patient}{side}.jpg', photograph)
            save_grey(base / f'manual1/p{patient}{side}.png', VESSELS)
    return base


def run(eyes, *masks, **options):
    summary = prepare(
        eyes / 'images', eyes.parent / 'out', masks, workers=1, **options)
    assert summary.ok, summary.errors
    return summary


def read(path):
    with Image.open(path) as image:
        return np.array(image)


def label(summary, folder, stem='p1L'):
    """A prepared label map in the place it has in the photograph."""
    geometry = read_geometry(summary.folder / 'geometry.csv')[stem]
    return geometry.restore(read(summary.folder / folder / f'{stem}.png'))


@pytest.mark.parametrize('pattern', [
    'manual1/{stem}.png', '../manual1/{stem}.*', 'manual1', 'man*/{stem}.PNG',
    'manual1/{eye}?.png'
])
def test_ways_to_name_the_masks(eyes, pattern):
    if '{eye}' in pattern:
        for path in list((eyes / 'manual1').iterdir()):
            path.rename(path.with_name(f'{path.stem}x.png'))
    summary = run(eyes, f'vessel={pattern}', fields='(?P<eye>.*)')
    assert summary.folder == eyes.parent / 'out/clinic'
    np.testing.assert_array_equal(label(summary, 'vessel'), VESSELS)
    assert not [p for r in check(eyes.parent / 'out') for p in r.problems]


def test_photographs_and_masks_in_one_folder_beside_a_second_observer(eyes):
    for path in (eyes / 'manual1').iterdir():
        save_grey(eyes / f'images/{path.stem}_1stHO.png', VESSELS)
        save_grey(eyes / f'images/{path.stem}_2ndHO.png', DISC)
    summary = run(eyes, 'vessel={stem}_1stHO.png', 'vessel-2nd={stem}_2ndHO.*')
    np.testing.assert_array_equal(label(summary, 'vessel'), VESSELS)
    np.testing.assert_array_equal(label(summary, 'vessel-2nd'), DISC)
    assert len(list((summary.folder / 'images').iterdir())) == 6
    assert "ann_dirs=dict(vessel='vessel')," in str(summary)


def test_masks_of_each_class(eyes):
    for name in ('EX', 'HE', 'SE', 'MA'):
        for side in 'LR':
            save_grey(eyes / f'{name}/p1{side}.tif', LESIONS[name])
    keys = [f'lesion.{name}={name}/{{stem}}.tif' for name in LESIONS]
    summary = run(eyes, *keys, skip_unlabelled=True)
    np.testing.assert_array_equal(
        label(summary, 'lesion'), raw_trees.lesion_labels())
    assert "ann_dirs=dict(lesion='lesion')" in str(summary)
    assert '4 photographs without a mask are left out' in str(summary)


@pytest.mark.parametrize('name, value, classes', [
    ('disc', 1, "odoc=dict(path='odoc', classes=['disc'])"),
    ('cup', 2, "odoc=dict(path='odoc', classes=['cup'])"),
])
def test_some_classes_only_keep_their_label_values(eyes, name, value, classes):
    summary = run(eyes, f'odoc.{name}=manual1/{{stem}}.png')
    np.testing.assert_array_equal(label(summary, 'odoc'), VESSELS * value)
    assert f'ann_dirs=dict({classes})' in str(summary)


def test_lesions_that_are_missing_where_there_are_none(eyes):
    save_grey(eyes / 'MA/p2L.png', LESIONS['MA'])
    summary = run(
        eyes, 'lesion.MA=MA', 'lesion.HE=manual1', optional=['lesion.MA'])
    assert set(np.unique(label(summary, 'lesion'))) == {0, 2}
    found = label(summary, 'lesion', 'p2L')
    np.testing.assert_array_equal(found == 4, LESIONS['MA'])
    assert "lesion=dict(path='lesion', classes=['HE', 'MA'])" in str(summary)


def test_nested_masks_overlap_as_they_should(eyes):
    for number in (1, 2, 3):
        for side in 'LR':
            save_grey(eyes / f'disc/p{number}{side}.png', DISC)
            save_grey(eyes / f'cup/p{number}{side}.png', CUP)
    summary = run(eyes, 'odoc.disc=disc', 'odoc.cup=cup')
    np.testing.assert_array_equal(
        label(summary, 'odoc'), raw_trees.odoc_labels())
    assert 'outside' not in str(summary)


def test_values_of_one_mask(eyes):
    for path in (eyes / 'manual1').iterdir():
        save(eyes / f'seg/{path.stem}.bmp', raw_trees.refuge_values(DISC, CUP))
        soft = np.where(VESSELS, 200, 60).astype(np.uint8)
        save(eyes / f'soft/{path.stem}.png', soft)
    summary = run(
        eyes,
        'odoc=seg',
        'vessel=soft',
        values=['odoc=disc:128,cup:0,background:255', 'vessel=128-255'])
    np.testing.assert_array_equal(
        label(summary, 'odoc'), raw_trees.odoc_labels())
    np.testing.assert_array_equal(label(summary, 'vessel'), VESSELS)


def test_palette_masks_are_read_by_index(eyes):
    for path in (eyes / 'manual1').iterdir():
        labels = raw_trees.lesion_labels()
        image = Image.fromarray(labels)
        # as VOC's: two classes of one brightness
        image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 0, 0, 128, 9, 9, 128])
        save(eyes / f'seg/{path.stem}.png', image)
    summary = run(eyes, 'lesion=seg/{stem}.png')
    np.testing.assert_array_equal(
        label(summary, 'lesion'), raw_trees.lesion_labels())


def test_task_of_ones_own(eyes):
    summary = run(eyes, 'fovea=manual1')
    assert "dict(name='fovea', classes=('fovea',))" in str(summary)
    assert 'NOTE' not in str(summary)
    summary = run(eyes, 'vessels=manual1', name='misspelt')
    assert 'the built-in one is vessel' in str(summary)
    summary = run(
        eyes,
        'fluid.irf=manual1',
        classes=['fluid=srf,irf'],
        nested=['fluid'],
        name='oct')
    np.testing.assert_array_equal(label(summary, 'fluid'), VESSELS * 2)
    assert "classes=('srf', 'irf'), nested=True)" in str(summary)
    assert not [p for r in check(eyes.parent / 'out') for p in r.problems]


def test_photographs_without_labels(eyes, capsys):
    images, out = str(eyes / 'images'), str(eyes.parent / 'out')
    assert main([images, out, '--name', 'pool', '--workers', '1']) == 0
    shown = capsys.readouterr().out
    assert "img_dir='images'" in shown and 'ann_dirs' not in shown
    folder = eyes.parent / 'out/pool'
    assert len(list((folder / 'images').iterdir())) == 6
    assert len(list((folder / 'fov').iterdir())) == 6
    assert not [p for r in check(folder) for p in r.problems]


def test_photographs_of_one_name_in_two_folders(eyes):
    for visit in ('a', 'b'):
        save(eyes / f'images/{visit}/eye.png', raw_trees.photograph())
        save_grey(eyes / f'manual1/{visit}/eye.png', VESSELS)
    summary = run(eyes, 'vessel=manual1/{dir}/{stem}.png', only='*.png')
    assert sorted(p.stem for p in (summary.folder / 'images').iterdir()) == [
        'a_eye', 'b_eye'
    ]


def test_given_fields_of_view(eyes):
    for path in (eyes / 'manual1').iterdir():
        save_grey(eyes / f'mask/{path.stem}_mask.gif',
                  rectangle(30, 20, 90, 80))
    summary = run(eyes, 'vessel=manual1', fov='mask/{stem}_mask.gif')
    np.testing.assert_array_equal(
        label(summary, 'fov'), rectangle(30, 20, 90, 80))


def splits_of(summary):
    return {
        path.parent.name: sorted(p.stem for p in path.iterdir())
        for path in summary.folder.glob('*/images')
    }


def test_patients_stay_on_one_side_of_a_share(eyes):
    found = splits_of(
        run(eyes,
            'vessel=manual1',
            splits=['val=0.3', 'test=0.3'],
            group=r'p(\d)'))
    assert sorted(map(len, found.values())) == [2, 2, 2]
    for stems in found.values():
        assert {stem[-1] for stem in stems} == set('LR')
    again = run(
        eyes,
        'vessel=manual1',
        splits=['val=0.3', 'test=0.3'],
        group=r'p(\d)',
        name='again')
    assert splits_of(again) == found


def test_splits_by_list_and_by_pattern(eyes):
    path = eyes / 'val.txt'
    path.write_text('# held out\np1L\np1R.jpg\n')
    found = splits_of(
        run(eyes, 'vessel=manual1', splits=[f'val={path}', 'test=p3*']))
    assert found == dict(
        train=['p2L', 'p2R'], val=['p1L', 'p1R'], test=['p3L', 'p3R'])


def other_values(eyes):
    values = np.zeros(raw_trees.SIZE[::-1], np.uint8)
    values[50, 50:53] = 7, 9, 255
    save(eyes / 'manual1/p1L.png', values)


@pytest.mark.parametrize('options, text', [
    (dict(masks=['vessel=manual/{stem}.png']),
     "vessel='manual/{stem}.png' fits no file of any photograph"),
    (dict(masks=['vessel=manual1/p*.png']), 'put {stem} into it'),
    (dict(masks=['vessel=manual1/{stm}.png']), 'unknown field {stm}'),
    (dict(masks=['manual1']), "expected TASK=... or TASK.CLASS=..."),
    (dict(masks=['vessel=manual1', 'vessel=manual1']), 'names vessel twice'),
    (dict(masks=['odoc.disk=manual1']), 'did you mean disc?'),
    (dict(masks=['odoc=manual1', 'odoc.disc=manual1']),
     'one mask of all classes and masks of single classes'),
    (dict(masks=['vessel=manual1'], values=['vessle=255']), 'names vessle'),
    (dict(masks=['odoc=manual1'], values=['odoc=disk:128'
                                          ]), 'cannot be understood'),
    (dict(masks=['vessel=manual1'], optional=['lesion']), 'names lesion'),
    (dict(classes=['fovea=fovea']), '--masks gives nothing'),
    (dict(fields='(?P<n>'), 'not a regular expression'),
    (dict(fields=r'(?P<n>x\d)'), 'does not fit --fields'),
    (dict(group=r'x\d'), 'does not fit --group'),
    (dict(only='*.tif'), "fits '*.tif'"),
    (dict(splits=['val']), 'expected NAME=SHARE'),
    (dict(splits=['val=1.5']), 'larger than 0 and at most 1'),
    (dict(splits=['val=0.7', 'test=0.7']), 'more than 1 together'),
    (dict(splits=['val=1']), 'No photograph is left for the split train'),
    (dict(splits=['val=x*']), 'nor a pattern that fits one'),
    (dict(splits=['val=p1*', 'test=*R']), 'p1R.jpg: is in the splits val'),
    (dict(splits=['val=*R'], group=r'p(\d)'),
     'Patient 1 (--group) is on both sides of a split: p1L.jpg in train, '
     'p1R.jpg in val'),
    (dict(name='RETA'), 'choose another name'),
])
def test_what_is_wrong_is_said_in_a_sentence(eyes, options, text):
    with pytest.raises(PrepareError) as error:
        prepare(eyes / 'images', eyes.parent / 'out', workers=1, **options)
    assert text in str(error.value) and len(str(error.value).split('\n')) == 1
    assert not (eyes.parent / 'out').exists()


def test_list_with_an_unknown_photograph(eyes):
    path = eyes / 'val.txt'
    path.write_text('p9L\n')
    with pytest.raises(PrepareError, match="val.txt: there is no photograph"):
        run(eyes, 'vessel=manual1', splits=[f'val={path}'])


@pytest.mark.parametrize('change, masks, text', [
    (lambda eyes: save_grey(eyes / 'manual1/p1L.tif', VESSELS),
     'vessel=manual1', 'fits 2 files'),
    (lambda eyes: (eyes / 'manual1/p1L.png').unlink(), 'vessel=manual1',
     'p1L.jpg: has no mask'),
    (other_values, 'vessel=manual1', 'expected 0 and one other value'),
    (other_values, 'odoc=manual1', 'found 7, 9'),
    (lambda eyes: save_grey(eyes / 'manual1/p1L.png', np.zeros(
        (9, 9), bool)), 'vessel=manual1', 'the mask is 9x9'),
    (lambda eyes: save_grey(eyes / 'manual1/p1L.png', 0 * VESSELS),
     'vessel=manual1', 'is empty'),
])
def test_a_bad_mask_is_named_and_the_rest_is_prepared(eyes, change, masks,
                                                      text):
    if masks.startswith('odoc'):
        for path in (eyes / 'manual1').iterdir():
            save(path, raw_trees.odoc_labels())
    change(eyes)
    summary = prepare(eyes / 'images', eyes.parent / 'out', [masks], workers=1)
    error, = summary.errors
    assert 'p1L' in error and text in error
    assert len(list((summary.folder / 'images').iterdir())) == 5
    # the check has the same idea of what is missing
    found = [p for r in check(eyes.parent / 'out') for p in r.problems]
    assert found == [error]


def test_two_preparations_of_one_name_are_not_mixed(eyes):
    run(eyes, 'vessel=manual1', splits=['val=p1*'])
    with pytest.raises(PrepareError, match='p2L was prepared in the split'):
        run(eyes, 'vessel=manual1', splits=['val=p2*'])
    with pytest.raises(PrepareError, match='vessel was prepared with'):
        run(eyes, 'vessel=images/../manual1/{stem}.png', splits=['val=p1*'])
    # another task may be added, and photographs may come
    save(eyes / 'images/p4L.jpg', raw_trees.photograph())
    save_grey(eyes / 'manual1/p4L.png', VESSELS)
    run(eyes, 'vessel=manual1', 'fovea=manual1', splits=['val=p1*'])
    train, val, *_ = check(eyes.parent / 'out')
    assert train.labels == dict(vessel=5, fovea=5, fov=5)
    assert val.labels == dict(vessel=2, fovea=2, fov=2)
    assert not train.problems + val.problems


def test_folder_of_somebody_else_is_left_alone(eyes):
    save(eyes.parent / 'out/clinic/notes.png', VESSELS)
    with pytest.raises(PrepareError, match='not prepared by this command'):
        run(eyes, 'vessel=manual1')


def test_check_reads_a_damaged_record(eyes):
    summary = run(eyes, 'vessel=manual1')
    path = summary.folder / 'prepared.json'
    content = json.loads(path.read_text())
    content['clinic']['splits']['all']['folder'] = '../..'
    path.write_text(json.dumps(content))
    with pytest.raises(PrepareError, match='prepared.json: cannot be read'):
        check(eyes.parent / 'out')
