"""report.html of tools/test.py, with a tiny network on tiny images."""
import json
import os
import re

import numpy as np
import pytest
from PIL import Image

from mbos.evaluation.report import KINDS


@pytest.fixture
def report(runs, tool, tmp_path):
    """The page of both test sets of stage 1, one image of each kind."""
    assert tool('test.py', runs.config1, runs.checkpoint1, '--eval', 'mIoU',
                '--datasets', 'all', '--work-dir', 'w', '--report-images',
                '1') is None
    return tmp_path / 'w/report.html'


def test_figures_and_pictures_are_those_of_the_run(report, runs):
    text = report.read_text()
    assert 'Evaluation of stage1' in text and 'eval_c1_lesion.csv' in text
    lesion = json.loads(
        (report.parent / 'eval_c1.json').read_text())['tasks']['lesion']
    values = [cell['value'] for row in lesion['comparable'].values()
              for cell in row.values()]  # yapf: disable
    assert all(f'{v:.4f}' in text for v in values if v is not None)
    dice = {
        row['name']: row['Dice']['mean']
        for row in lesion['per_image'] if row['Dice']['mean'] is not None
    }
    folder = report.parent / 'report_files/c1/lesion'
    ranked = sorted(dice, key=dice.get)
    shown = {ranked[0], ranked[-1]}
    pictures = {f'{name}_{kind}.jpg' for name in shown for kind in KINDS}
    assert set(os.listdir(folder)) == pictures
    for picture in pictures:
        assert f'src="report_files/c1/lesion/{picture}"' in text
    name = shown.pop()
    truth, photo = (
        np.array(Image.open(folder / f'{name}_{kind}.jpg')).astype(int)
        for kind in ('truth', 'photograph'))
    plane = np.array(Image.open(runs.data / f'c1_test/lesion/{name}.png'))
    change = np.abs(truth - photo).sum(axis=2)
    assert change[plane > 0].mean() > 10 * change[plane == 0].mean()


def test_sets_one_after_the_other(runs, tool, tmp_path):
    """The page has all sets of the checkpoint, and none of another."""
    page, old = tmp_path / 'w/report.html', tmp_path / 'w/eval_c0.json'

    def run(name, *options):
        assert tool('test.py', runs.config1, runs.checkpoint1, '--eval',
                    'mIoU', '--work-dir', 'w', '--datasets', name,
                    *options) is None
        return page.read_text()

    run('c0', '--report-images', '1')
    text = run('c1', '--report-images', '0')
    assert re.findall(r'<section class="panel" id="(.*?)"',
                      text) == ['overview', 'c0.vessel', 'c1.lesion']
    assert 'report_files/c0/' in text and 'report_files/c1/' not in text
    old.write_text(
        json.dumps(
            dict(json.loads(old.read_text()), checkpoint_sha256='f' * 64)))
    assert run('c1', '--no-report') == text
    text = run('c1')
    assert 'c0.vessel' not in text and 'report_files/c1/' in text
