"""What many tests share: two tiny runs, one of each stage."""
import functools
import logging
import os
import types

import pytest

# Before any test imports mmseg: the stand-in for mmcv's compiled operators.
import mbos.registration  # noqa: F401
from tests.tiny_runs import TWO, config_of, run_tool, write_config, write_data


@pytest.fixture(scope='session', autouse=True)
def no_waiting():
    """Syncing thousands of small files takes minutes, and mmcv's runner waits
    for a second at its end; processes that tests start and kill do both."""
    at_once = types.SimpleNamespace(sleep=lambda seconds: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, 'fsync', lambda handle: None)
        patch.setattr('mmcv.runner.iter_based_runner.time', at_once)
        yield


@pytest.fixture(autouse=True)
def logs_as_before():
    """Benchmarks silence all logs of their process."""
    before = logging.root.manager.disable
    yield
    logging.disable(before)


@pytest.fixture(scope='session')
def runs(tmp_path_factory):
    """Both stages, trained for 4 iterations on two tasks."""
    root = tmp_path_factory.mktemp('runs')
    write_data(root / 'data', TWO)
    one = write_config(root / 'stage1.py', config_of(root / 'data', TWO))
    two = write_config(root / 'stage2.py', config_of(root / 'data', TWO, True))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        assert run_tool(patch, 'train.py', one, '--work-dir', 'stage1') is None
        assert run_tool(patch, 'train.py', two, '--work-dir', 'stage2',
                        '--load-from', 'stage1/latest.pth') is None
    return types.SimpleNamespace(
        root=root,
        data=root / 'data',
        config1=one,
        config2=two,
        work1=root / 'stage1',
        work2=root / 'stage2',
        checkpoint1=str(root / 'stage1/iter_4.pth'),
        checkpoint2=str(root / 'stage2/ckpt/iter_4.pth'))


@pytest.fixture
def tool(monkeypatch, tmp_path):
    """Function that runs a tool in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return functools.partial(run_tool, monkeypatch)
