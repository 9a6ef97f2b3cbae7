"""report.html of tools/test.py, with a tiny network on tiny images."""
import json
import os
import re

import numpy as np
import pytest
from PIL import Image

from mbos.evaluation.report import example_pictures
from mbos.tasks import build_tasks
from tests.browser import BROKEN, REFERENCES, ask_page, needs_browser


@pytest.fixture
def report(runs, tool, tmp_path):
    """The page of both test sets of stage 1, one image of each kind."""
    assert tool('test.py', runs.config1, runs.checkpoint1, '--eval', 'mIoU',
                '--datasets', 'all', '--work-dir', 'w', '--report-images',
                '1') is None
    return tmp_path / 'w/report.html'


def content(path):
    with open(path) as file:
        return json.load(file)


def test_figures_and_pictures_are_those_of_the_run(report, runs):
    text = report.read_text()
    one = content(report.parent / 'eval_c1.json')
    for row in one['tasks']['lesion']['comparable'].values():
        for figure in row.values():
            if figure['value'] is not None:
                assert f'{figure["value"]:.4f}' in text
    rows = one['tasks']['lesion']['per_image']
    ranked = [
        r['name'] for r in sorted(
            rows, key=lambda r: (r['Dice']['mean'] is None, r['Dice']['mean']))
        if r['Dice']['mean'] is not None
    ]
    pictures = sorted(os.listdir(report.parent / 'report_files/c1/lesion'))
    assert pictures == sorted(f'{name}_{kind}.jpg'
                              for name in {ranked[0], ranked[-1]}
                              for kind in ('photograph', 'truth',
                                           'prediction'))
    for name in pictures:
        assert f'src="report_files/c1/lesion/{name}"' in text
    truth = np.array(
        Image.open(report.parent /
                   f'report_files/c1/lesion/{ranked[0]}_truth.jpg'))
    photo = np.array(
        Image.open(report.parent /
                   f'report_files/c1/lesion/{ranked[0]}_photograph.jpg'))
    assert truth.shape == photo.shape == (64, 64, 3)
    plane = np.array(Image.open(runs.data / f'c1_test/lesion/{ranked[0]}.png'))
    change = np.abs(truth.astype(int) - photo).sum(axis=2)
    assert change[plane > 0].mean() > 10 * change[plane == 0].mean()
    assert 'Evaluation of stage1' in text and 'eval_c1_lesion.csv' in text


@needs_browser
def test_page_in_a_browser(report):
    seen = ask_page(
        report, f'''{{refs: {REFERENCES}, broken: {BROKEN},
        pictures: document.images.length}}''')
    assert not seen['broken'] and seen['pictures'] == 2 * 2 * 3
    assert {url.split(':')[0] for url in seen['refs']} == {'file', 'data'}


def test_sets_one_after_the_other(runs, tool, tmp_path):
    """The page has all sets of the checkpoint, and none of another."""
    common = ['test.py', runs.config1, runs.checkpoint1, '--eval', 'mIoU']
    assert tool(*common, '--work-dir', 'w', '--datasets', 'c0',
                '--report-images', '1') is None
    old = dict(content(tmp_path / 'w/eval_c0.json'))
    assert tool(*common, '--work-dir', 'w', '--datasets', 'c1',
                '--report-images', '0') is None
    text = (tmp_path / 'w/report.html').read_text()
    assert re.findall(r'<section class="panel" id="(.*?)"',
                      text) == ['overview', 'c0.vessel', 'c1.lesion']
    assert 'report_files/c0/' in text and 'report_files/c1/' not in text
    old['checkpoint_sha256'] = 'f' * 64
    (tmp_path / 'w/eval_c0.json').write_text(json.dumps(old))
    assert tool(*common, '--work-dir', 'w', '--datasets', 'c1',
                '--no-report') is None
    assert (tmp_path / 'w/report.html').read_text() == text
    assert tool(*common, '--work-dir', 'w', '--datasets', 'c1') is None
    text = (tmp_path / 'w/report.html').read_text()
    assert 'c0.vessel' not in text and 'report_files/c1/' in text


def test_report_of_what_is_done_when_an_image_fails(runs, tool, tmp_path,
                                                    monkeypatch):
    from mbos.datasets import PartialLabelDataset
    score = PartialLabelDataset.pre_eval

    def fail(self, preds, indices):
        index = indices[0] if isinstance(indices, list) else indices
        if self.name.startswith('c1') and self.stem(index) == 'eye_1':
            raise ValueError('broken')
        return score(self, preds, indices)

    monkeypatch.setattr(PartialLabelDataset, 'pre_eval', fail)
    code = tool('test.py', runs.config1, runs.checkpoint1, '--eval', 'mIoU',
                '--datasets', 'all', '--work-dir', 'w')
    assert 'broken' in code
    text = (tmp_path / 'w/report.html').read_text()
    assert 'ended early' in text and 'broken' in text
    assert 'id="c0.vessel"' in text


class DiscOnly:
    """A test set with disc masks alone."""

    tasks = build_tasks(['odoc'])
    threshold = 0.5

    def __init__(self, folder):
        self.path = str(folder / 'a.png')
        Image.new('RGB', (1000, 500)).save(self.path)

    def scored_task(self, task):
        return build_tasks([dict(name='odoc', classes=('disc', ))])[0]

    def image_path(self, index):
        return self.path

    def get_gt_plane(self, index, task):
        plane = np.zeros((500, 1000), np.uint8)
        plane[100:400, 300:600] = 1
        return plane


def test_only_scored_classes_are_drawn(tmp_path):
    prob = np.zeros((2, 500, 1000), np.float32)
    prob[0, 200:300, 200:400] = 1
    prob[1, 200:300, 600:900] = 1  # a cup, which the truth does not label
    photo, truth, found = example_pictures(
        DiscOnly(tmp_path), 0, 'odoc', dict(odoc=prob))
    assert photo.shape == truth.shape == found.shape == (320, 640, 3)
    rows, columns = np.nonzero(found.max(axis=2))
    assert columns.max() <= 400 * 0.64 + 2 and columns.min() >= 126
    rows, _ = np.nonzero(truth.max(axis=2))
    assert abs(rows.min() - 64) <= 2 and abs(rows.max() - 255) <= 2
