"""tools/convert_swin_checkpoint.py converts, downloads and explains."""
import io
from email.message import Message

import pytest
import torch

from mbos.models.backbones.swin_weights import SWIN_TINY_URL

NAME = 'convert_swin_checkpoint.py'


@pytest.fixture
def official():
    """The smallest transformer in the official layout: one stage, one block.

    All tensors hold their position in the list, so that each is known.
    """
    names = ['patch_embed.proj', 'patch_embed.norm'] + [
        f'layers.0.blocks.0.{layer}'
        for layer in ('norm1', 'attn.qkv', 'attn.proj', 'norm2', 'mlp.fc1',
                      'mlp.fc2')
    ]
    keys = [f'{name}.{kind}' for name in names for kind in ('weight', 'bias')]
    keys.append('layers.0.blocks.0.attn.relative_position_bias_table')
    state = {key: torch.full((2, ), float(i)) for i, key in enumerate(keys)}
    return {'model': {**state, 'head.weight': torch.zeros(1)}}


class Response(io.BytesIO):
    """What urlopen returns."""

    def info(self):
        return Message()


def as_bytes(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def check_result(path):
    """Load the result and check two of its tensors by hand."""
    state = torch.load(path, weights_only=True)['state_dict']
    assert len(state) == 17
    assert 'head.weight' not in state
    assert state['patch_embed.projection.weight'].tolist() == [0, 0]
    # patch_embed has 4 tensors, norm1 2; then come qkv and proj.
    assert state['stages.0.blocks.0.attn.w_msa.proj.bias'].tolist() == [9, 9]


def test_converts_a_file(official, tool, tmp_path):
    torch.save(official, 'in.pth')
    assert tool(NAME, 'in.pth', 'sub/out.pth') is None
    check_result('sub/out.pth')
    assert 'no.pth' in tool(NAME, 'no.pth', 'o.pth')
    assert not (tmp_path / 'o.pth').exists()


@pytest.mark.parametrize('arguments', [['one.pth'], ['--download', 'a', 'b']])
def test_wrong_usage(tool, arguments):
    assert tool(NAME, *arguments) == 2


def test_downloads_to_the_place_configs_name(official, tool, tmp_path,
                                             monkeypatch):
    asked = []

    def urlopen(request):
        asked.append(request.full_url)
        return Response(as_bytes(official))

    monkeypatch.setattr(torch.hub, 'urlopen', urlopen)
    assert tool(NAME, '--download') is None
    assert asked == [SWIN_TINY_URL]
    check_result('pretrain/swin_tiny_patch4_window7_224.pth')
    assert len(list((tmp_path / 'pretrain').iterdir())) == 1


def offline(*args, **kwargs):
    raise FileNotFoundError('no route')


@pytest.mark.parametrize('half, said', [
    (False, 'no route'),
    (True, 'not a whole checkpoint'),
])
def test_failed_downloads_leave_nothing(official, tool, tmp_path, monkeypatch,
                                        half, said):
    """And the user reads what to put where."""
    content = as_bytes(official)[:-100]
    monkeypatch.setattr(torch.hub, 'urlopen',
                        (lambda request: Response(content))
                        if half else offline)  # yapf: disable
    text = tool(NAME, '--download', 'swin.pth')
    assert said in text and SWIN_TINY_URL in text
    assert list(tmp_path.iterdir()) == []
