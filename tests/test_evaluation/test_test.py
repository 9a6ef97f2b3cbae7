"""Evaluation of test sets: files, processes, errors, thresholds, the tool."""
import csv
import json
import os
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from mmcv.parallel import collate
from PIL import Image
from sklearn.metrics import f1_score
from torch import nn

from mbos.apis import (Environment, EvaluationError, EvaluationPlan,
                       build_test_set, evaluate_test_sets, load_config,
                       load_segmentor, predict_dataset, thresholds_from_val)
from mbos.io.labels import read_labels, save_labels
from mbos.metrics.bootstrap import Bootstrap
from tests.processes import run_processes
from tests.tiny_runs import (TEST, config_of, member, write_collection,
                             write_config, write_data)

TASKS = ('vessel', 'lesion')
CPU = Environment(torch.device('cpu'))


class FromPixels(nn.Module):
    """Probabilities that follow the colours of the image, NaN in that of the
    stem ``broken``."""

    def __init__(self, broken=None):
        super().__init__()
        self.broken, self.seen = broken, []

    def forward(self, img, img_metas, return_loss=False, tasks=None):
        meta, = img_metas[0].data[0]
        stem = meta['ori_filename'].split('.')[0]
        self.seen.append((stem, *tasks))
        base = torch.sigmoid(img[0][0] * 2 - 1).numpy()
        if stem == self.broken:
            base = np.where(base > 0.6, np.nan, base)
        prob = dict(
            vessel=base[:1], lesion=np.concatenate([base, base[:1] / 2]))
        return [{task: prob[task].copy() for task in tasks}]


@pytest.fixture
def world(tmp_path):
    """A config with three test sets."""
    data = tmp_path / 'data'
    write_collection(data / 'both', TASKS, images=5, seed=0)
    write_collection(data / 'other', ['lesion'], images=2, seed=50)
    write_collection(data / 'val', TASKS, images=2, seed=70)
    cfg = config_of(data, TASKS)

    def of(name, *tasks):
        folders = {task: f'{name}/{task}' for task in tasks}
        return member(0, name, TEST, ann_dirs=folders)

    cfg['test_sets'] = dict(
        v=of('both', 'vessel'),
        le=of('both', 'lesion'),
        other=of('other', 'lesion'))
    cfg['data']['test'] = 'other'
    cfg['data']['val'] = [of('val', 'vessel', 'lesion')]
    checkpoint = tmp_path / 'weights.pth'
    checkpoint.write_bytes(b'weights')
    return types.SimpleNamespace(
        data=data,
        config=write_config(tmp_path / 'config.py', cfg),
        checkpoint=str(checkpoint),
        folder=tmp_path)


def evaluate(world, work, model=None, names=('v', 'le', 'other'), env=CPU,
             chosen=None):  # yapf: disable
    cfg = load_config(world.config)
    cfg.work_dir = str(world.folder / work)
    datasets = {name: build_test_set(cfg, name) for name in names}
    plan = EvaluationPlan(world.checkpoint, Bootstrap(20), chosen or {})
    return evaluate_test_sets(model or FromPixels(), datasets, cfg, env, plan)


def written(world, work):
    folder = world.folder / work
    return {path.name: path.read_text() for path in folder.glob('eval_*')}


def content(world, work, name):
    return json.loads(written(world, work)[f'eval_{name}.json'])


def test_sets_have_the_same_files_together_and_apart(world):
    model = FromPixels()
    files = evaluate(world, 'together', model)
    # of the last set nobody reads the vessels
    assert model.seen == [
        *((f'eye_{i}', 'vessel') for i in range(5)),
        *((f'eye_{i}', 'lesion') for i in [*range(5), 0, 1])
    ]
    assert set(map(os.path.basename, files)) == set(written(world, 'together'))
    for name in ('v', 'le', 'other'):
        evaluate(world, 'apart', names=[name])
    assert written(world, 'together') == written(world, 'apart')
    assert not (world.folder / 'together/.partial').exists()


