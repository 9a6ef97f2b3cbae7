import pytest
import torch

from mbos.models.inference import (complete_test_cfg, mean_probabilities,
                                   mirrored_back, unique_views)


@pytest.mark.parametrize('given, expected', [
    (None, dict(mode='whole')),
    (dict(mode='slide'),
     dict(mode='slide', crop_size=(512, 512), stride=(341, 341))),
    (dict(mode='slide', crop_size=300),
     dict(mode='slide', crop_size=(300, 300), stride=(200, 200))),
    (dict(mode='slide', crop_size=(64, 96), stride=[32, 48]),
     dict(mode='slide', crop_size=(64, 96), stride=(32, 48))),
])
def test_what_a_config_leaves_out(given, expected):
    assert complete_test_cfg(given) == expected


def test_options_come_before_the_config():
    own = dict(mode='slide', crop_size=(64, 64), stride=(32, 32))
    assert complete_test_cfg(own, mode='whole')['mode'] == 'whole'
    # the config's stride belongs to the config's window
    assert complete_test_cfg(own, window=90)['stride'] == (60, 60)
    assert complete_test_cfg(own, stride=16)['crop_size'] == (64, 64)
    assert own == dict(mode='slide', crop_size=(64, 64), stride=(32, 32))


@pytest.mark.parametrize('wrong, message', [
    (dict(mode='crop'), "'crop': use one of"),
    (dict(mode='slide', crop_size=(32, 32), stride=(33, 16)), 'left out'),
    (dict(mode='slide', crop_size=0.5), 'crop_size is 0.5'),
    (dict(mode='slide', crop_size=(32, )), 'expected pixels'),
])
def test_windows_that_do_not_work(wrong, message):
    with pytest.raises(ValueError, match=message):
        complete_test_cfg(wrong)


def test_views_are_mirrored_back_and_averaged():
    """Two classes, two views of one row; probabilities by hand."""
    plain = torch.tensor([[[0., 0.]], [[100., -100.]]])
    mirrored = torch.tensor([[[100., -100.]], [[100., -100.]]])
    back = mirrored_back(mirrored,
                         dict(flip=True, flip_direction='horizontal'))
    assert back[0, 0].tolist() == [-100, 100]
    found = mean_probabilities([plain, back], (1, 2), False)
    assert found.tolist() == [[[0.25, 0.75]], [[0.5, 0.5]]]


def test_repeated_views_count_once():
    image = torch.zeros(3, 4, 4)
    straight = dict(flip=False, flip_direction='vertical')
    metas = [
        dict(flip=False, flip_direction='horizontal'), straight,
        dict(flip=True, flip_direction='vertical')
    ]
    views, kept = unique_views([image] * 3, metas)
    assert kept == [metas[0], metas[2]] and len(views) == 2
