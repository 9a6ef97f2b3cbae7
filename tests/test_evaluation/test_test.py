"""tools/test.py, end to end, on the checkpoints of the tiny runs."""
import json
import os

import numpy as np
import pytest
import torch
from mmseg.apis import single_gpu_test
from PIL import Image

from mbos.apis import (Environment, build_test_set, load_config,
                       load_segmentor, predict_dataset)
from mbos.datasets.loader import build_test_loader
from mbos.io.labels import read_labels, save_labels
from tests.tiny_runs import config_of, member, write_config, write_data

CPU = Environment(torch.device('cpu'))
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
    loader = build_test_loader(dataset, cfg, CPU)
    again = dataset.evaluate(single_gpu_test(model, loader, pre_eval=True))
    assert again == pytest.approx(written['figures'], nan_ok=True)


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
    (['--source', 'c1'], ['eye_0.png', 'eye_1.png', 'overlays']),
    (['--source', 'vessel', '--datasets', 'all'], ['c0', 'c1']),
])
def test_label_maps_and_overlays(runs, tool, tmp_path, options, expected):
    """Of all tasks, or of one, of photographs without ground truth, too."""
    config = config_of(runs.data, ('vessel', 'lesion'))
    config['data']['test']['ann_dirs'] = dict(vessel='nowhere')
    config = write_config(tmp_path / 'no_truth.py', config)
    config = runs.config1 if 'c1' in options else config
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
