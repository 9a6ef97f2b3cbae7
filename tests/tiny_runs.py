"""Runs of a few iterations: generated collections, configs, the tools."""
import json
import logging
import os
import pprint
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
from mmcv.utils.logging import logger_initialized
from PIL import Image

from mbos.io.labels import save_labels
from mbos.tasks import build_task
from .utils import tiny_model_cfg

ROOT = Path(__file__).resolve().parents[1]
SIZE = 64
TWO = ('vessel', 'lesion')
PARTS = dict(imports=['mbos', 'tests.run_parts'], allow_failed_imports=False)
FOVEA = dict(name='fovea', classes=('fovea', ))
# yapf: disable
NORMALIZE = dict(
    type='Normalize', mean=[90., 60., 30.], std=[60., 40., 20.], to_rgb=True)
LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadPlanes')]
FORMAT = [NORMALIZE, dict(type='FormatPlanes')]
FLIP = dict(type='IndependentFlip', prob_horizontal=0.5, prob_vertical=0.5)
TRAIN = LOAD + [FLIP] + FORMAT
STRONG = LOAD + [dict(type='ColorJitter'), dict(type='CutOut')] + FORMAT
TEST = [LOAD[0], dict(
    type='MultiScaleFlipAug', img_scale=(SIZE, SIZE), flip=False, transforms=[
        dict(type='Resize', keep_ratio=True), NORMALIZE,
        dict(type='ImageToTensor', keys=['img']), dict(type='CollectImage')])]
# yapf: enable


