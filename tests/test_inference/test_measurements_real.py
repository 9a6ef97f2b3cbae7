"""Measurements of real photographs' truth: the table of docs/measurements.md.

``MBOS_REAL_DATA=DIR pytest tests/test_inference/test_measurements_real.py -s``
prints it.
"""
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from mbos.inference.measurements import measure
from mbos.io.field_of_view import find_field_of_view
from mbos.io.photographs import read_photograph
from mbos.tasks import LESION, ODOC, VESSEL

ROOT = Path(os.environ.get('MBOS_REAL_DATA', 'missing'))
pytestmark = pytest.mark.skipif(
    not ROOT.is_dir(), reason='set MBOS_REAL_DATA to the real photographs')
LESION_FOLDERS = ('3. Hard Exudates', '2. Haemorrhages', '4. Soft Exudates',
                  '1. Microaneurysms')


def mask(path):
    return np.array(Image.open(path).convert('L'))


def measured(path, labels, task):
    view = find_field_of_view(read_photograph(str(path)).image)
    assert view.certain, path
    return measure({task.name: labels.astype(np.uint8)}, [task], view)


def largest(quantity, errors):
    """The largest error, after it and the mean are printed."""
    errors = np.abs(errors)
    print(f'\n{quantity}: {len(errors)} photographs, mean absolute error '
          f'{errors.mean():.4f}, largest {errors.max():.4f}')
    return errors.max()


def test_discs_and_cups_of_drishti():
    ratios, centres = [], []
    for truth in sorted(ROOT.glob('Drishti-GS*/T*/GT/*')):
        maps = truth / 'SoftMap'
        disc, cup = (mask(maps / f'{truth.name}_{part}segSoftmap.png') >= 128
                     for part in ('OD', 'cup'))  # yapf: disable
        image, = (truth.parents[1] / 'Images/ALL').glob(f'{truth.name}.*')
        row = measured(image, np.where(cup, 2, disc), ODOC)
        assert row['eye_side'] is None, 'centred'
        published = truth / f'{truth.name}_cdrValues.txt'
        if not published.exists():  # smaller copies
            continue
        ratio = row['odoc.cup_to_disc_vertical']
        ratios.append(ratio - np.loadtxt(published).mean())
        y, x = np.loadtxt(truth / f'AvgBoundary/{truth.name}_diskCenter.txt')
        off = np.hypot(row['odoc.disc.centre_x_px'] - x,
                       row['odoc.disc.centre_y_px'] - y)
        centres.append(off / row['odoc.disc.vertical_diameter_px'])
    assert largest('cup-to-disc ratio', ratios) < 0.04
    assert largest('disc centre / disc diameter', centres) < 0.02


def test_vessel_density_of_drive():
    errors = []
    for image in sorted((ROOT / 'DRIVE').glob('*/images/*.tif')):
        folder, number = image.parents[1], image.name[:2]
        vessels = mask(folder / '1st_manual' / f'{number}_manual1.gif') > 0
        fov = mask(folder / 'mask' / f'{image.stem}_mask.gif') > 0
        row = measured(image, vessels, VESSEL)
        errors.append(row['vessel.density'] - vessels[fov].mean())
    assert largest('vessel density', errors) < 0.002


def test_lesions_and_discs_of_idrid():
    """Every class against plain counts of its mask."""
    sides, areas = {}, []
    for image in sorted(ROOT.glob('IDRiD*/A. Segmentation/1. Or*/*/*.jpg')):
        truth = image.parents[2] / '2. All Segmentation Groundtruths'
        truth /= image.parent.name
        disc = mask(truth / '5. Optic Disc' / f'{image.stem}_OD.tif') > 0
        lesions = np.zeros(disc.shape, np.uint8)
        for value, folder in enumerate(LESION_FOLDERS, 1):
            for path in (truth / folder).glob(f'{image.stem}_*.tif'):
                lesions[mask(path) > 0] = value
        row = measured(image, lesions, LESION) | measured(image, disc, ODOC)
        trues = {'odoc.disc': disc}
        for value, key in enumerate(LESION.classes, 1):
            trues[f'lesion.{key}'] = lesions == value
        for key, true in trues.items():
            count = ndimage.label(true, np.ones((3, 3)))[1]
            assert row[f'{key}.components'] == count
            if true.any():
                areas.append(row[f'{key}.area_px'] / true.sum() - 1)
        sides.setdefault(image.name, row['eye_side'])
    assert largest('area by area of the mask', areas) < 0.005
    assert [*sides.values()].count(None) == 1 and len(sides) == 16
