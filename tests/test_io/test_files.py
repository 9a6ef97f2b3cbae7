import json
import os

import pytest

from mbos.io.files import save_json


def test_content_and_folder(tmp_path):
    path = tmp_path / 'new' / 'figures.json'
    save_json(
        str(path),
        dict(a=[1, float('nan')], b=(float('inf'), 2.5), c=dict(d=None)))
    assert json.loads(path.read_text()) == dict(
        a=[1, None], b=[None, 2.5], c=dict(d=None))
    assert os.listdir(path.parent) == ['figures.json']


def test_failure_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / 'figures.json'
    save_json(str(path), dict(a=1))
    with pytest.raises(TypeError):
        save_json(str(path), dict(a=object()))
    assert json.loads(path.read_text()) == dict(a=1)
    assert os.listdir(tmp_path) == ['figures.json']
