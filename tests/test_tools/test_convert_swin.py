"""tools/convert_swin_checkpoint.py converts, downloads and explains."""
import io
import urllib.error
from email.message import Message

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


def test_downloads_to_the_place_configs_name(official, tmp_path, monkeypatch):
    asked = []

    def urlopen(request):
        asked.append(request.full_url)
        return Response(as_bytes(official))

    monkeypatch.setattr(torch.hub, 'urlopen', urlopen)
    monkeypatch.chdir(tmp_path)
    assert tool.main(['--download']) == 0
    assert asked == [tool.SWIN_TINY_URL]
    read_result('pretrain/swin_tiny_patch4_window7_224.pth')
    assert len(list((tmp_path / 'pretrain').iterdir())) == 1


def test_without_network_says_what_to_put_where(tmp_path, monkeypatch, capsys):

    def urlopen(request):
        raise urllib.error.URLError('no route')

    monkeypatch.setattr(torch.hub, 'urlopen', urlopen)
    out = tmp_path / 'swin.pth'
    assert tool.main(['--download', str(out)]) == 1
    text = capsys.readouterr().err
    assert 'no route' in text
    assert tool.SWIN_TINY_URL in text and str(out) in text
    assert '--source timm' in text
    assert list(tmp_path.iterdir()) == []


def test_half_a_download_is_not_kept(official, tmp_path, monkeypatch, capsys):
    data = as_bytes(official)
    monkeypatch.setattr(torch.hub, 'urlopen',
                        lambda request: Response(data[:-100]))
    assert tool.main(['--download', str(tmp_path / 'swin.pth')]) == 1
    assert 'not a whole checkpoint' in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_timm_source(official, tmp_path, monkeypatch):
    timm = pytest.importorskip('timm')

    class Model:

        def state_dict(self):
            return official['model']

    def create_model(name, pretrained):
        assert name == tool.TIMM_NAME and pretrained
        return Model()

    monkeypatch.setattr(timm, 'create_model', create_model)
    out = tmp_path / 'swin.pth'
    assert tool.main(['--download', '--source', 'timm', str(out)]) == 0
    read_result(out)


def test_timm_without_network(tmp_path, monkeypatch, capsys):
    timm = pytest.importorskip('timm')

    def create_model(name, pretrained):
        raise FileNotFoundError('offline')

    monkeypatch.setattr(timm, 'create_model', create_model)
    out = tmp_path / 'swin.pth'
    assert tool.main(['--download', '--source', 'timm', str(out)]) == 1
    text = capsys.readouterr().err
    assert 'offline' in text and '--source official' in text
    assert not out.exists()
