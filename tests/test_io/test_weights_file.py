"""Files of tensors that are damaged or claim what they do not hold."""
import os
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mbos.io.weights_file import read_safetensors, read_weights_only


class Hostile:

    def __reduce__(self):
        return os.system, ('touch was_run', )


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def refused(path, read=read_weights_only):
    with pytest.raises(ValueError) as error:
        read(path)
    assert path in str(error.value) and str(error.value).isprintable()
    return str(error.value)


@pytest.mark.parametrize('zipped', [True, False])
def test_what_is_read_and_what_is_not(zipped):
    value = dict(a=torch.arange(3.), b=[1, dict(c='x')])
    torch.save(value, 'a.pth', _use_new_zipfile_serialization=zipped)
    found = read_weights_only('a.pth')
    assert torch.equal(found['a'], value['a']) and found['b'] == value['b']
    torch.save(
        dict(a=Hostile()), 'b.pth', _use_new_zipfile_serialization=zipped)
    assert 'posix.system' in refused('b.pth')
    assert sorted(os.listdir()) == ['a.pth', 'b.pth']


def test_flipped_bit_in_a_tensor():
    """torch.load does not look at the checksums."""
    torch.save(dict(a=torch.zeros(1000)), 'a.pth')
    content = bytearray(Path('a.pth').read_bytes())
    content[len(content) // 2] = 1
    Path('a.pth').write_bytes(content)
    assert torch.load('a.pth')['a'].count_nonzero() == 1
    assert 'checksum of a/data/0 is wrong' in refused('a.pth')


def test_packed_archive():
    """A million zeros pack to a thousand bytes."""
    torch.save(dict(a=torch.zeros(10**6)), 'a.pth')
    with zipfile.ZipFile('a.pth') as source, zipfile.ZipFile(
            'b.pth', 'w', zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    assert os.path.getsize('b.pth') < 20000
    assert 'unpack to more than it is' in refused('b.pth')


@pytest.mark.parametrize('tensor, words', [
    (torch.zeros(1).expand(10**12), 'larger than the file'),
    (torch.eye(3).to_sparse(), 'not plain'),
    (torch.empty(2, device='meta'), 'not plain'),
])
def test_tensors_that_are_no_plain_ones(tensor, words):
    torch.save(dict(state_dict=dict(a=[tensor])), 'a.pth')
    assert words in refused('a.pth')


def test_safetensors():
    save_file(dict(a=torch.arange(3.)), 'a.safetensors')
    assert torch.equal(
        read_safetensors('a.safetensors')[0]['a'], torch.arange(3.))
    path = Path('a.safetensors')
    content = path.read_bytes()
    for damaged in (b'', content[:20], content[:-1],
                    b'\xff' * 8 + content[8:]):
        path.write_bytes(damaged)
        assert 'not a whole safetensors file' in refused(
            'a.safetensors', read_safetensors)
