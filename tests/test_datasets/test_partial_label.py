import numpy as np
import pytest
from mmseg.apis import single_gpu_test
from mmseg.datasets import build_dataloader
from torch import nn

from mbos.datasets.scoring import EvaluationSets, mean_over_tasks
from mbos.io.labels import read_labels, save_labels
from tests.test_datasets.conftest import shape_of


def prediction(shape=(40, 56), value=1.0):
    channels = dict(vessel=1, lesion=4, odoc=2)
    return {task: np.full((count, *shape), value, np.float32)
            for task, count in channels.items()}  # yapf: disable


class Constant(nn.Module):
    """Says 1 everywhere, at the size of the prepared image."""

    def forward(self, img, img_metas, return_loss=False, rescale=True):
        metas = img_metas[0].data[0]
        assert metas[0]['dataset'] == 'ddr'
        return [prediction(meta['ori_shape'][:2]) for meta in metas]


def test_sample(make):
    dataset = make()
    assert len(dataset) == 5
    lesions = [f'lesion.{name}' for name in ('EX', 'HE', 'SE', 'MA')]
    assert dataset.CLASSES == ['vessel.vessel', *lesions, 'odoc.disc',
                               'odoc.cup']  # yapf: disable
    sample = dataset[2]
    labels = sample['labels'].data.numpy()
    truth = read_labels(dataset.truth['lesion'].file('eye_2'))
    assert labels.shape == (3, 44, 56)
    assert (labels[0] == truth % 2).all()
    assert (labels[1] == truth).all()
    assert (labels[2] == 255).all()
    # Normalize(to_rgb=True) puts red first
    assert (sample['img'].data[0].numpy() == 40.0 * truth).all()
    metas = sample['img_metas'].data
    assert metas['ori_filename'] == 'eye_2.png' and metas['dataset'] == 'ddr'
    assert metas['ori_shape'] == (44, 56, 3)
    # in the order of the tasks, which a config cannot change
    found = [(t, p['kind'], p['weight']) for t, p in metas['planes'].items()]
    assert found == [('vessel', 'pseudo', 2.0), ('lesion', 'truth', 1.0),
                     ('odoc', 'absent', 1.0)]


def test_single_gpu_test_and_evaluate(make_test_set, caplog):
    dataset = make_test_set()
    loader = build_dataloader(
        dataset, 1, 0, dist=False, shuffle=False, persistent_workers=False)
    results = single_gpu_test(Constant(), loader, pre_eval=True)
    assert [list(r) for r in results] == [['lesion']] * 5
    values = dataset.evaluate(results, logger='mbos_test')
    # predicting a class everywhere has its share of pixels as IoU
    truth = [dataset.get_gt_plane(i, 'lesion').ravel() for i in range(5)]
    share = (np.concatenate(truth) == 1).mean()
    assert values['lesion.IoU.EX'] == pytest.approx(share)
    assert 'ddr, lesion, 5 images' in caplog.text
    assert f'{share:.4f}' in caplog.text
    report = dataset.compute(results)['lesion']
    assert report['per_image'][1]['name'] == 'eye_1'
    # one image or several
    np.testing.assert_equal(dataset.pre_eval(prediction(), 0), results[:1])


@pytest.mark.parametrize('lesion, expected', [
    (np.zeros((4, 8, 8)), r'eye_0.png, task .*\(40, 56\).*\(4, 8, 8\)'),
    (None, r"task 'lesion'.*\(of vessel, odoc\)"),
])
def test_wrong_predictions(make_test_set, lesion, expected):
    pred = prediction() | dict(lesion=lesion)
    if lesion is None:
        del pred['lesion']
    with pytest.raises(ValueError, match=expected):
        make_test_set().pre_eval(pred, 0)


@pytest.fixture
def score(make_test_set, root):
    """Function that scores a prediction of the first image alone."""

    def run(pred, labels=None, **changes):
        if labels is not None:
            save_labels(root / 'ann/eye_0.png', labels)
        (root / 'split.txt').write_text('eye_0')
        dataset = make_test_set(split='split.txt', **changes)
        return dataset.evaluate(dataset.pre_eval(pred, 0))

    return run


@pytest.mark.parametrize('ignore_index, iou', [(255, 0.25 / 0.75),
                                               (None, 0.25)])
def test_published_scoring_of_ignored_pixels(score, ignore_index, iou):
    """Published: 255 is background of the lesions, so it counts as wrong."""
    labels = np.zeros((40, 56), np.uint8)
    labels[:10], labels[10:20] = 1, 255
    values = score(prediction(), labels, ignore_index=ignore_index)
    assert values['lesion.IoU.EX'] == pytest.approx(iou)


def test_field_of_view_reaches_the_metrics(score, root):
    fov = np.zeros((40, 56), np.uint8)
    fov[:10] = 255
    save_labels(root / 'fov/eye_0.png', fov)
    values = score(prediction(), fov_dir='fov')
    truth = read_labels(str(root / 'ann/eye_0.png')) == 1
    assert values['lesion.IoU@0.5-fov.EX'] == pytest.approx(truth[:10].mean())


