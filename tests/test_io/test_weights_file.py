"""Files of tensors that are damaged or claim what they do not hold."""
import os
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from mbos.io.weights_file import read_safetensors, read_weights_only


class Hostile:

    def __reduce__(self):
        return os.system, ('touch was_run', )


def refused(path, read=read_weights_only):
    with pytest.raises(ValueError) as error:
        read(str(path))
    assert str(path) in str(error.value)
    assert str(error.value).isprintable()
    return str(error.value)


@pytest.mark.parametrize('zipped', [True, False])
def test_whole_files(tmp_path, zipped):
    value = dict(a=torch.arange(3.), b=[1, dict(c='x')])
    torch.save(
        value, tmp_path / 'a.pth', _use_new_zipfile_serialization=zipped)
    found = read_weights_only(str(tmp_path / 'a.pth'))
    assert torch.equal(found['a'], value['a']) and found['b'] == value['b']


@pytest.mark.parametrize('zipped', [True, False])
def test_code_is_not_run(tmp_path, monkeypatch, zipped):
    monkeypatch.chdir(tmp_path)
    torch.save(
        dict(a=Hostile()), 'a.pth', _use_new_zipfile_serialization=zipped)
    assert 'posix.system' in refused('a.pth')
    assert os.listdir() == ['a.pth']


def test_flipped_bit_in_a_tensor(tmp_path):
    """torch.load does not look at the checksums."""
    path = tmp_path / 'a.pth'
    torch.save(dict(a=torch.zeros(1000)), path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert torch.load(path)['a'].count_nonzero() == 1
    assert 'checksum of a/data/0 is wrong' in refused(path)


def test_packed_archive(tmp_path):
    """A million zeros pack to a thousand bytes."""
    torch.save(dict(a=torch.zeros(10**6)), tmp_path / 'a.pth')
    with zipfile.ZipFile(tmp_path / 'a.pth') as source, zipfile.ZipFile(
            tmp_path / 'b.pth', 'w', zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    assert os.path.getsize(tmp_path / 'b.pth') < 20000
    assert 'unpack to more than it is' in refused(tmp_path / 'b.pth')


@pytest.mark.parametrize('tensor, words', [
    (torch.zeros(1).expand(10**12), 'larger than the file'),
    (torch.eye(3).to_sparse(), 'not a plain one'),
    (torch.empty(2, device='meta'), 'not a plain one'),
    (torch.quantize_per_tensor(torch.ones(2), 1., 0,
                               torch.qint8), 'not a plain one'),
])
def test_tensors_that_are_no_plain_ones(tmp_path, tensor, words):
    path = tmp_path / 'a.pth'
    torch.save(dict(state_dict=dict(a=[tensor])), path)
    assert words in refused(path)


def test_no_regular_file(tmp_path):
    os.mkfifo(tmp_path / 'a.pth')
    assert 'but a pipe' in refused(tmp_path / 'a.pth')


def test_safetensors(tmp_path):
    path = tmp_path / 'a.safetensors'
    save_file(dict(a=torch.arange(3.)), path)
    assert torch.equal(read_safetensors(str(path))[0]['a'], torch.arange(3.))
    content = path.read_bytes()
    for damaged in (b'', content[:20], content[:-1],
                    b'\xff' * 8 + content[8:]):
        path.write_bytes(damaged)
        assert 'not a whole safetensors file' in refused(
            path, read_safetensors)
