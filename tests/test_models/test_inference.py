"""Windows, views and their mean."""
import pytest
import torch

from mbos.models.inference import (complete_test_cfg, mean_probabilities,
                                   mirrored_back, unique_views)

OWN = dict(mode='slide', crop_size=(64, 64), stride=(32, 32))


@pytest.mark.parametrize(
    'given, options, expected',
    [
        (None, {}, dict(mode='whole')),
        (dict(mode='slide'), {},
         dict(mode='slide', crop_size=(512, 512), stride=(341, 341))),
        (dict(mode='slide', crop_size=300), {},
         dict(mode='slide', crop_size=(300, 300), stride=(200, 200))),
        (dict(mode='slide', crop_size=(64, 96), stride=[32, 48]), {},
         dict(mode='slide', crop_size=(64, 96), stride=(32, 48))),
        (OWN, dict(mode='whole'), dict(OWN, mode='whole')),
        # the config's stride belongs to the config's window
        (OWN, dict(window=90), dict(OWN, crop_size=(90, 90), stride=(60, 60))),
        (OWN, dict(stride=16), dict(OWN, stride=(16, 16))),
    ])
def test_what_a_config_leaves_out_and_options_change(given, options, expected):
    assert complete_test_cfg(given, **options) == expected


@pytest.mark.parametrize('wrong, message', [
    (dict(mode='crop'), "'crop': use one of"),
    (dict(mode='slide', crop_size=(32, 32), stride=(33, 16)), 'left out'),
    (dict(mode='slide', crop_size=(32, 32), stride=(3, 16)), 'stride 3'),
    (dict(mode='slide', crop_size=31), 'window is 31'),
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
    metas = [
        dict(flip=False, flip_direction='horizontal'),
        dict(flip=False, flip_direction='vertical'),
        dict(flip=True, flip_direction='vertical')
    ]
    views, kept = unique_views([image] * 3, metas)
    assert kept == [metas[0], metas[2]] and len(views) == 2
