"""The configs of the docs are what they claim: complete and right."""
import re
import shutil

import numpy as np
import pytest
from mmcv.utils import get_logger
from mmseg.datasets import build_dataset
from mmseg.models import build_segmentor
from PIL import Image

from mbos.apis import load_config
from mbos.engine.validation import check_validation, warn_of_useless_labels
from mbos.io.labels import save_labels
from tests.tiny_runs import ROOT

BLOCK = re.compile(r'```python\n# (configs/\S+)\n(.*?)```', re.DOTALL)
FOLDERS = {
    'data/FOVCrop-padding/RETA/train': ('images', 'ann', 'fovea_pseudo'),
    'data/mine/train': ('images', 'fovea', 'vessel_pseudo'),
    'data/mine/val': ('images', 'fovea'),
    'data/mine/test': ('images', 'fovea'),
}


def configs():
    """Path and text of every config that the page writes out."""
    text = (ROOT / 'docs/how_to.md').read_text(encoding='utf-8')
    yield from BLOCK.findall(text)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with the configs and one image in each folder."""
    shutil.copytree(ROOT / 'configs', tmp_path / 'configs')
    for folder, (images, *labels) in FOLDERS.items():
        path = tmp_path / folder
        (path / images).mkdir(parents=True)
        suffix = 'jpg' if 'RETA' in folder else 'png'
        picture = np.full((64, 64, 3), 90, np.uint8)
        Image.fromarray(picture).save(path / images / f'eye.{suffix}')
        for name in labels:
            plane = np.zeros((64, 64), np.uint8)
            plane[8:16] = 1
            save_labels(str(path / name / 'eye.png'), plane)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_is_one_of_each_stage():
    assert [path for path, _ in configs()] == [
        'configs/_multi_task_/fovea.py', 'configs/_multi_gan_/fovea.py'
    ]


@pytest.mark.parametrize('path, text', configs())
def test_config(path, text, here, caplog):
    """Everything up to the first iteration."""
    (here / path).write_text(text)
    cfg = load_config(path)
    logger = get_logger('test_docs_configs')
    logger.propagate = True
    check_validation(cfg, logger)
    warn_of_useless_labels(cfg, logger)
    assert not caplog.records
    train_set = build_dataset(cfg.data.train)
    for part in (train_set, build_dataset(cfg.data.val, dict(test_mode=True)),
                 build_dataset(cfg.data.test, dict(test_mode=True))):
        part.check(full=True)
    seen = [sample['img_metas'].data for sample in train_set[0]]
    labelled = {(meta['dataset'], task, plane['kind'])
                for meta in seen
                for task, plane in meta['planes'].items()
                if plane['kind'] != 'absent'}
    expected = {('reta', 'vessel', 'truth'), ('mine', 'fovea', 'truth')}
    if 'gan' in path:
        expected |= {('reta', 'fovea', 'pseudo'), ('mine', 'vessel', 'pseudo')}
    assert labelled == expected
    cfg.model.pretrained = None
    assert list(build_segmentor(cfg.model).tasks) == ['vessel', 'fovea']
