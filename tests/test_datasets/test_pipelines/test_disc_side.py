import numpy as np
import pytest

from mbos.datasets.pipelines.transforms import DiscSideFlip
from mbos.io.labels import save_labels
from mbos.io.photographs import Layout


def disc(column):
    """A disc of 4 x 4 pixels that begins at a column of 20."""
    labels = np.zeros((10, 20), np.uint8)
    labels[3:7, column:column + 4] = 1
    labels[4:6, column + 1:column + 3] = 2
    return labels


SPECKS = disc(1)
SPECKS[::2, 12:] = 1  # more pixels than the disc, but no part is larger
IGNORED = disc(14)
IGNORED[:, :10] = 255


@pytest.mark.parametrize('labels, side', [
    (disc(2), 'left'),
    (disc(15), 'right'),
    (SPECKS, 'left'),
    (IGNORED, 'right'),
    (0 * SPECKS, None),
])
@pytest.mark.parametrize('wanted', ['left', 'right'])
def test_flips_eyes_to_one_side(tmp_path, labels, side, wanted):
    save_labels(tmp_path / 'eye 1.png', labels)
    flip = DiscSideFlip(str(tmp_path), wanted)
    shown = labels[:, ::-1] if side not in (None, wanted) else labels
    for _ in range(2):
        results = flip({
            'img': np.repeat(labels[..., None], 3, 2),
            'img_info': dict(stem='eye 1'),
            'layout': Layout((10, 20)),
            'seg_fields': ['labels.odoc'],
            'labels.odoc': labels
        })
        assert (results['labels.odoc'] == shown).all()
        assert (results['img'][..., 0] == shown).all()


@pytest.mark.parametrize('values', [None, (255, 255), (1, 4)])
def test_what_is_not_a_map_of_discs(tmp_path, values):
    """None at all, a mask in black and white, and a map of lesions."""
    if values:
        labels = np.zeros((10, 20), np.uint8)
        labels[0, :2] = values
        save_labels(tmp_path / 'eye.png', labels)
    results = dict(img_info=dict(stem='eye'), layout=Layout((10, 20)))
    with pytest.raises(ValueError, match='eye.png: '):
        DiscSideFlip(str(tmp_path))(results)
    with pytest.raises(ValueError, match="'top'"):
        DiscSideFlip(str(tmp_path), 'top')
