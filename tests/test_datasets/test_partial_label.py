import os.path as osp

import numpy as np
import pytest
import torch
from mmseg.apis import single_gpu_test
from mmseg.datasets import build_dataloader, build_dataset
from PIL import Image
from torch import nn

from mbos.datasets.evaluation_sets import mean_over_tasks
from mbos.io.labels import as_binary, read_labels, save_labels


@pytest.fixture
def dataset(make, test_pipeline):
    return make(test_mode=True, pipeline=test_pipeline)


def share(dataset, task, value, images=range(5)):
    """Share of the pixels of a label: the IoU of predicting it everywhere."""
    truth = [dataset.get_gt_plane(i, task) for i in images]
    return sum((t == value).sum() for t in truth) / sum(t.size for t in truth)


def prediction(shape=(40, 56), value=1.0):
    return {
        task: np.full((channels, ) + shape, value, np.float32)
        for task, channels in (('vessel', 1), ('lesion', 4), ('odoc', 2))
    }


class Constant(nn.Module):
    """Says 1 everywhere, at the size of the prepared image."""

    def forward(self, img, img_metas, return_loss=False, rescale=True):
        metas = img_metas[0].data[0]
        assert metas[0]['dataset'] == 'ddr'
        return [prediction(meta['ori_shape'][:2]) for meta in metas]


def test_sample(make):
    dataset = make()
    assert len(dataset) == 5
    assert dataset.CLASSES == [
        'vessel.vessel', 'lesion.EX', 'lesion.HE', 'lesion.SE', 'lesion.MA',
        'odoc.disc', 'odoc.cup'
    ]
    assert len(dataset.PALETTE) == 7
    sample = dataset[2]
    labels = sample['labels'].data.numpy()
    truth = read_labels(osp.join(dataset.ann_dirs['lesion'], 'eye_2.png'))
    assert labels.shape == (3, 44, 56)
    assert (labels[0] == truth % 2).all()
    assert (labels[1] == truth).all()
    assert (labels[2] == 255).all()
    # Normalize(to_rgb=True) puts red first
    assert (sample['img'].data[0].numpy() == 40.0 * truth).all()
    metas = sample['img_metas'].data
    assert metas['ori_filename'] == 'eye_2.png' and metas['dataset'] == 'ddr'
    assert metas['ori_shape'] == (44, 56, 3)
    assert metas['planes'] == dict(
        vessel=dict(kind='pseudo', weight=2.0),
        lesion=dict(kind='truth', weight=1.0),
        odoc=dict(kind='absent', weight=1.0))
    assert list(metas['planes']) == ['vessel', 'lesion', 'odoc']


def test_load_refuses_a_mask_of_another_size(make, root):
    dataset = make()
    save_labels(str(root / 'ann/eye_1.png'), np.ones((8, 8), np.uint8))
    with pytest.raises(ValueError, match='eye_1.png: the mask has shape'):
        dataset[1]


def test_get_gt_plane(make):
    dataset = make()
    assert dataset.get_gt_plane(4, 'lesion').shape == (48, 56)
    assert list(dataset.get_gt_seg_map_by_idx(0)) == ['lesion']
    with pytest.raises(ValueError, match="no ground truth of task 'vessel'"):
        dataset.get_gt_plane(4, 'vessel')


def test_single_gpu_test_and_evaluate(dataset, caplog):
    loader = build_dataloader(
        dataset, 1, 0, dist=False, shuffle=False, persistent_workers=False)
    results = single_gpu_test(Constant(), loader, pre_eval=True)
    assert [list(r) for r in results] == [['lesion']] * 5
    values = dataset.evaluate(results, logger='mbos_test')
    assert values['lesion.IoU.EX'] == pytest.approx(
        share(dataset, 'lesion', 1))
    assert 'ddr, lesion, 5 images' in caplog.text
    assert f'{values["lesion.IoU.EX"]:.4f}' in caplog.text
    # the hook without pre_eval hands over the predictions themselves
    raw = single_gpu_test(Constant(), loader)
    np.testing.assert_equal(dataset.evaluate(raw), values)
    assert dataset.compute(raw)['lesion']['per_image'][1]['name'] == 'eye_1'


@pytest.fixture
def score(make, root, test_pipeline):
    """Function that scores a prediction of the first image alone."""

    def run(pred, labels=None, **changes):
        if labels is not None:
            save_labels(str(root / 'ann/eye_0.png'), labels)
        (root / 'split.txt').write_text('eye_0')
        dataset = make(
            test_mode=True,
            pipeline=test_pipeline,
            split=str(root / 'split.txt'),
            **changes)
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


