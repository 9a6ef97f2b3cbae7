"""Files of tensors that are damaged or claim what they do not hold."""
import os
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mbos.io.weights_file import read_safetensors, read_weights_only
from tests.bombs import HostileCode


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
    torch.save(HostileCode(), 'b.pth', _use_new_zipfile_serialization=zipped)
    assert 'posix.system' in refused('b.pth')
    assert sorted(os.listdir()) == ['a.pth', 'b.pth']


def flip_a_bit():
    """torch.load does not look at the checksums."""
    content = bytearray(Path('a.pth').read_bytes())
    content[len(content) // 2] = 1
    Path('a.pth').write_bytes(content)
    assert torch.load('a.pth')['a'].count_nonzero() == 1


def pack():
    """A million zeros pack to a thousand bytes."""
    with zipfile.ZipFile('a.pth') as source:
        entries = {name: source.read(name) for name in source.namelist()}
    with zipfile.ZipFile('a.pth', 'w', zipfile.ZIP_DEFLATED) as target:
        for name, content in entries.items():
            target.writestr(name, content)
    assert os.path.getsize('a.pth') < 20000


@pytest.mark.parametrize('tensor, damage, words', [
    (torch.zeros(1000), flip_a_bit, 'checksum of a/data/0 is wrong'),
    (torch.zeros(10**6), pack, 'unpack to more than it is'),
    (torch.zeros(1).expand(10**12), None, 'larger than the file'),
    (torch.eye(3).to_sparse(), None, 'not plain'),
    (torch.empty(2, device='meta'), None, 'not plain'),
])
def test_damaged_files_and_odd_tensors(tensor, damage, words):
    torch.save(dict(a=tensor, b=[dict(c=tensor)]), 'a.pth')
    if damage:
        damage()
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
