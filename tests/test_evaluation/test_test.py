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
from tests.tiny_runs import config_of, member, write_config, write_data

TWO = ('vessel', 'lesion')
CPU = Environment(torch.device('cpu'))


def figures(path):
    with open(path) as file:
        return json.load(file)


def test_evaluation_of_data_test(runs, tool, tmp_path, capfd):
    assert tool('test.py', runs.config2, runs.checkpoint2, '--eval',
                'mIoU') is None
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


def test_evaluation_of_named_sets(runs, tool, tmp_path):
    assert tool('test.py', runs.config1, runs.checkpoint1, '--eval', 'mIoU',
                '--datasets', 'all', '--work-dir', 'w') is None
    assert sorted(os.listdir(tmp_path / 'w')) == [
        'eval_c0.json', 'eval_c0_vessel.csv', 'eval_c1.json',
        'eval_c1_lesion.csv', 'report.html', 'report_files'
    ]
    assert 'lesion.mDice' in figures(tmp_path / 'w/eval_c1.json')['figures']
    assert tool('test.py', runs.config1, runs.checkpoint1, '--eval', 'mIoU',
                '--datasets', 'c1', '--work-dir', 'v') is None
    assert figures(tmp_path / 'v/eval_c1.json') == figures(tmp_path /
                                                           'w/eval_c1.json')


def test_optic_disc_masks(runs, tool, tmp_path):
    """--OD scores the disc alone, whatever data.test is."""
    tasks = ('vessel', 'odoc')
    write_data(tmp_path / 'data', tasks)
    for path in (tmp_path / 'data/c1_test/odoc').iterdir():
        plane = np.array(Image.open(path))
        Image.fromarray((plane > 0).astype(np.uint8)).save(path)
    cfg = config_of(tmp_path / 'data', tasks)
    cfg['test_sets']['idrid_od'] = dict(
        member(1, 'c1_test', cfg['data']['test']['pipeline']),
        ann_dirs=dict(
            odoc=dict(path='c1_test/odoc', classes=['disc'], binary=True)))
    config = write_config(tmp_path / 'od.py', cfg)
    assert tool('train.py', config, '--no-validate', '--cfg-options',
                'runner.max_iters=1') is None
    assert tool('test.py', config, 'work_dirs/od/latest.pth', '--OD') is None
    written = figures(tmp_path / 'work_dirs/od/eval_idrid_od.json')
    names = set(written['figures'])
    assert 'odoc.Dice.disc' in names
    assert not [n for n in names if 'cup' in n or 'vessel' in n]


def test_label_maps_and_overlays_of_all_tasks(runs, tool, tmp_path):
    assert tool('test.py', runs.config1, runs.checkpoint1, '--vis',
                '--output_dir', 'out') is None
    assert sorted(os.listdir(tmp_path /
                             'out')) == ['lesion', 'overlays', 'vessel']
    for folder, suffix in (('vessel', 'png'), ('lesion', 'png'), ('overlays',
                                                                  'jpg')):
        assert sorted(os.listdir(tmp_path / 'out' / folder)) == [
            f'eye_0.{suffix}', f'eye_1.{suffix}'
        ]
    plane = np.array(Image.open(tmp_path / 'out/lesion/eye_0.png'))
    assert plane.shape == (64, 64) and plane.max() <= 4


@pytest.mark.parametrize('source', ['lesion', 'ddr', 'DDR', 'c1'])
def test_source_names_a_task_or_a_dataset(runs, tool, tmp_path, source):
    assert tool('test.py', runs.config1, runs.checkpoint1, '--vis', '--source',
                source, '--output_dir', 'out') is None
    assert sorted(os.listdir(tmp_path /
                             'out')) == ['eye_0.png', 'eye_1.png', 'overlays']


def test_pictures_need_no_ground_truth(runs, tool, tmp_path):
    arguments = ('test.py', runs.config1, runs.checkpoint1, '--vis',
                 '--output_dir', 'out', '--options', 'data.test=c1')
    assert tool(*arguments) is None
    assert len(os.listdir(tmp_path / 'out/overlays')) == 3, 'those of c1'
    config = config_of(runs.data, TWO)
    config['data']['test']['ann_dirs'] = dict(vessel='nowhere')
    config = write_config(tmp_path / 'no_truth.py', config)
    assert tool('test.py', config, runs.checkpoint1, '--vis', '--output_dir',
                'again') is None
    assert len(os.listdir(tmp_path / 'again/overlays')) == 2


def test_sets_with_images_of_one_name_do_not_mix(runs, tool, tmp_path):
    assert tool('test.py', runs.config1, runs.checkpoint1, '--vis', '--source',
                'vessel', '--output_dir', 'out', '--datasets', 'all') is None
    assert sorted(os.listdir(tmp_path / 'out')) == ['c0', 'c1']
    assert len(os.listdir(tmp_path / 'out/c1')) == 3 + 1


@pytest.mark.parametrize('arguments, words', [
    ([], 'nothing to do'),
    (['--vis'], '--output_dir'),
    (['--eval', 'mIoU', '--source', 'vessel'], '--source is for --vis'),
    (['--eval', 'nonsense'], 'invalid choice'),
])
def test_wrong_usage(tool, capfd, arguments, words):
    assert tool('test.py', 'a.py', 'a.pth', *arguments) == 2
    assert words in capfd.readouterr().err
