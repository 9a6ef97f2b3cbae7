import gc
import os
import sys

import pytest
from mmcv.runner.hooks import Hook
from mmseg.datasets import build_dataset

from mbos.apis import (build_checked, find_config, load_config,
                       member_datasets, stage1_model_cfg)
from mbos.faults import InvalidConfigError
from tests.test_golden import STAGE1_CONFIG, STAGE2_CONFIG
from tests.tiny_runs import config_of, write_config

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TASKS = ['vessel', dict(name='fovea', classes=('fovea', ))]


@pytest.fixture
def path(tmp_path):
    return write_config(tmp_path / 'mine.py', config_of('some/data', TASKS))


def test_datasets_are_completed(path):
    cfg = load_config(path)
    sets = [
        *member_datasets(cfg.data.train), *member_datasets(cfg.data.val),
        cfg.data.test, *cfg.test_sets.values()
    ]
    assert len(sets) == 2 + 2 + 1 + 2
    for dataset in sets:
        assert dataset.data_root == 'some/data'
        assert [t if isinstance(t, str) else t['name']
                for t in dataset.tasks] == ['vessel', 'fovea']
    assert cfg.data.val.type == 'EvaluationSets'
    assert cfg.work_dir == os.path.join('work_dirs', 'mine')


def test_datasets_that_take_turns_are_completed(tmp_path):
    cfg = config_of('some/data', TASKS)
    first, *others = cfg['data']['train']['datasets']
    cfg['data']['train']['datasets'] = [first, others]
    loaded = load_config(write_config(tmp_path / 'a.py', cfg))
    members = member_datasets(loaded.data.train)
    assert len(members) == 1 + len(others)
    assert {m.data_root for m in members} == {'some/data'}


def test_a_name_that_the_base_gives_to_something_else(tmp_path):
    """What mmcv says begins with all that the name holds."""
    (tmp_path / 'base.py').write_text("mine = 'a folder'\n")
    dataset = dict(img_dir='x' * 400, ann_dirs={})
    (tmp_path / 'own.py').write_text(f"_base_ = './base.py'\nmine = {dataset}")
    with pytest.raises(InvalidConfigError) as caught:
        load_config(str(tmp_path / 'own.py'))
    assert 'TypeError: mine={' in str(caught.value)
    assert "of type <class 'str'> in base config" in str(caught.value)


@pytest.mark.parametrize('text', ['a = (', 'a = 1 / 0'])
def test_nothing_is_left_of_a_config_that_cannot_be_read(
        tmp_path, monkeypatch, text):
    """mmcv's open copy would raise where the garbage collector finds it."""
    raised = []
    monkeypatch.setattr(sys, 'unraisablehook', raised.append)
    (tmp_path / 'wrong.py').write_text(text)
    with pytest.raises(InvalidConfigError, match='wrong.py cannot be read'):
        load_config(str(tmp_path / 'wrong.py'))
    gc.collect()
    assert not raised


def test_what_a_dataset_says_itself_stays(tmp_path):
    cfg = config_of('some/data', TASKS)
    cfg['data']['test'] = dict(
        cfg['data']['test'], data_root='other', tasks=['vessel'])
    loaded = load_config(write_config(tmp_path / 'a.py', cfg))
    assert loaded.data.test.data_root == 'other'
    assert loaded.data.test.tasks == ['vessel']


def test_options_come_first(path):
    cfg = load_config(path, {
        'data_root': 'new',
        'work_dir': 'there',
        'data.test.name': 'renamed'
    })
    assert cfg.data.train.datasets[0].data_root == 'new'
    assert cfg.work_dir == 'there' and cfg.data.test.name == 'renamed'


def test_data_test_may_name_a_test_set(path):
    cfg = load_config(path, {'data.test': 'c1'})
    assert cfg.data.test == cfg.test_sets.c1
    with pytest.raises(ValueError, match="no test set 'c9': it has c0, c1"):
        load_config(path, {'data.test': 'c9'})


def test_configs_are_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expected = os.path.join(ROOT, STAGE1_CONFIG)
    name = os.path.basename(STAGE1_CONFIG)
    for given in (STAGE1_CONFIG, STAGE1_CONFIG.removeprefix('configs/'), name,
                  name.removesuffix('.py')):
        assert find_config(given) == expected
    (tmp_path / name).touch()
    assert find_config(name) == name, "one's own comes first"


@pytest.mark.parametrize('given, words', [
    ('no.py', "'no.py' not found"),
    ('elsewhere/fundus_stage1.py', 'There is _base_/.*fundus_stage1.py'),
    ('fundus_stag1', 'There is .*fundus_stage1.py'),
])
def test_missing_configs_name_similar_ones(given, words):
    with pytest.raises(FileNotFoundError, match=words):
        find_config(given)


def test_stage_1_network_of_stage_2():
    """It is the network of the published stage-1 config."""
    ours = stage1_model_cfg(load_config(STAGE2_CONFIG).model)
    assert ours == load_config(STAGE1_CONFIG).model


@pytest.mark.parametrize('cfg, words', [
    (dict(type='Nonsense'), 'Nonsense is not in the dataset registry.*type'),
    (dict(type='JointDataset', datasets=[],
          colour=1), 'JointDataset .*colour'),
    (dict(type='PartialLabelDataset', name='a'), 'missing 3 required'),
])
def test_wrong_dataset(cfg, words):
    with pytest.raises(ValueError, match=words):
        build_checked(build_dataset, cfg)


def test_other_errors_are_left_alone():

    def fail(error):
        raise error

    for error in (KeyError('a'), TypeError('b'), RuntimeError('c')):
        with pytest.raises(type(error)):
            build_checked(fail, error)
    assert isinstance(build_checked(Hook), Hook)