def test_files_say_what_the_docs_say(world):
    evaluate(world, 'w')
    found = content(world, 'w', 'le')
    assert found['format'] == 2 and found['images'] == 5
    assert found['config'] == 'config.py'
    assert found['bootstrap'] == dict(resamples=20, level=0.95, seed=0)
    lesion = found['tasks']['lesion']
    dice = lesion['published']['Dice']['EX']
    assert dice['value'] == found['figures']['lesion.Dice.EX']
    assert dice['low'] <= dice['value'] <= dice['high']
    assert lesion['thresholds'] == {
        '0.5': dict.fromkeys('EX HE SE MA'.split(), 0.5)
    }
    assert len(lesion['curves']['EX']['recall']) > 5
    assert sum(lesion['calibration']['SE']['count']) == 5 * 64 * 64
    rows = {row['name']: row for row in lesion['per_image']}
    assert list(rows) == [f'eye_{i}' for i in range(5)]
    truth = read_labels(rows['eye_2']['mask'])
    counts = rows['eye_2']['counts']['0.5']['HE']
    assert counts['tp'] + counts['fn'] == (truth == 2).sum()
    assert sum(counts.values()) == truth.size
    with open(world.folder / 'w/eval_le_lesion.csv') as file:
        table = list(csv.DictReader(file))
    dice = [float(row['Dice']) for row in table]
    assert dice == sorted(dice) and len(dice) == 5
    for row in table:
        own = rows[row['image']]
        assert float(row['Dice']) == own['Dice']['mean']
        assert float(row['AP.SE']) == own['AP']['SE']
        assert int(row['fp.MA']) == own['counts']['0.5']['MA']['fp']
        assert row['file'] == own['image']


@pytest.mark.parametrize('count', [2, 3])
def test_several_processes_write_what_one_writes(world, count):
    """5 images over 2 and 3; 2 images over 3, of which one has none."""
    evaluate(world, 'one', names=['v', 'other'])

    def work(rank):
        torch.set_num_threads(1)
        env, model = Environment(CPU.device, rank, count), FromPixels()
        evaluate(world, 'several', model, ['v', 'other'], env)
        return len(model.seen)

    passes = run_processes(work, count, world.folder / 'data')
    assert sum(passes) == 5 + 2 and max(passes) - min(passes) <= 2
    assert written(world, 'several') == written(world, 'one')


def test_finished_images_survive_an_early_end(world):
    names = ['other', 'v']
    evaluate(world, 'smooth', names=names)
    with pytest.raises(EvaluationError, match='eye_3.jpg.*nan'):
        evaluate(world, 'w', FromPixels('eye_3'), names)
    assert sorted(written(
        world, 'w')) == ['eval_other.json', 'eval_other_lesion.csv']
    # the next run does the rest only, and ends as if nothing had happened
    model = FromPixels()
    evaluate(world, 'w', model, names=['v'])
    assert [stem for stem, _ in model.seen] == ['eye_3', 'eye_4']
    assert written(world, 'w') == written(world, 'smooth')
    assert not (world.folder / 'w/.partial').exists()


@pytest.mark.parametrize('what, passes', [('checkpoint', 5), ('mask', 4)])
def test_sums_of_something_else_are_not_used(world, what, passes):
    with pytest.raises(EvaluationError):
        evaluate(world, 'w', FromPixels('eye_2'), names=['v'])
    if what == 'checkpoint':
        Path(world.checkpoint).write_bytes(b'other')
    else:
        mask = world.data / 'both/vessel/eye_0.png'
        save_labels(str(mask), np.ones((64, 64), np.uint8))
    model = FromPixels()
    evaluate(world, 'w', model, names=['v'])
    assert len(model.seen) == passes
    evaluate(world, 'new', names=['v'])
    assert written(world, 'w') == written(world, 'new')


def test_an_error_in_one_process_ends_all_with_its_reason(world):
    """The first process does images 0, 2 and 4; the second stops at 1."""
    env = [Environment(torch.device('cpu'), rank, 2) for rank in (0, 1)]

    def work(rank):
        torch.set_num_threads(1)
        with pytest.raises(EvaluationError, match='eye_1.jpg'):
            evaluate(world, 'w', FromPixels('eye_1'), ['v', 'other'],
                     env[rank])

    run_processes(work, 2, world.folder / 'data')
    model = FromPixels()
    evaluate(world, 'w', model, names=['v'])
    assert [stem for stem, _ in model.seen] == ['eye_1', 'eye_3']


