"""tools/gallery.py on what tools/predict.py leaves behind."""
import numpy as np
import pytest
from PIL import Image

from mbos.io.files import save_json
from mbos.io.labels import save_labels
from mbos.tasks import ODOC


@pytest.fixture
def predictions(tmp_path):
    """A folder of two photographs, laid out as in docs/prediction.md."""
    plane = np.pad(np.ones((20, 20), np.uint8), ((20, 20), (20, 40)))
    for name in ('a', 'b'):
        photo = tmp_path / f'{name}.png'
        Image.new('RGB', (80, 60), (90, 60, 30)).save(photo)
        labels = f'labels/odoc/{name}.png'
        save_labels(tmp_path / 'out' / labels, plane)
        record = dict(
            name=name, source=str(photo), file=[0, 0], width=80, height=60,
            labels=dict(odoc=labels), probabilities={}, overlay=None,
            measurements=dict(ratio=0.5, flags='two_discs'))  # yapf: disable
        save_json(tmp_path / f'out/records/{name}.json', record)
    task = dict(ODOC.as_config(), palette=[[1, 2, 3], [4, 5, 6]], threshold=.5)
    run = dict(tasks=[task], images=[dict(name='b'), dict(name='a')])
    save_json(tmp_path / 'out/run.json', run)
    return tmp_path / 'out'


def test_page_of_a_folder(tool, predictions, capsys):
    assert tool('gallery.py', predictions, '--size', '64') is None
    text = (predictions / 'gallery.html').read_text()
    assert text.index('title="b"') < text.index('title="a"')
    assert 'two discs' in text and 'rgb(4, 5, 6)' in text
    with Image.open(predictions / 'gallery_files/a.jpg') as picture:
        assert picture.size == (64, 48)
    # photographs that are gone
    (predictions.parent / 'a.png').unlink()
    assert tool('gallery.py', predictions) is None
    assert 'Left out' in capsys.readouterr().out
    assert 'title="a"' not in (predictions / 'gallery.html').read_text()
    (predictions.parent / 'b.png').unlink()
    assert 'none of its 2' in tool('gallery.py', predictions)
    assert 'run.json' in tool('gallery.py', predictions.parent)
