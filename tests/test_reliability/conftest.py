"""Undisturbed runs that the tests of this folder share."""
import types

import pytest

from tests.test_reliability.runs import folder_of, write_long_config
from tests.tiny_runs import TWO, run_tool, write_data


@pytest.fixture(scope='session')
def long_runs(tmp_path_factory):
    """Both stages, undisturbed, for 8 iterations, by number of the stage.

    Stage 2 accumulates gradients over 2 iterations and averages its
    weights.
    """
    root = tmp_path_factory.mktemp('long')
    write_data(root / 'data', TWO)
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for stage in (1, 2):
            changes = {} if stage == 1 else dict(
                optimizer_config__accumulate=2,
                custom_hooks=[dict(type='EMAWeightsHook', momentum=0.3)])
            config = write_long_config(root / f'stage{stage}.py',
                                       root / 'data', stage == 2, **changes)
            work = root / f'whole{stage}'
            assert run_tool(patch, 'train.py', config, '--work-dir',
                            work) is None
            found[stage] = types.SimpleNamespace(
                config=config, changes=changes, work=work, data=root / 'data',
                checkpoints=folder_of(work, stage == 2))  # yapf: disable
    return found
