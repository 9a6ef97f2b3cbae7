"""What is wrong is named by file and remedy, before anything is started."""
import os
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
    """Function that runs a tool which must refuse; returns its message."""

    def run(name, *arguments):
        message = tool(name, *arguments)
        assert isinstance(message, str), 'the exit status is not 1'
        shown = capfd.readouterr()
        assert 'Traceback' not in shown.out + shown.err + message
        assert 'Iter [' not in shown.out + shown.err, 'training started'
        assert not (tmp_path / 'work_dirs').exists(), 'work dir is littered'
        return message

    return run


def mask(data):
    plane = np.resize(np.array([0, 1, 7], np.uint8), (64, 64))
    Image.fromarray(plane).save(data / 'c0/vessel/eye_1.png')


def cut(data):
    path = data / 'c1_test/images/eye_0.jpg'
    path.write_bytes(path.read_bytes()[:100])


def without(name):
    return lambda data: (shutil.rmtree
                         if (data / name).is_dir() else os.remove)(
                             data / name)


def matches(message, path, words):
    assert str(path) in message, message
    assert re.search(words, message, re.DOTALL), message


# what else can be wrong: test_datasets/test_checks.py,
# test_checkpoints/test_loading.py
@pytest.mark.parametrize('tool_name, damage, path, words', [
    ('train.py', mask, 'c0/vessel/eye_1.png',
     r'value\(s\) 7 out of range.*prepare'),
    ('train.py', cut, 'c1_test/images/eye_0.jpg', 'cannot be read'),
    ('train.py', without('c0_test/images'), 'c0_test/images', '--no-validate'),
    ('train.py', without('c0/lesion_pseudo'), 'c0/lesion_pseudo',
     'not found; run'),
    ('test.py', without('c0_test/vessel/eye_1.png'),
     'c0_test/vessel/eye_1.png', 'missing; prepare'),
])
def test_data(runs, data, refuse, tmp_path, tool_name, damage, path, words):
    damage(data)
    config = write_config(tmp_path / 'cfg.py',
                          config_of(data, TWO, 'pseudo' in path))
    more = (runs.checkpoint1, '--eval', 'mIoU') if tool_name == 'test.py' \
        else ()
    matches(refuse(tool_name, config, *more), data / path, words)


def test_unknown_names(runs, refuse):
    test = ('test.py', runs.config1, runs.checkpoint1)
    matches(
        refuse(*test, '--eval', 'mIoU', '--datasets', 'moon'), 'moon',
        'it has c0, c1')
    matches(
        refuse(*test, '--vis', '--output_dir', 'o', '--source', 'moon'),
        'moon', 'use a task.*vessel, lesion.*dataset.*refuge')
    # a dataset of which the model lacks the task
    matches(
        refuse(*test, '--vis', '--output_dir', 'o', '--source', 'refuge'),
        'refuge', 'use a task')
    matches(refuse(*test, '--OD'), 'idrid_od', 'it has c0, c1')


def test_all_test_sets_that_are_missing_are_named(runs, data, refuse):
    for name in ('c0_test', 'c1_test'):
        shutil.rmtree(data / name)
    message = refuse('test.py', runs.config1, runs.checkpoint1, '--eval',
                     'mIoU', '--datasets', 'all', '--cfg-options',
                     f'data_root={data}')
    assert re.search('c0_test.*c1_test', message, re.DOTALL)


def test_options_that_would_be_ignored_are_refused(runs, tool, capsys):
    assert tool('test.py', runs.config1, runs.checkpoint1, '--OD',
                '--datasets', 'c0') == 2
    assert 'leave out --datasets' in capsys.readouterr().err


@pytest.fixture
def damaged(runs, tmp_path):
    """Function that writes a changed copy of the stage-1 checkpoint."""

    def write(change):
        content = torch.load(runs.checkpoint1, weights_only=True)
        change(content)
        torch.save(content, tmp_path / 'changed.pth')
        return tmp_path / 'changed.pth'

    return write


HEAD = 'decode_head.heads.vessel.conv_seg.weight'


def without_head(content):
    del content['state_dict'][HEAD]


def test_checkpoints_for_testing(runs, refuse):
    test = ('test.py', runs.config2)
    matches(refuse(*test, 'no.pth', '--eval', 'mIoU'), 'no.pth', 'not found')
    matches(
        refuse(*test, runs.checkpoint1, '--eval', 'mIoU'), runs.checkpoint1,
        "stage 'multi_task'.*stage 'adversarial'.*Use")


@pytest.mark.parametrize('option', ['--load-from', '--resume-from'])
def test_checkpoints_for_training(runs, refuse, damaged, option):
    train = ('train.py', runs.config1, option)
    matches(refuse(*train, 'no.pth'), 'no.pth', 'not found')
    path = damaged(without_head)
    matches(refuse(*train, path), path, 'lacks 1 weight')


@pytest.mark.parametrize('change, words', [
    (lambda content: content.pop('optimizer'), 'weights only.*--load-from'),
    (lambda content: content['optimizer'].update(judge={}),
     r"optimizers \['generator', 'judge'\]"),
])
def test_checkpoints_that_cannot_be_continued(runs, refuse, damaged, change,
                                              words):
    path = damaged(change)
    matches(
        refuse('train.py', runs.config1, '--resume-from', path), path, words)
    matches(
        refuse('train.py', runs.config2, '--resume-from', runs.checkpoint1),
        runs.checkpoint1, "stage 'multi_task'.*stage 'adversarial'")


def test_missing_weights_of_the_backbone(runs, refuse, tmp_path):
    """Said before the data are looked at."""
    cfg = config_of(
        tmp_path / 'nowhere', TWO, model__pretrained='pretrain/swin.pth')
    matches(
        refuse('train.py', write_config(tmp_path / 'cfg.py', cfg)),
        'pretrain/swin.pth', 'Download.*model.pretrained=None')


def test_more_processes_than_gpus(runs, refuse, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    for name, value in dict(RANK=0, LOCAL_RANK=0, LOCAL_WORLD_SIZE=2).items():
        monkeypatch.setenv(name, str(value))
    for arguments in (('train.py', runs.config1),
                      ('test.py', runs.config1, runs.checkpoint1, '--eval',
                       'mIoU')):
        matches(
            refuse(*arguments, '--launcher', 'pytorch'), '2 processes',
            r'only 1 GPU\(s\): start 1 at most')


def test_loss_that_is_not_finite(runs, tool, capfd):
    """Found while training, but said without a traceback too."""
    message = tool('train.py', runs.config1, '--no-validate', '--cfg-options',
                   'optimizer.lr=1e30')
    assert 'Not finite' in message and 'decode.loss_truth' in message
    assert 'Traceback' not in capfd.readouterr().err
