"""prepare_dataset.background: masks of photographs without a structure."""
import numpy as np
from PIL import Image

from mbos.io.labels import read_labels, save_labels
from prepare_dataset.background import main


def test_masks_of_the_photographs_that_are_named(tmp_path, capsys):
    (tmp_path / 'images').mkdir()
    for name, size in {'01_dr': (30, 20), '01_h': (24, 16)}.items():
        Image.new('RGB', size).save(tmp_path / 'images' / f'{name}.jpg')

    def run(*options):
        return main([str(tmp_path), 'lesion', *options])

    assert run('--images', '*_h') == 0
    assert [p.name for p in (tmp_path / 'lesion').iterdir()] == ['01_h.png']
    mask = read_labels(str(tmp_path / 'lesion/01_h.png'))
    np.testing.assert_array_equal(mask, np.zeros((16, 24)))
    annotated = tmp_path / 'lesion/01_dr.png'
    save_labels(annotated, np.ones((20, 30), np.uint8))
    assert run() == run('--images', '*_g') == 1
    shown = capsys.readouterr().err
    assert '01_dr.png: is there and shows' in shown and 'no image' in shown
    assert run('--force') == 0
    assert not read_labels(str(annotated)).any()
