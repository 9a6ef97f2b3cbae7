"""A run over two tasks, of which each dataset labels one class.

DDR's photographs have discs without cups, IDRiD's exudates and no other
lesion. Each learns from the other what it lacks: discs are scored on IDRiD,
exudates on DDR.
"""
import json

import numpy as np
import pytest
from mmcv import Config
from PIL import Image

from mbos.config import plain
from mbos.io.labels import read_labels, save_labels
from prepare_dataset import ddr, idrid, synthetic
from prepare_dataset.driver import run
from prepare_dataset.record import read_geometry
from tests.tiny_runs import ROOT, run_tool, write_config

FOLDERS = dict(ddr='DDR-FOVCrop-padding', idrid='IDRiD-FOVCrop-padding')
DISC, EXUDATES = ['disc'], ['EX']


def write_data(root):
    """Two collections; their training sets label one class each."""
    raw = synthetic.generate(
        root / 'raw', images=16, size=192, val_images=1, test_images=5)
    run(ddr.COLLECTION, raw['DDR'], root)
    run(idrid.COLLECTION, raw['IDRiD'], root)
    train = root / FOLDERS['ddr'] / 'train'
    for stem, rows in read_geometry(train).items():
        hidden = Image.open(raw['hidden'] / f'DDR/train/odoc/{stem}.png')
        plane = rows.apply(np.asarray(hidden), is_label=True)
        save_labels(str(train / f'disc/{stem}.png'), np.uint8(plane > 0))
    train = root / FOLDERS['idrid'] / 'train'
    for path in (train / 'ann').glob('*.png'):
        plane = np.uint8(read_labels(str(path)) == 1)
        save_labels(str(train / 'EX' / path.name), plane)


def member(name, split, pipeline, kind, task, path, classes):
    """Config of a dataset with a folder of labels."""
    folder = f'{FOLDERS[name]}/{split}'
    entry = dict(path=f'{folder}/{path}', classes=classes)
    return dict(
        type='PartialLabelDataset',
        name=name,
        img_dir=f'{folder}/images',
        pipeline=pipeline,
        **{kind: {
            task: entry
        }})


def write_stage(root, stage):
    """Write a stage's config; returns its path."""
    text = (ROOT / 'configs/_base_/datasets/small_pipelines.py').read_text()
    text = text.replace('224', '96').replace('256', '128')
    (root / 'pipelines.py').write_text(text)
    pipelines = Config.fromfile(str(root / 'pipelines.py'))
    weak, strong, test = (
        plain(pipelines[f'{name}_pipeline'])
        for name in ('train', 'strong', 'test'))
    for pipeline in (weak, strong):
        pipeline[0]['look_for'] = dict(odoc=0.5, lesion=0.5)
    truth, pseudo = 'ann_dirs', 'pseudo_dirs'
    train = [
        member('ddr', 'train', weak, truth, 'odoc', 'disc', DISC),
        member('idrid', 'train', weak, truth, 'lesion', 'EX', EXUDATES),
        member('ddr', 'train', strong, pseudo, 'lesion', 'lesion_pseudo',
               EXUDATES),
        member('idrid', 'train', strong, pseudo, 'odoc', 'odoc_pseudo', DISC)
    ]
    tests = dict(
        ddr=member('ddr', 'test', test, truth, 'lesion', 'ann', None),
        idrid=member('idrid', 'test', test, truth, 'odoc', 'OD', DISC))
    classifier = dict(type='Normal', std=0.1, override=dict(name='conv_seg'))
    head = dict(channels=16, init_cfg=classifier)
    decoder = dict(head, in_channels=[16, 32, 64, 128])
    names = ('models/small_cpu', 'schedules/small_cpu') if stage == 1 else (
        'models/small_cpu_xta_gan', 'schedules/small_cpu_gan')
    cfg = dict(
        _base_=[
            f'{ROOT}/configs/_base_/{name}.py'
            for name in (*names, 'default_runtime')
        ],
        data_root=str(root),
        model=dict(
            tasks=['lesion', 'odoc'],
            backbone=dict(
                embed_dims=16, depths=[1, 1, 1, 1], num_heads=[1, 2, 4, 4]),
            decode_head=dict(head=decoder),
            auxiliary_head=dict(head=dict(head, in_channels=64))),
        test_sets=tests,
        data=dict(
            samples_per_gpu=1,
            workers_per_gpu=0,
            train=dict(type='JointDataset', datasets=train[:2 * stage]),
            val=dict(type='EvaluationSets', datasets=list(tests.values())),
            test=tests['idrid']),
        optimizer=(dict(lr=3e-3) if stage == 1 else dict(
            generator=dict(lr=5e-4))),
        lr_config=dict(warmup_iters=20),
        runner=dict(max_iters=600 if stage == 1 else 40))
    return write_config(root / f'stage{stage}.py', cfg)


def check_scores(monkeypatch, config, checkpoint, folder):
    """Far above chance, an AP of 0.02 and an AUC of 0.5, where exudates and
    discs were not labelled."""
    assert not run_tool(monkeypatch, 'test.py', config, checkpoint, '--eval',
                        'mIoU', '--datasets', 'ddr', 'idrid', '--work-dir',
                        folder, '--bootstrap', '0', '--no-report')
    ddr, idrid = (
        json.loads((folder / f'eval_{name}.json').read_text())['figures']
        for name in ('ddr', 'idrid'))
    assert not any('cup' in key for key in idrid)
    print(config, ddr, idrid)
    assert idrid['odoc.AP.disc'] > 0.5
    assert idrid['odoc.AUC-pooled.disc'] > 0.9
    assert ddr['lesion.AP.EX'] > 0.06 and ddr['lesion.AUC-pooled.EX'] > 0.8


@pytest.mark.slow
def test_each_dataset_learns_what_it_lacks(tmp_path, monkeypatch):
    """python -m pytest -m slow -s tests/test_engine/test_some_classes.py"""
    write_data(tmp_path)
    monkeypatch.chdir(tmp_path)
    first, second = (write_stage(tmp_path, stage) for stage in (1, 2))
    assert not run_tool(monkeypatch, 'train.py', first, '--work-dir', 'one',
                        '--no-validate')
    check_scores(monkeypatch, first, 'one/latest.pth', tmp_path / 'one')
    # so short a run is not sure of anything yet
    assert not run_tool(monkeypatch, 'generate_pseudo_labels.py', second,
                        'one/latest.pth', '--threshold', '0.2')
    manifest = tmp_path / FOLDERS['idrid'] / 'train/odoc_pseudo/manifest.json'
    assert json.loads(manifest.read_text())['classes'] == DISC
    assert not run_tool(monkeypatch, 'train.py', second, '--work-dir', 'two',
                        '--load-from', 'one/latest.pth', '--no-validate')
    check_scores(monkeypatch, second, 'two/ckpt/latest.pth', tmp_path / 'two')