def test_pre_eval_takes_one_image_or_several(dataset):
    one = dataset.pre_eval(prediction(), 0)
    several = dataset.pre_eval([prediction(), prediction((42, 56))], [0, 1])
    np.testing.assert_equal(one, several[:1])
    tensors = {k: torch.from_numpy(v) for k, v in prediction().items()}
    np.testing.assert_equal(dataset.pre_eval(tensors, 0), one)
    assert len(several) == 2


def test_field_of_view_reaches_the_metrics(score, root):
    fov = np.zeros((40, 56), np.uint8)
    fov[:10] = 255
    save_labels(str(root / 'fov/eye_0.png'), fov)
    values = score(prediction(), fov_dir='fov')
    truth = read_labels(str(root / 'ann/eye_0.png')) == 1
    assert values['lesion.IoU@0.5-fov.EX'] == pytest.approx(truth[:10].mean())
    assert values['lesion.IoU@0.5.EX'] == pytest.approx(truth.mean())


def test_binary_truth_scores_the_outer_class(make, root, test_pipeline):
    dataset = make(
        test_mode=True,
        pipeline=test_pipeline,
        ann_dirs=dict(odoc='pseudo'),
        pseudo_dirs={},
        weights={},
        binary_truth=['odoc'])
    sums = dataset.pre_eval(prediction(), 0)[0]['odoc']
    plane = read_labels(dataset.plane_path(0, 'odoc'))
    report = dataset.compute([dict(odoc=sums)], [0])['odoc']
    assert report['published']['IoU']['disc'] == pytest.approx(
        ((plane > 0) & (plane != 255)).mean())
    assert 'cup' not in report['published']['IoU']
    # masks of 0 and 255, as some tools write them
    for i in range(len(dataset)):
        path = dataset.plane_path(i, 'odoc')
        plane = read_labels(path)
        save_labels(path, np.where((plane > 0) & (plane != 255), 255, 0))
    dataset.check()
    np.testing.assert_equal(dataset.pre_eval(prediction(), 0)[0]['odoc'], sums)


@pytest.mark.parametrize('entry, values, expected', [
    (dict(classes=['HE', 'MA']), [0, 2, 4, 255], [0, 2, 4, 255]),
    (dict(classes=['SE']), [0, 1, 255], [0, 3, 255]),
    (dict(classes=['SE']), [0, 3, 255], [0, 3, 255]),
    (dict(classes=['SE'], binary=True), [0, 1, 255], [0, 3, 3]),
])
def test_planes_of_some_classes(make, root, entry, values, expected):
    """Samples and ground truth have the label values of the task."""
    masks = np.resize(np.array(values, np.uint8), (40, 56))
    save_labels(str(root / 'ann/eye_0.png'), masks)
    dataset = make(ann_dirs=dict(lesion=dict(path='ann', **entry)))
    truth = np.resize(np.array(expected, np.uint8), (40, 56))
    assert (dataset.get_gt_plane(0, 'lesion') == truth).all()
    sample = dataset[0]
    assert (sample['labels'].data[1].numpy() == truth).all()
    assert sample['img_metas'].data['planes']['lesion'] == dict(
        kind='truth', weight=1.0, classes=tuple(entry['classes']))
    crop = dict(type='LoadRandomCrop', img_scale=(56, 40), crop_size=(40, 56))
    dataset = make(
        ann_dirs=dict(lesion=dict(path='ann', **entry)),
        pipeline=[crop, *dataset.pipeline.transforms[2:]])
    assert (dataset[0]['labels'].data[1].numpy() == truth).all()


def test_only_labelled_classes_are_scored(score):
    """Haemorrhages and soft exudates; the others have no say."""
    labels = np.zeros((40, 56), np.uint8)
    labels[:10], labels[10:20], labels[20:25] = 2, 3, 255
    pred = prediction(value=0.0)
    pred['lesion'][0] = 1  # exudates everywhere: nobody knows
    pred['lesion'][1, :20] = 0.9
    pred['lesion'][2, 10:30] = 0.8
    some = dict(lesion=dict(path='ann', classes=['SE', 'HE']))
    values = score(pred, labels, ann_dirs=some)
    assert values['lesion.IoU.HE'] == pytest.approx(10 / 20)
    assert values['lesion.IoU.SE'] == pytest.approx(10 / 15)
    assert values['lesion.mDice'] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert not {k for k in values if k.endswith(('.EX', '.MA'))}


