"""Names and shapes of weights that no run has written; found by fuzzing."""
import pytest
import torch

from mbos.checkpoints.release_layout import check_release_tasks, from_release
from mbos.models.backbones.swin_weights import convert_swin
from mbos.tasks import build_tasks

TASKS = build_tasks(['vessel', 'lesion'])
QKV = 'layers.{}.blocks.{}.attn.qkv.weight'


@pytest.mark.parametrize('stage, block', [('0', '9' * 5000), ('9' * 5000, '0'),
                                          ('999999', '999999')])
def test_numbers_of_any_size_in_names(stage, block):
    """They neither fail to be read nor are counted up to."""
    with pytest.raises(ValueError, match='lacks .* weights of a Swin'):
        convert_swin({QKV.format(stage, block): torch.zeros(3)}, 'it')


def test_merging_layer_of_another_shape():
    state = {
        QKV.format(0, 0): torch.zeros(3),
        'layers.0.downsample.reduction.weight': torch.zeros(9)
    }
    with pytest.raises(ValueError, match='lacks .* weights of a Swin'):
        convert_swin(state, 'it')


@pytest.mark.parametrize('name', [
    'decode_head.conv_seg.0.weight', 'decode_head.fpn_convs.0.conv.weight',
    f'decode_head.conv_seg.{"9" * 5000}.weight'
])
def test_released_tensor_without_dimensions(name):
    state = {name: torch.tensor(1.)}
    with pytest.raises(ValueError, match='tasks with'):
        check_release_tasks(state, TASKS)
        from_release(state, TASKS)
