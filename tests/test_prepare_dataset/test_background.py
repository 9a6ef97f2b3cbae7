"""prepare_dataset.background: masks of photographs without a structure."""
import numpy as np
import pytest
from PIL import Image

from mbos.io.labels import read_labels, save_labels
from prepare_dataset.background import main


@pytest.fixture
def split(tmp_path):
    """A prepared split of a diseased and a healthy eye."""
    (tmp_path / 'images').mkdir()
    for name, size in {'01_dr': (30, 20), '01_h': (24, 16)}.items():
        Image.new('RGB', size).save(tmp_path / 'images' / f'{name}.jpg')
    return tmp_path


def test_masks_of_the_photographs_that_are_named(split, capsys):
    assert main([str(split), 'lesion', '--images', '*_h']) == 0
    assert [p.name for p in (split / 'lesion').iterdir()] == ['01_h.png']
    mask = read_labels(str(split / 'lesion/01_h.png'))
    np.testing.assert_array_equal(mask, np.zeros((16, 24)))
    assert '1 masks of background' in capsys.readouterr().out
    annotated = split / 'lesion/01_dr.png'
    save_labels(annotated, np.ones((20, 30), np.uint8))
    assert main([str(split), 'lesion']) == 1
    assert '01_dr.png: is there and shows something' in capsys.readouterr().err
    assert main([str(split), 'lesion', '--force']) == 0
    assert not read_labels(str(annotated)).any()


@pytest.mark.parametrize('folder, images, message', [
    ('', '*_g', 'no image is named'),
    ('images', '*', 'give a prepared split'),
])
def test_refuses_what_has_no_image(split, folder, images, message, capsys):
    assert main([str(split / folder), 'lesion', '--images', images]) == 1
    assert message in capsys.readouterr().err