@pytest.mark.parametrize('entry, values, expected', [
    (dict(classes=['HE', 'MA']), [0, 2, 4, 255], [0, 2, 4, 255]),
    (dict(classes=['SE']), [0, 1, 255], [0, 3, 255]),
    (dict(classes=['SE']), [0, 3, 255], [0, 3, 255]),
    (dict(classes=['SE'], binary=True), [0, 1, 255], [0, 3, 3]),
])
def test_planes_of_some_classes(make, root, entry, values, expected):
    """Samples and ground truth have the label values of the task."""
    masks = np.resize(np.array(values, np.uint8), (40, 56))
    save_labels(root / 'ann/eye_0.png', masks)
    ann_dirs = dict(lesion=dict(path='ann', **entry))
    dataset = make(ann_dirs=ann_dirs)
    truth = np.resize(np.array(expected, np.uint8), (40, 56))
    assert (dataset.get_gt_plane(0, 'lesion') == truth).all()
    sample = dataset[0]
    assert (sample['labels'].data[1].numpy() == truth).all()
    assert sample['img_metas'].data['planes']['lesion'] == dict(
        kind='truth', weight=1.0, classes=tuple(entry['classes']))


def test_only_labelled_classes_are_scored(score):
    """Haemorrhages and soft exudates; the others have no say."""
    labels = np.zeros((40, 56), np.uint8)
    labels[:10], labels[10:20], labels[20:25] = 2, 3, 255
    pred = prediction(value=0.0)
    pred['lesion'][0] = 1  # exudates everywhere: nobody knows
    pred['lesion'][1, :20] = 0.9
    pred['lesion'][2, 10:30] = 0.8
    entry = dict(lesion=dict(path='ann', classes=['SE', 'HE']))
    values = score(pred, labels, ann_dirs=entry)
    assert values['lesion.IoU.HE'] == pytest.approx(10 / 20)
    assert values['lesion.IoU.SE'] == pytest.approx(10 / 15)
    assert values['lesion.mDice'] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert not {k for k in values if k.endswith(('.EX', '.MA'))}


def test_evaluation_sets(make_test_set):
    members = [make_test_set(name=name) for name in ('ddr', 'idrid')]
    sets = EvaluationSets(members)
    preds = [prediction(shape_of(i % 5)) for i in range(10)]
    values = sets.evaluate(sets.pre_eval(preds, list(range(10))))
    # only Dice and IoU, and their mean over tasks for save_best
    own = [f'{m}.{c}' for m in ('Dice', 'IoU') for c in 'EX HE SE MA'.split()]
    names = [f'{s}.lesion.{n}' for s in ('ddr', 'idrid')
             for n in (*own, 'mDice', 'mIoU')]  # yapf: disable
    assert list(values)[0] == 'mDice'
    assert sorted(values) == sorted([*names, 'mDice', 'mIoU'])
    assert values['ddr.lesion.mDice'] == pytest.approx(values['mDice']) != 0
    with pytest.raises(ValueError, match='different names'):
        EvaluationSets(members[:1] * 2)


@pytest.mark.parametrize('ann_dirs, expected', [
    ({}, 'ddr: nothing to score of any task'),
    (dict(odoc='ann'), 'ddr: nothing to score of odoc'),
])
def test_nothing_to_score(make_test_set, root, caplog, ann_dirs, expected):
    for i in range(5):
        ignored = np.full(shape_of(i), 255, np.uint8)
        save_labels(root / f'ann/eye_{i}.png', ignored)
    sets = EvaluationSets([make_test_set(ann_dirs=ann_dirs)])
    preds = [prediction(shape_of(i)) for i in range(5)]
    values = sets.evaluate(sets.pre_eval(preds, list(range(5))), logger='t')
    assert np.isnan(values['mDice'])
    warning, = (r for r in caplog.records if r.levelname == 'WARNING')
    assert expected in warning.message


def test_mean_over_tasks_counts_each_task_once():
    nan = float('nan')
    vessel = {'vessel.Dice.vessel': 0.2, 'vessel.Dice.background': 1.0}
    lesion = {'lesion.Dice.EX': 1.0, 'lesion.Dice.HE': 0.8}
    undefined = {'lesion.Dice.SE': nan, 'lesion.Dice@0.5.HE': 0.1}
    sets = [
        vessel | {'vessel.mDice': 0.6}, {'vessel.Dice.vessel': 0.6},
        lesion | undefined, {'odoc.Dice.disc': nan}
    ]  # yapf: disable
    # vessels 0.4, lesions 0.9; no IoU at all
    means = mean_over_tasks(dict(zip('abcd', sets)))
    assert means == pytest.approx(dict(mDice=0.65, mIoU=nan), nan_ok=True)
