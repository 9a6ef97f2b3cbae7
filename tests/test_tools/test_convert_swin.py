"""tools/convert_swin_checkpoint.py converts, downloads and explains."""
import io
from email.message import Message
from types import SimpleNamespace

import pytest
import torch

from mbos.commands import convert_backbone as tool


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


def read_result(path):
    """Load the result and check two of its tensors by hand."""
    state = torch.load(path, weights_only=True)['state_dict']
    assert len(state) == 17
    assert 'head.weight' not in state
    assert state['patch_embed.projection.weight'].tolist() == [0, 0]
    # patch_embed has 4 tensors, norm1 2; then come qkv and proj.
    assert state['stages.0.blocks.0.attn.w_msa.proj.bias'].tolist() == [9, 9]
    return state


def test_converts_a_file(official, tmp_path, capsys):
    source, target = tmp_path / 'in.pth', tmp_path / 'sub' / 'out.pth'
    torch.save(official, source)
    assert tool.main([str(source), str(target)]) == 0
    read_result(target)
    assert 'wrote' in capsys.readouterr().out


def test_missing_input_is_named(tmp_path, capsys):
    assert tool.main([str(tmp_path / 'no.pth'), str(tmp_path / 'o.pth')]) == 1
    assert 'no.pth' in capsys.readouterr().err
    assert not (tmp_path / 'o.pth').exists()


@pytest.mark.parametrize(
    'arguments', [[], ['one.pth'], ['a', 'b', 'c'], ['--download', 'a', 'b']])
def test_wrong_usage_ends_with_two(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        tool.main(arguments)
    assert caught.value.code == 2
    assert 'usage' in capsys.readouterr().err


def timm_model(state):
    return SimpleNamespace(state_dict=lambda: state['model'])


def test_downloads_to_the_place_configs_name(official, tmp_path, monkeypatch):
    asked = []

    def urlopen(request):
        asked.append(request.full_url)
        return Response(as_bytes(official))

    monkeypatch.setattr(torch.hub, 'urlopen', urlopen)
    monkeypatch.setattr('timm.create_model',
                        lambda name, pretrained: timm_model(official))
    monkeypatch.chdir(tmp_path)
    assert tool.main(['--download']) == 0
    assert asked == [tool.SWIN_TINY_URL]
    read_result('pretrain/swin_tiny_patch4_window7_224.pth')
    assert len(list((tmp_path / 'pretrain').iterdir())) == 1
    assert tool.main(['--download', '--source', 'timm', 'timm.pth']) == 0
    read_result('timm.pth')


def offline(*args, **kwargs):
    raise FileNotFoundError('no route')


@pytest.mark.parametrize('source, said', [
    ('official', ['no route', '--source timm', tool.SWIN_TINY_URL]),
    ('timm', ['no route', '--source official']),
    ('half', ['not a whole checkpoint']),
])
def test_failed_downloads_leave_nothing(official, tmp_path, monkeypatch,
                                        capsys, source, said):
    """And the user reads what to put where."""
    half = as_bytes(official)[:-100]
    monkeypatch.setattr('timm.create_model', offline)
    monkeypatch.setattr(
        torch.hub, 'urlopen',
        offline if source != 'half' else lambda request: Response(half))
    out = tmp_path / 'swin.pth'
    given = 'timm' if source == 'timm' else 'official'
    assert tool.main(['--download', '--source', given, str(out)]) == 1
    text = capsys.readouterr().err
    assert str(out) in text and all(words in text for words in said)
    assert list(tmp_path.iterdir()) == []