def draw_eye(tasks, seed, size=SIZE):
    """A picture of coloured discs, and their labels by task name."""
    rng = np.random.default_rng(seed)
    image = rng.integers(60, 100, (size, size, 3), dtype=np.uint8)
    rows, columns = np.mgrid[:size, :size]
    labels = {}
    for task in map(build_task, tasks):
        plane = np.zeros((size, size), np.uint8)
        for value in range(1, task.num_classes + 1):
            y, x = rng.integers(size // 4, 3 * size // 4, 2)
            plane[(rows - y)**2 + (columns - x)**2 < (size // 8)**2] = value
        image[plane > 0, len(labels) % 3] = 255 - 20 * plane[plane > 0]
        labels[task.name] = plane
    return image, labels


def write_collection(folder, tasks, images=3, seed=0, pseudo=()):
    """Write ``images``, ``<task>``, and ``<task>_pseudo`` of ``pseudo``."""
    (folder / 'images').mkdir(parents=True, exist_ok=True)
    for i in range(images):
        image, labels = draw_eye([*tasks, *pseudo], seed + i)
        Image.fromarray(image).save(folder / f'images/eye_{i}.jpg')
        for position, (name, plane) in enumerate(labels.items()):
            target = name if position < len(tasks) else f'{name}_pseudo'
            save_labels(str(folder / target / f'eye_{i}.png'), plane)


def write_data(root, tasks):
    """One training and one test collection per task, ``c0``, ``c1``, ..."""
    for i, task in enumerate(tasks):
        others = [t for t in tasks if t != task]
        write_collection(root / f'c{i}', [task], 3, 10 * i, others)
        write_collection(root / f'c{i}_test', [task], 2 + i % 2, 10 * i + 5)


def member(i, folder, pipeline, **changes):
    """Config of collection ``i`` as a dataset."""
    return dict(type='PartialLabelDataset', name=folder, pipeline=pipeline,
                img_dir=f'{folder}/images', **changes)  # yapf: disable


def config_of(root, tasks, adversarial=False, **changes):
    """Config of a tiny run on what :func:`write_data` wrote; ``changes`` are
    keys to set, and places in lists, with ``__`` for the dots."""
    model = tiny_model_cfg(tasks, 8 if adversarial else None,
                           adversarial).to_dict()
    for head in ('decode_head', 'auxiliary_head'):
        model[head]['loss_decode'].pop('ignore_index')
        model[head]['head'].update(dropout_ratio=0.1, align_corners=False)
    names = [build_task(task).name for task in tasks]
    # yapf: disable
    train = [member(i, f'c{i}', TRAIN, ann_dirs={t: f'c{i}/{t}'})
             for i, t in enumerate(names)]
    no_decay = dict(decay_mult=0.0)
    optimizer = adamw = dict(
        type='AdamW', lr=1e-3, weight_decay=0.01, paramwise_cfg=dict(
            custom_keys=dict(
                relative_position_bias_table=no_decay, norm=no_decay)))
    if adversarial:
        model['discriminator']['channels'] = 4
        adam = dict(type='Adam', lr=2e-4, betas=(0.9, 0.99))
        optimizer = dict(
            constructor='NamedOptimizersConstructor', generator=adamw,
            discriminators=adam, auxiliary_discriminators=adam)
        for i, t in enumerate(names):
            pseudo = {o: f'c{i}/{o}_pseudo' for o in names if o != t}
            train.append(member(i, f'c{i}', STRONG, pseudo_dirs=pseudo))
    tests = {f'c{i}': member(i, f'c{i}_test', TEST,
                             ann_dirs={t: f'c{i}_test/{t}'})
             for i, t in enumerate(names)}
    cfg = dict(
        _base_=[str(ROOT / 'configs/_base_/default_runtime.py')],
        model=model,
        data_root=str(root),
        test_sets=tests,
        data=dict(
            samples_per_gpu=1, workers_per_gpu=0,
            train=dict(type='JointDataset', datasets=train),
            val=list(tests.values()), test=tests['c0']),
        optimizer=optimizer,
        optimizer_config=dict(type='GradientStepHook'),
        lr_config=dict(policy='poly', power=1.0, min_lr=0.0, by_epoch=False),
        runner=dict(type='CheckedIterRunner', max_iters=4),
        checkpoint_config=dict(
            type='SubfolderCheckpointHook', interval=2,
            subfolder='ckpt' if adversarial else ''),
        evaluation=dict(interval=4, metric='mIoU', pre_eval=True),
        log_config=dict(interval=2))
    # yapf: enable
    for key, value in changes.items():
        *path, last = key.split('__')
        part = cfg
        for step in path:
            part = part[int(step) if step.isdigit() else step]
        part[last] = value
    return cfg


def write_config(path, cfg):
    """Write a config as a Python file; returns its path as text."""
    text = '\n'.join(f'{key} = {pprint.pformat(value)}'
                     for key, value in cfg.items())
    Path(path).write_text(text + '\n')
    return str(path)


def read_log(work, *modes):
    """Whole lines of a run's JSON logs of some modes, ``train`` or ``val``."""
    lines = []
    for path in sorted(Path(work).glob('*.log.json')):
        for text in path.read_text().splitlines():
            line = json.loads(text) if text.endswith('}') else {}
            lines += [line] if line.get('mode') in modes else []
    return lines


def forget_loggers():
    """Let the next run in this process open its own log file."""
    logger_initialized.clear()
    for name in ('mmseg', 'mmcv'):
        logger = logging.getLogger(name)
        for handler in list(logger.handlers):
            logger.removeHandler(handler)
            handler.close()


def run_tool(monkeypatch, name, *arguments):
    """Run a tool in this process; returns what it hands to ``sys.exit``."""
    forget_loggers()
    tool = str(ROOT / 'tools' / name)
    monkeypatch.setattr(sys, 'argv', [tool, *map(str, arguments)])
    try:
        runpy.run_path(tool, run_name='__main__')
    except SystemExit as leaving:
        return leaving.code
    finally:
        forget_loggers()


def script_environment(**variables):
    """Environment of commands of the checkout on CPU."""
    return dict(
        os.environ, PYTHON=sys.executable, CUDA_VISIBLE_DEVICES='',
        OMP_NUM_THREADS='1', PYTHONPATH=str(ROOT),
        **variables)  # yapf: disable


def run_script(name, *arguments, folder, **environment):
    """Run a launcher of the checkout on CPU from another folder."""
    return subprocess.run(
        [str(ROOT / 'tools' / name), *map(str, arguments)], cwd=folder,
        env=script_environment(**environment), capture_output=True, text=True,
        timeout=300)  # yapf: disable
