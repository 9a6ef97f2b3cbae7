"""The tool that measures data loading, on a small photograph."""
import cv2
import numpy as np

from benchmarks import data
from mbos.io.files import save_image


def test_all_ways_are_measured(tmp_path, capsys):
    raw = tmp_path / 'IDRiD/A. Segmentation'
    image = np.zeros((480, 720, 3), np.uint8)
    cv2.circle(image, (360, 240), 230, (200, 90, 40), -1)
    save_image(raw / '1. Original Images/a. Training Set/IDRiD_01.jpg', image)
    masks = raw / '2. All Segmentation Groundtruths/a. Training Set'
    for group in ('3. Hard Exudates', '5. Optic Disc'):
        mask = np.zeros((480, 720), bool)
        mask[200:240, 300:340] = True
        name = 'EX' if 'Hard' in group else 'OD'
        save_image(masks / group / f'IDRiD_01_{name}.tif', mask)
    assert data.main([str(raw.parent), '--samples', '2', '--rounds', '1']) == 0
    out = capsys.readouterr().out
    for head in ('full, labelled: milliseconds', 'default, strong',
                 'LoadRandomCrop', 'LoadPhotograph', 'FormatPlanes'):
        assert f'| {head}' in out