def test_a_set_without_truth(world):
    cfg = load_config(world.config)
    sets = dict(v=build_test_set(cfg, 'v', with_truth=False))
    with pytest.raises(ValueError, match="'v' has no ground truth"):
        evaluate_test_sets(FromPixels(), sets, cfg, CPU, EvaluationPlan(''))


# ---- thresholds of the validation sets


def test_thresholds_come_from_validation_and_are_used(world):
    cfg = load_config(world.config)
    cfg.work_dir = str(world.folder / 'w')
    datasets = dict(le=build_test_set(cfg, 'le'))
    chosen = thresholds_from_val(FromPixels(), datasets, cfg, CPU,
                                 world.checkpoint)
    assert not (world.folder / 'w/.partial').exists()
    assert sorted(chosen) == ['lesion', 'vessel']
    assert chosen['lesion']['sets'] == ['val']
    # by brute force over the two validation images
    cfg.test_sets['val'] = cfg.data.val.datasets[0]
    val, model = build_test_set(cfg, 'val'), FromPixels()
    batches = [collate([val[i]], samples_per_gpu=1) for i in range(2)]
    score = [model(**b, tasks=['lesion'])[0]['lesion'][0] for b in batches]
    truth = [val.get_gt_plane(i, 'lesion') == 1 for i in (0, 1)]

    def dice(threshold):
        return f1_score(np.ravel(truth), np.ravel(score) > threshold)

    best = max(dice(t) for t in np.unique(score)[::20])
    own = chosen['lesion']['thresholds']['EX']
    assert chosen['lesion']['Dice']['EX'] == pytest.approx(dice(own))
    assert dice(own) >= best

    evaluate(world, 'w', names=['le'], chosen=chosen)
    lesion = content(world, 'w', 'le')['tasks']['lesion']
    assert lesion['thresholds']['val'] == chosen['lesion']['thresholds']
    assert lesion['chosen_on'] == dict(
        sets=['val'], Dice=chosen['lesion']['Dice'])
    tp, fp, fn, _ = np.sum([
        list(row['counts']['val']['EX'].values())
        for row in lesion['per_image']
    ], 0)
    assert lesion['comparable']['Dice@val']['EX']['value'] == pytest.approx(
        2 * tp / (2 * tp + fp + fn))
    # published metrics are as without
    evaluate(world, 'plain', names=['le'])
    plain = content(world, 'plain', 'le')['tasks']['lesion']
    assert plain['published'] == lesion['published']
    header = written(world, 'w')['eval_le_lesion.csv'].splitlines()[0]
    assert 'Dice@val.EX' in header.split(',')


def test_sets_choose_thresholds_of_the_classes_that_they_label(world):
    """From masks of haemorrhages alone, only theirs; the same one."""
    cfg = load_config(world.config)
    cfg.work_dir = str(world.folder / 'w')
    whole = thresholds_from_val(FromPixels(), {}, cfg, CPU, world.checkpoint)
    for path in (world.data / 'val/lesion').glob('*.png'):
        save_labels(str(path), 2 * np.uint8(read_labels(str(path)) == 2))
    cfg.data.val.datasets[0].ann_dirs.lesion = dict(
        path='val/lesion', classes=['HE'])
    lesion = thresholds_from_val(FromPixels(), {}, cfg, CPU,
                                 world.checkpoint)['lesion']
    assert lesion['Dice']['HE'] == whole['lesion']['Dice']['HE'] > 0
    assert lesion['thresholds'] == dict(
        EX=0.5, HE=whole['lesion']['thresholds']['HE'], SE=0.5, MA=0.5)
    assert lesion['Dice']['EX'] is None


def test_thresholds_are_never_chosen_on_test_images(world):
    cfg = load_config(world.config)
    cfg.data.val.datasets = [cfg.test_sets.v]
    datasets = dict(le=build_test_set(cfg, 'le'))
    with pytest.raises(ValueError, match="'both' and the test set 'le' share"):
        thresholds_from_val(FromPixels(), datasets, cfg, CPU, world.checkpoint)


# ---- tools/test.py, on the checkpoints of the tiny runs

EVAL = ('--eval', 'mIoU')


def figures(path):
    return json.loads(path.read_text())


