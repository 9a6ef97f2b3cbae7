"""What is wrong is named by file and remedy, before anything is started."""
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from tests.tiny_runs import config_of, write_config

TWO = ('vessel', 'lesion')


@pytest.fixture
def data(runs, tmp_path):
    """A copy of the data that a test may damage."""
    return shutil.copytree(runs.data, tmp_path / 'damaged')


@pytest.fixture
def refuse(tool, tmp_path, capfd):
    """Function that runs a tool, which must refuse and name a path."""

    def run(path, words, name, *arguments):
        message = tool(name, *arguments)
        assert isinstance(message, str), 'the exit status is not 1'
        shown = capfd.readouterr()
        assert 'Traceback' not in shown.out + shown.err + message
        assert 'Iter [' not in shown.out + shown.err, 'training started'
        assert not (tmp_path / 'work_dirs').exists(), 'work dir is littered'
        assert str(path) in message, message
        assert re.search(words, message, re.DOTALL), message

    return run


def mask(data):
    plane = np.resize(np.array([0, 1, 7], np.uint8), (64, 64))
    Image.fromarray(plane).save(data / 'c0/vessel/eye_1.png')


# what else can be wrong: test_datasets/test_checks.py
@pytest.mark.parametrize('name, damage, path, words', [
    ('train.py', mask, 'c0/vessel/eye_1.png',
     r'value\(s\) 7 out of range.*prepare'),
    ('train.py', lambda data: shutil.rmtree(data / 'c0_test/images'),
     'c0_test/images', '--no-validate'),
    ('train.py', lambda data: shutil.rmtree(data / 'c0/lesion_pseudo'),
     'c0/lesion_pseudo', 'not found; run'),
    ('test.py', lambda data: (data / 'c0_test/vessel/eye_1.png').unlink(),
     'c0_test/vessel/eye_1.png', 'missing; prepare'),
])
def test_data(runs, data, refuse, tmp_path, name, damage, path, words):
    damage(data)
    config = write_config(tmp_path / 'cfg.py',
                          config_of(data, TWO, 'pseudo' in path))
    more = [runs.checkpoint1, '--eval', 'mIoU'] if name == 'test.py' else []
    refuse(data / path, words, name, config, *more)


@pytest.mark.parametrize(
    'options, given, words',
    [
        (['--eval', 'mIoU', '--datasets', 'moon'], 'moon', 'it has c0, c1'),
        (['--OD'], 'idrid_od', 'it has c0, c1'),
        (['--vis', '--output_dir', 'o', '--source', 'moon'
          ], 'moon', 'use a task.*vessel, lesion.*dataset.*refuge'),
        # a dataset of which the model lacks the task
        (['--vis', '--output_dir', 'o', '--source', 'refuge'
          ], 'refuge', 'use a task'),
        ([
            '--eval', 'mIoU', '--datasets', 'all', '--cfg-options',
            'test_sets.c0.img_dir=no_0', 'test_sets.c1.img_dir=no_1'
        ], 'no_0', 'no_1'),
    ])
def test_what_cannot_be_tested(runs, refuse, options, given, words):
    refuse(given, words, 'test.py', runs.config1, runs.checkpoint1, *options)


def test_unknown_task_of_a_validation_set(runs, refuse):
    refuse('moon', 'the tasks are', 'train.py', runs.config1, '--cfg-options',
           'data.val.0.ann_dirs.moon=c0/vessel')


def test_options_that_would_be_ignored_are_refused(runs, tool):
    assert tool('test.py', runs.config1, runs.checkpoint1, '--OD',
                '--datasets', 'c0') == 2


def test_checkpoints(runs, refuse):
    test = ('test.py', runs.config2)
    refuse('no.pth', 'No such file', *test, 'no.pth', '--eval', 'mIoU')
    refuse(runs.checkpoint1, "stage 'multi_task'.*stage 'adversarial'.*Use",
           *test, runs.checkpoint1, '--eval', 'mIoU')
    refuse('no.pth', 'not found', 'train.py', runs.config1, '--load-from',
           'no.pth')
    refuse(runs.checkpoint1, "stage 'multi_task'.*stage 'adversarial'",
           'train.py', runs.config2, '--resume-from', runs.checkpoint1)


HEAD = 'decode_head.heads.vessel.conv_seg.weight'


@pytest.mark.parametrize('option, change, words', [
    ('--load-from', lambda content: content['state_dict'].pop(HEAD),
     'lacks weights'),
    ('--resume-from', lambda content: content['state_dict'].pop(HEAD),
     'lacks weights'),
    ('--resume-from', lambda content: content.pop('optimizer'),
     'weights only.*--load-from'),
    ('--resume-from', lambda content: content['optimizer'].clear(),
     'groups of the optimizer generator'),
])
def test_checkpoints_that_cannot_be_continued(runs, refuse, tmp_path, option,
                                              change, words):
    content = torch.load(runs.checkpoint1, weights_only=True)
    change(content)
    torch.save(content, tmp_path / 'changed.pth')
    refuse('changed.pth', words, 'train.py', runs.config1, option,
           'changed.pth')


def test_missing_weights_of_the_backbone(runs, refuse, tmp_path):
    """Said before the data are looked at."""
    cfg = config_of(
        tmp_path / 'nowhere', TWO, model__pretrained='pretrain/swin.pth')
    refuse('pretrain/swin.pth', 'Download.*model.pretrained=None', 'train.py',
           write_config(tmp_path / 'cfg.py', cfg))


def test_more_processes_than_gpus(runs, refuse, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    for name, value in dict(RANK=0, LOCAL_RANK=0, LOCAL_WORLD_SIZE=2).items():
        monkeypatch.setenv(name, str(value))
    refuse('2 processes', r'only 1 GPU\(s\): start 1 at most', 'train.py',
           runs.config1, '--launcher', 'pytorch')
