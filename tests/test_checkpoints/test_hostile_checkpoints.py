"""A file that would run code runs none, whichever tool opens it."""
import os
import pickle

import pytest
import torch

from mbos.checkpoints.loading import read_checkpoint


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return os.mkdir, (self.target, )


PLACES = dict(
    meta=lambda content, load: content['meta'].update(palette=load),
    optimizer=lambda content, load: content.update(optimizer=load),
    weights=lambda content, load: content['state_dict'].update(x=load))


@pytest.fixture
def hostile(runs, tmp_path):
    """Function that writes a whole checkpoint with a payload in a place.

    The payload makes the folder ``tmp_path / 'run'``.
    """

    def write(place, zipped=True):
        content = torch.load(runs.checkpoint1, weights_only=True)
        PLACES[place](content, Payload(tmp_path / 'run'))
        path = tmp_path / 'hostile.pth'
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
        return path

    return write


def test_the_payload_works(hostile, tmp_path):
    torch.load(hostile('optimizer'), weights_only=False)
    assert (tmp_path / 'run').is_dir()


@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize('place', PLACES)
def test_reading(hostile, tmp_path, place, zipped):
    with pytest.raises(ValueError, match='hostile.pth.*plain values'):
        read_checkpoint(str(hostile(place, zipped)))
    assert not (tmp_path / 'run').exists()


def test_reading_a_plain_pickle(tmp_path):
    path = tmp_path / 'hostile.pth'
    path.write_bytes(pickle.dumps(Payload(tmp_path / 'run')))
    with pytest.raises(ValueError, match='plain values'):
        read_checkpoint(str(path))
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize('name, arguments', [
    ('test.py', ('CONFIG', 'FILE', '--eval', 'mIoU')),
    ('train.py', ('CONFIG', '--load-from', 'FILE')),
    ('train.py', ('CONFIG', '--resume-from', 'FILE')),
    ('train.py', ('CONFIG', '--cfg-options', 'model.pretrained=FILE')),
    ('generate_pseudo_labels.py', ('STAGE2', 'FILE')),
    ('publish_model.py', ('FILE', 'out/model')),
    ('convert_pssnet_checkpoint.py', ('FILE', 'out.pth', '--to-release')),
    ('convert_swin_checkpoint.py', ('FILE', 'out.pth')),
])
def test_tools(runs, tool, hostile, tmp_path, capfd, name, arguments):
    path = str(hostile('meta'))
    places = dict(CONFIG=runs.config1, STAGE2=runs.config2)
    status = tool(name,
                  *(places.get(a, a).replace('FILE', path) for a in arguments))
    captured = capfd.readouterr()
    message = captured.out + captured.err + str(status)
    assert status not in (None, 0)
    assert path in message and 'Traceback' not in message
    assert os.listdir(tmp_path) == ['hostile.pth']