def test_evaluation_of_data_test(runs, tool, tmp_path, capfd):
    assert tool('test.py', runs.config2, runs.checkpoint2, *EVAL) is None
    written = figures(tmp_path / 'work_dirs/stage2/eval_c0_test.json')
    assert written['dataset'] == 'c0_test' and written['images'] == 2
    assert written['checkpoint'] == runs.checkpoint2
    assert 'c0_test, vessel, 2 images' in capfd.readouterr().out
    # an independent count
    cfg = load_config(runs.config2)
    model = load_segmentor(cfg.model, runs.checkpoint2, CPU)
    dataset = build_test_set(cfg)
    hits = total = 0
    for index, prob in predict_dataset(model, dataset, cfg, CPU):
        truth = dataset.get_gt_plane(index, 'vessel') == 1
        found = prob['vessel'][0] > 0.5
        hits += 2 * (truth & found).sum()
        total += truth.sum() + found.sum()
    assert written['figures']['vessel.Dice.vessel'] == pytest.approx(hits /
                                                                     total)


def test_optic_disc_masks(runs, tool, tmp_path):
    """--OD scores the disc alone, whatever data.test is."""
    tasks = ('vessel', 'odoc')
    write_data(tmp_path / 'data', tasks)
    for path in (tmp_path / 'data/c1_test/odoc').iterdir():
        save_labels(str(path), np.uint8(read_labels(str(path)) > 0))
    cfg = config_of(tmp_path / 'data', tasks)
    disc = dict(path='c1_test/odoc', classes=['disc'], binary=True)
    cfg['test_sets']['idrid_od'] = dict(
        member(1, 'c1_test', cfg['data']['test']['pipeline']),
        ann_dirs=dict(odoc=disc))
    config = write_config(tmp_path / 'od.py', cfg)
    assert tool('train.py', config, '--no-validate', '--cfg-options',
                'runner.max_iters=1') is None
    assert tool('test.py', config, 'work_dirs/od/latest.pth', '--OD') is None
    names = figures(tmp_path / 'work_dirs/od/eval_idrid_od.json')['figures']
    assert 'odoc.Dice.disc' in names
    assert not [n for n in names if 'cup' in n or 'vessel' in n]


def test_data_test_by_its_name(runs):
    """A set of test_sets that has the same name goes first."""
    cfg = load_config(runs.config1)
    cfg.data.test = dict(cfg.test_sets.c1, name='mine')
    cfg.test_sets = {}
    assert build_test_set(cfg, 'mine').name == 'mine'
    with pytest.raises(ValueError, match="no test set 'moon': it has mine"):
        build_test_set(cfg, 'moon')
    cfg.test_sets = dict(mine=dict(cfg.data.test, name='other'))
    assert build_test_set(cfg, 'mine').name == 'other'


@pytest.mark.parametrize('options, expected', [
    ([], ['lesion', 'overlays', 'vessel']),
    (['--source', 'DDR'], ['eye_0.png', 'eye_1.png', 'overlays']),
    (['--source', 'vessel', '--datasets', 'all'], ['c0', 'c1']),
])
def test_label_maps_and_overlays(runs, tool, tmp_path, options, expected):
    """Of all tasks, or of one, of photographs without ground truth, too."""
    config = config_of(runs.data, ('vessel', 'lesion'))
    config['data']['test']['ann_dirs'] = dict(vessel='nowhere')
    config = write_config(tmp_path / 'no_truth.py', config)
    assert tool('test.py', config, runs.checkpoint1, '--vis', '--output_dir',
                'out', *options) is None
    assert sorted(os.listdir(tmp_path / 'out')) == expected
    if not options:
        assert sorted(os.listdir(
            tmp_path / 'out/overlays')) == ['eye_0.jpg', 'eye_1.jpg']
        plane = np.array(Image.open(tmp_path / 'out/lesion/eye_0.png'))
        assert plane.shape == (64, 64) and plane.max() <= 4


@pytest.mark.parametrize('arguments, words', [
    ([], 'nothing to do'),
    (['--vis'], '--output_dir'),
    ([*EVAL, '--source', 'vessel'], '--source is for --vis'),
])
def test_wrong_usage(tool, capfd, arguments, words):
    assert tool('test.py', 'a.py', 'a.pth', *arguments) == 2
    assert words in capfd.readouterr().err
