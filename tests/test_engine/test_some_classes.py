"""A run over two tasks, of which each dataset labels one class.

DDR's photographs have discs without cups, IDRiD's exudates and no other
lesion. Each learns from the other what it lacks: discs are scored on IDRiD,
exudates on DDR.
"""
import json
from pathlib import Path

import numpy as np
import pytest
from mmcv import Config
from PIL import Image

from mbos.config import plain
from mbos.io.labels import read_labels, save_labels
from prepare_dataset import ddr, idrid, synthetic
from prepare_dataset.files import read_geometry
from tests.tiny_runs import ROOT, run_tool, write_config

DDR, IDRID = 'DDR-FOVCrop-padding', 'IDRiD-FOVCrop-padding'
SMALL = 'configs/_base_/datasets/small_pipelines.py'


def write_data(root: Path) -> None:
    """Two collections; their training sets label one class each."""
    raw = synthetic.generate(
        root / 'raw', images=16, size=192, val_images=1, test_images=5)
    ddr.prepare(raw['DDR'], root)
    idrid.prepare(raw['IDRiD'], root)
    geometry = read_geometry(root / DDR / 'train/geometry.csv')
    for stem, rows in geometry.items():
        hidden = raw['hidden'] / f'DDR/train/odoc/{stem}.png'
        plane = rows.apply(np.asarray(Image.open(hidden)), is_label=True)
        path = root / DDR / f'train/disc/{stem}.png'
        save_labels(str(path), np.uint8(plane > 0))
    for path in (root / IDRID / 'train/ann').glob('*.png'):
        plane = np.uint8(read_labels(str(path)) == 1)
        save_labels(str(root / IDRID / 'train/EX' / path.name), plane)


def member(name: str, split: str, pipeline: list, **labels) -> dict:
    """Config of a dataset; labels are a folder and its classes by task, by
    kind."""
    folder = f'{dict(ddr=DDR, idrid=IDRID)[name]}/{split}'
    return dict(
        type='PartialLabelDataset',
        name=name,
        img_dir=f'{folder}/images',
        pipeline=pipeline,
        **{
            kind: {
                task: dict(path=f'{folder}/{path}', classes=classes)
                for task, (path, classes) in by_task.items()
            }
            for kind, by_task in labels.items()
        })


def write_stage(root: Path, stage: int) -> str:
    """Write a stage's config; returns its path."""
    text = (ROOT / SMALL).read_text().replace('224', '96')
    (root / 'pipelines.py').write_text(text.replace('256', '128'))
    pipelines = Config.fromfile(str(root / 'pipelines.py'))
    weak, strong, test = (
        plain(pipelines[f'{name}_pipeline'])
        for name in ('train', 'strong', 'test'))
    for pipeline in (weak, strong):
        pipeline[0]['look_for'] = dict(odoc=0.5, lesion=0.5)
    disc, exudates = ['disc'], ['EX']
    train = [
        member('ddr', 'train', weak, ann_dirs=dict(odoc=('disc', disc))),
        member('idrid', 'train', weak, ann_dirs=dict(lesion=('EX', exudates)))
    ]
    if stage == 2:
        pseudo = (('ddr', dict(lesion=('lesion_pseudo', exudates))),
                  ('idrid', dict(odoc=('odoc_pseudo', disc))))
        train += [
            member(name, 'train', strong, pseudo_dirs=labels)
            for name, labels in pseudo
        ]
    tests = dict(
        ddr=member('ddr', 'test', test, ann_dirs=dict(lesion=('ann', None))),
        idrid=member('idrid', 'test', test, ann_dirs=dict(odoc=('OD', disc))))
    model, schedule = {
        1: ('small_cpu', 'small_cpu'),
        2: ('small_cpu_xta_gan', 'small_cpu_gan')
    }[stage]
    classifier = dict(type='Normal', std=0.1, override=dict(name='conv_seg'))
    decoder = dict(in_channels=[16, 32, 64, 128], channels=16)
    auxiliary = dict(in_channels=64, channels=16)
    cfg = dict(
        _base_=[
            f'{ROOT}/configs/_base_/models/{model}.py',
            f'{ROOT}/configs/_base_/schedules/{schedule}.py',
            f'{ROOT}/configs/_base_/default_runtime.py'
        ],
        data_root=str(root),
        model=dict(
            tasks=['lesion', 'odoc'],
            backbone=dict(
                embed_dims=16, depths=[1, 1, 1, 1], num_heads=[1, 2, 4, 4]),
            decode_head=dict(head=dict(decoder, init_cfg=classifier)),
            auxiliary_head=dict(head=dict(auxiliary, init_cfg=classifier))),
        test_sets=tests,
        data=dict(
            samples_per_gpu=1,
            workers_per_gpu=0,
            train=dict(type='JointDataset', datasets=train),
            val=dict(type='EvaluationSets', datasets=list(tests.values())),
            test=tests['idrid']),
        optimizer=(dict(lr=3e-3) if stage == 1 else dict(
            generator=dict(lr=5e-4))),
        lr_config=dict(warmup_iters=20),
        runner=dict(max_iters=600 if stage == 1 else 40))
    return write_config(root / f'stage{stage}.py', cfg)


