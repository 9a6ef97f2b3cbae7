"""The report on pseudo labels, by hand."""
from types import SimpleNamespace

import numpy as np
import pytest

from mbos.datasets.label_folder import LabelFolder
from mbos.io.labels import save_labels
from mbos.io.photographs import Layout
from mbos.pseudo_labels.generation import ImageFolder
from mbos.pseudo_labels.report import make_report, parse_truth, report_table
from mbos.tasks import ODOC, VESSEL


def labelled(path, task, planes, classes=None):
    """A folder of label maps, as generation returns it."""
    for i, plane in enumerate(planes):
        save_labels(path / f'{i}.png', plane)
    target = LabelFolder(str(path), task, classes or task.classes)
    images = SimpleNamespace(
        stems=list(map(str, range(len(planes)))),
        layout=lambda i: Layout(planes[i].shape))
    return ImageFolder(dict(name='ddr'), [target], images)


@pytest.mark.parametrize('classes', [('disc', 'cup'), ('disc', )])
def test_report_by_hand(tmp_path, classes):
    labels = np.zeros((2, 4, 5), np.uint8)
    labels[0, :2] = 1  # 10 of 40 pixels are disc, 4 of them cup
    labels[0, 0, :4] = 2
    truth = np.zeros((4, 5), np.uint8)
    truth[0] = 1
    truth[3, 0] = 255
    folder = labelled(tmp_path / 'o', ODOC, labels, classes)
    save_labels(tmp_path / 'truth/0.png', truth)
    row, = make_report([folder], {'ddr.odoc': str(tmp_path / 'truth')})
    # disc: 5 pixels in both, 10 and 5 in each; the cup is not there
    expected = dict(
        share=dict(disc=10 / 40, cup=4 / 40),
        images_with_class=dict(disc=1, cup=1),
        Dice=dict(disc=2 * 5 / 15, cup=0.0))
    for key, values in expected.items():
        assert row[key] == pytest.approx({n: values[n] for n in classes})
    assert row['images_with_nothing'] == row['images_with_truth'] == 1
    table = report_table([row])
    assert table[1][2:] == ['disc', '25.000 %', '1 of 2', '1 of 2', '0.6667']


def test_report_warns_of_nearly_empty_folders(tmp_path):
    planes = np.zeros((6, 4, 4), np.uint8)
    planes[0, 0, 0] = 1
    folder = labelled(tmp_path, VESSEL, planes)
    with pytest.warns(UserWarning, match='nothing was found in 83 %'):
        row, = make_report([folder], {})
    assert row['nearly_empty']


def test_truth_arguments(tmp_path):
    given = f'ddr.vessel={tmp_path}'
    folder = labelled(tmp_path, VESSEL, [])
    assert parse_truth([given], [folder]) == {'ddr.vessel': str(tmp_path)}
    for wrong in ('ddr=x', 'ddr.vessel=nowhere', f'ddr.odoc={tmp_path}'):
        with pytest.raises(ValueError, match=f'{wrong}.*: ddr.vessel'):
            parse_truth([wrong], [folder])
