"""The dataset behind mmseg's own test loops and evaluation hook."""
import pickle
import types

import numpy as np
import pytest
import torch
from mmcv.runner import LogBuffer
from mmcv.utils import get_logger
from mmseg.apis import multi_gpu_test, single_gpu_test
from mmseg.core import EvalHook
from mmseg.datasets import build_dataloader
from torch import nn

from tests.processes import run_processes


class HalfSure(nn.Module):
    """Says 0.75 for the first class in the left half of the image."""

    def forward(self, img, img_metas, return_loss=False, rescale=True):
        height, width = img_metas[0].data[0][0]['ori_shape'][:2]
        prob = np.full((1, height, width), 0.25, np.float32)
        prob[..., :width // 2] = 0.75
        return [dict(vessel=prob)]


def load(dataset, dist=False):
    return build_dataloader(
        dataset, 1, 0, dist=dist, shuffle=False, persistent_workers=False)


@pytest.fixture
def dataset(make_test_set):
    return make_test_set(tasks=['vessel'], ann_dirs=dict(vessel='pseudo'))


def dice_by_hand(dataset):
    true_pos = predicted = positive = 0
    for i in range(len(dataset)):
        truth = dataset.get_gt_plane(i, 'vessel') == 1
        left = np.zeros_like(truth)
        left[:, :truth.shape[1] // 2] = True
        true_pos += (truth & left).sum()
        predicted += left.sum()
        positive += truth.sum()
    return 2 * true_pos / (predicted + positive)


def test_eval_hook(dataset, tmp_path):
    runner = types.SimpleNamespace(
        model=HalfSure(),
        iter=0,
        work_dir=str(tmp_path),
        log_buffer=LogBuffer(),
        logger=get_logger('test'))
    EvalHook(load(dataset), interval=1, pre_eval=True)._do_evaluate(runner)
    found = runner.log_buffer.output['vessel.Dice.vessel']
    assert found == pytest.approx(dice_by_hand(dataset))


@pytest.mark.parametrize('images, processes', [(5, 2), (2, 3)])
def test_uneven_shares_and_sums_on_disk(dataset, tmp_path, images, processes):
    """mmseg deals some images out twice; they must count once."""
    dataset.img_infos = dataset.img_infos[:images]
    expected = dataset.evaluate(
        single_gpu_test(HalfSure(), load(dataset), pre_eval=True))
    dataset.sums_folder = str(tmp_path / 'sums')

    def work(rank):
        torch.set_num_threads(1)
        results = multi_gpu_test(
            HalfSure(),
            load(dataset, dist=True),
            tmpdir=str(tmp_path / 'parts'),
            pre_eval=True)
        if rank > 0:
            return results
        assert len(pickle.dumps(results)) < 300 * images
        return dataset.evaluate(results)

    (tmp_path / 'meet').mkdir()
    first, *others = run_processes(work, processes, tmp_path / 'meet')
    np.testing.assert_equal(first, expected)
    assert expected['vessel.Dice.vessel'] == pytest.approx(
        dice_by_hand(dataset))
    assert set(others) == {None}
    assert not (tmp_path / 'sums').exists()