def scores_of(monkeypatch, config, checkpoint, folder):
    """Ranking of exudates on DDR and of discs on IDRiD."""
    code = run_tool(monkeypatch, 'test.py', config, checkpoint, '--eval',
                    'mIoU', '--datasets', 'ddr', 'idrid', '--work-dir', folder,
                    '--bootstrap', '0', '--no-report')
    assert not code
    figures = {
        name: json.loads((folder / f'eval_{name}.json').read_text())['figures']
        for name in ('ddr', 'idrid')
    }
    assert not any('cup' in key for key in figures['idrid'])
    return {
        (metric, name): figures[collection][f'{task}.{metric}.{name}']
        for metric in ('AP', 'AUC-pooled', 'Dice')
        for collection, task, name in (('ddr', 'lesion', 'EX'),
                                       ('idrid', 'odoc', 'disc'))
    }


def check_scores(scores: dict) -> None:
    """Far above chance: an AP of 0.02 and an AUC of 0.5."""
    assert scores['AP', 'disc'] > 0.5 and scores['AUC-pooled', 'disc'] > 0.9
    assert scores['AP', 'EX'] > 0.06 and scores['AUC-pooled', 'EX'] > 0.8


@pytest.mark.slow
def test_each_dataset_learns_what_it_lacks(tmp_path, monkeypatch):
    """python -m pytest -m slow -s tests/test_engine/test_some_classes.py"""
    write_data(tmp_path)
    monkeypatch.chdir(tmp_path)
    first, second = (write_stage(tmp_path, stage) for stage in (1, 2))
    assert not run_tool(monkeypatch, 'train.py', first, '--work-dir', 'one',
                        '--no-validate')
    checkpoint = 'one/latest.pth'
    scores = scores_of(monkeypatch, first, checkpoint, tmp_path / 'one')
    print('stage 1', scores)
    check_scores(scores)

    # so short a run is not sure of anything yet
    assert not run_tool(monkeypatch, 'generate_pseudo_labels.py', second,
                        checkpoint, '--threshold', '0.2')
    manifest = json.loads(
        (tmp_path / IDRID / 'train/odoc_pseudo/manifest.json').read_text())
    assert manifest['classes'] == ['disc']
    assert not run_tool(monkeypatch, 'train.py', second, '--work-dir', 'two',
                        '--load-from', checkpoint, '--no-validate')
    scores = scores_of(monkeypatch, second, 'two/ckpt/latest.pth',
                       tmp_path / 'two')
    print('stage 2', scores)
    check_scores(scores)
