"""The ablation configs: what is hidden from training stays hidden."""
import glob
import os.path as osp

import pytest

from mbos.apis import load_config
from mbos.config import member_datasets

ROOT = osp.dirname(osp.dirname(__file__))
PATHS = sorted(glob.glob(osp.join(ROOT, 'configs/ablation/*.py')))


@pytest.mark.parametrize('path', PATHS, ids=osp.basename)
def test_hides_vessels_and_discs_of_idrid(path):
    cfg = load_config(path)
    members = member_datasets(cfg.data.train)
    tasks = {name for m in members for name in m.get('ann_dirs') or ()}
    assert tasks == set(cfg.model.tasks)
    for member in members:
        if member.name == 'idrid':
            assert set(member.get('ann_dirs') or ()) <= {'lesion'}
    hidden = [s for s in cfg.test_sets.values() if 'lesion' not in s.ann_dirs]
    assert [s.name for s in hidden].count('idrid') == 2


def test_stages_have_the_same_length():
    """Half of the iterations each where there are two, so that all have as
    many in total.
    """
    for path in PATHS:
        stage2 = 'stage2' in path
        iterations = load_config(path).runner.max_iters
        assert iterations == (300 if stage2 else 600), path
