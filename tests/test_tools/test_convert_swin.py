"""tools/convert_swin_checkpoint.py converts, downloads and explains."""
import io
from email.message import Message

import pytest
import torch

from mbos.models.backbones.swin_weights import SWIN_TINY_URL

NAME = 'convert_swin_checkpoint.py'
LAYERS = ('norm1', 'attn.qkv', 'attn.proj', 'norm2', 'mlp.fc1', 'mlp.fc2')


@pytest.fixture
def official():
    """The smallest transformer in the official layout, as bytes: one stage,
    one block; each tensor holds its position in the list."""
    names = ['patch_embed.proj', 'patch_embed.norm',
             *(f'layers.0.blocks.0.{x}' for x in LAYERS)]  # yapf: disable
    keys = [f'{name}.{kind}' for name in names for kind in ('weight', 'bias')]
    keys.append('layers.0.blocks.0.attn.relative_position_bias_table')
    state = {key: torch.full((2, ), float(i)) for i, key in enumerate(keys)}
    buffer = io.BytesIO()
    torch.save({'model': {**state, 'head.weight': torch.zeros(1)}}, buffer)
    return buffer.getvalue()


class Response(io.BytesIO):
    """What urlopen returns."""

    def info(self):
        return Message()


def check_result(path):
    """Load the result and check two of its tensors by hand."""
    state = torch.load(path, weights_only=True)['state_dict']
    assert len(state) == 17 and 'head.weight' not in state
    assert state['patch_embed.projection.weight'].tolist() == [0, 0]
    # patch_embed has 4 tensors, norm1 2; then come qkv and proj.
    assert state['stages.0.blocks.0.attn.w_msa.proj.bias'].tolist() == [9, 9]


def test_converts_a_file(official, tool, tmp_path):
    (tmp_path / 'in.pth').write_bytes(official)
    assert tool(NAME, 'in.pth', 'sub/out.pth') is None
    check_result('sub/out.pth')
    assert tool(NAME, 'in.pth') == tool(NAME, '--download', 'a', 'b') == 2


def test_downloads_to_the_place_configs_name(official, tool, tmp_path,
                                             monkeypatch):
    answers, asked = [official, official[:-100]], []

    def urlopen(request):
        asked.append(request.full_url)
        if answers:
            return Response(answers.pop(0))
        raise FileNotFoundError('no route')

    monkeypatch.setattr(torch.hub, 'urlopen', urlopen)
    assert tool(NAME, '--download') is None
    assert asked == [SWIN_TINY_URL]
    check_result('pretrain/swin_tiny_patch4_window7_224.pth')
    # one that fails leaves nothing, and the user reads what to put where
    for said in ('not a whole checkpoint', 'no route'):
        text = tool(NAME, '--download', 'other/swin.pth')
        assert said in text and SWIN_TINY_URL in text
    assert [path.name for path in tmp_path.iterdir()] == ['pretrain']