@pytest.mark.parametrize('value', [1, 2])
def test_a_cup_alone_is_scored_as_binary_truth_scores_a_disc(
        make, root, test_pipeline, value):
    """One class of nested ones, in masks of 1 or of its own value."""
    for i in range(5):
        path = root / f'pseudo/eye_{i}.png'
        save_labels(str(path), value * read_labels(str(path)))
    pred = prediction(value=0.0)
    pred['odoc'][:, :20] = 0.7
    given = dict(
        test_mode=True, pipeline=test_pipeline, pseudo_dirs={}, weights={})
    disc = make(ann_dirs=dict(odoc='pseudo'), binary_truth=['odoc'], **given)
    cup = make(
        ann_dirs=dict(odoc=dict(path='pseudo', classes=['cup'])), **given)
    ours = disc.pre_eval(pred, 0)[0]['odoc']
    np.testing.assert_equal(cup.pre_eval(pred, 0)[0]['odoc'], ours)
    report = cup.compute([cup.pre_eval(pred, 0)[0]], [0])['odoc']
    assert list(report['published']['Dice']) == ['background', 'cup', 'mean']


@pytest.mark.parametrize('values, ignore_index, expected', [
    ([0, 1, 2, 255], 255, [0, 1, 1, 255]),
    ([0, 1, 2, 255], None, [0, 1, 1, 1]),
    ([0, 255], 255, [0, 1]),
    ([0, 0], 255, [0, 0]),
])
def test_binary_masks(values, ignore_index, expected):
    labels = np.array([values], dtype=np.uint8)
    assert as_binary(labels, ignore_index).tolist() == [expected]


@pytest.mark.parametrize('change, expected', [
    (dict(lesion=np.full((4, 40, 56), np.nan)), 'eye_0.png, task .*NaN'),
    (dict(lesion=np.zeros((4, 8, 8))), r'mask has shape \(40, 56\), the'),
    (dict(lesion=np.zeros((3, 40, 56))), r'expected probabilities of shape'),
    (None, "no prediction of task 'lesion', the model gives vessel, odoc"),
])
def test_wrong_predictions(dataset, change, expected):
    pred = prediction() | (change or {})
    if change is None:
        del pred['lesion']
    with pytest.raises(ValueError, match=expected):
        dataset.pre_eval(pred, 0)
    with pytest.raises(ValueError, match='5 images, got results of 1'):
        dataset.evaluate([{}])
    with pytest.raises(ValueError, match="Unknown metric 'IoU'"):
        dataset.evaluate([{}] * 5, metric='IoU')
    with pytest.raises(ValueError, match='1 predictions for 2 images'):
        dataset.pre_eval([pred], [0, 1])


def test_evaluation_sets(root, test_pipeline):
    one = dict(
        type='PartialLabelDataset',
        tasks=['lesion'],
        data_root=str(root),
        img_dir='images',
        img_suffix='.png',
        ann_dirs=dict(lesion='ann'),
        pipeline=test_pipeline)
    sets = build_dataset(
        dict(
            type='EvaluationSets',
            datasets=[dict(one, name=name) for name in ('ddr', 'idrid')]),
        dict(test_mode=True))
    preds = [prediction((40 + 2 * (i % 5), 56)) for i in range(10)]
    values = sets.evaluate(sets.pre_eval(preds, list(range(10))))
    # only Dice and IoU, and their mean over tasks for save_best
    own = [f'{m}.{c}' for m in ('Dice', 'IoU') for c in 'EX HE SE MA'.split()]
    assert list(values)[0] == 'mDice'
    assert sorted(values) == sorted([
        f'{s}.lesion.{n}' for s in ('ddr', 'idrid')
        for n in (*own, 'mDice', 'mIoU')
    ] + ['mDice', 'mIoU'])
    assert values['ddr.lesion.mDice'] == pytest.approx(values['mDice'])
    assert values['mDice'] > 0
    with pytest.raises(ValueError, match='different names'):
        build_dataset(
            dict(type='EvaluationSets', datasets=[sets.datasets[0]] * 2))


def test_one_bit_masks_are_read_as_zero_and_one(tmp_path):
    path = str(tmp_path / 'a.png')
    Image.fromarray(np.eye(3) > 0).save(path)
    assert read_labels(path).tolist() == np.eye(3).tolist()


def test_mean_over_tasks_counts_each_task_once():
    nan = float('nan')
    values = {
        'a': {
            'vessel.Dice.vessel': 0.2,
            'vessel.Dice.background': 1.0,
            'vessel.mDice': 0.6
        },
        'b.2': {
            'vessel.Dice.vessel': 0.6
        },
        'c': {
            'lesion.Dice.EX': 1.0,
            'lesion.Dice.HE': 0.8,
            'lesion.Dice.SE': nan,
            'lesion.Dice@0.5.HE': 0.1
        },
        'd': {
            'odoc.Dice.disc': nan
        }
    }
    # vessels 0.4, lesions 0.9; no IoU at all
    undefined = pytest.approx(nan, nan_ok=True)
    assert mean_over_tasks(values) == dict(
        mDice=pytest.approx(0.65), mIoU=undefined)
    assert mean_over_tasks({}) == dict(mDice=undefined, mIoU=undefined)
