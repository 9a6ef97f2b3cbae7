"""The data of a published config, with the release's behaviour switched on.

Configs cannot change single entries of inherited lists, so the configs named
``*_as_released.py`` call this (docs/method.md, section 8, and
docs/as_released.md).
"""
from collections.abc import Mapping, Sequence

from mmcv import Config

Arguments = Mapping[str, dict]


def set_arguments(cfg, arguments: Arguments):
    """Copy a nested config, giving arguments to all its parts of some types.
    """
    if isinstance(cfg, dict):
        copy = {k: set_arguments(v, arguments) for k, v in cfg.items()}
        return copy | arguments.get(copy.get('type'), {})
    if isinstance(cfg, (list, tuple)):
        return type(cfg)(set_arguments(value, arguments) for value in cfg)
    return cfg


def plain_loading(pipeline: Sequence[dict],
                  border: dict | None = None) -> list[dict]:
    """Load, resize and crop all of the image, as the release does, instead of
    by the ``LoadRandomCrop`` that a pipeline begins with.

    With ``border``, the arguments of a ``LabelBorder`` of the planes.
    """
    load, *rest = pipeline
    keys = {'img_scale', 'ratio_range', 'keep_ratio'} & load.keys()
    resize = {key: load[key] for key in keys}
    borders = [dict(type='LabelBorder', **border)] if border else []
    return [
        dict(type='LoadImageFromFile'),
        dict(type='LoadPlanes'), *borders,
        dict(type='Resize', **resize),
        dict(type='RandomCrop', crop_size=load['crop_size']), *rest
    ]


def published_data(config: str, arguments: Arguments,
                   labelled_arguments: Arguments, borders: Arguments,
                   val: Sequence[str]) -> dict:
    """``data`` and ``test_sets`` of a config as the release has them.

    Arguments are by type name, for all sets or for training sets with ground
    truth only. ``borders`` are those of ``LabelBorder`` by name of a training
    set with ground truth; ``val`` are the ``test_sets`` to validate on.
    """
    cfg = Config.fromfile(config)
    data = set_arguments(cfg.data, arguments)
    test_sets = set_arguments(cfg.test_sets, arguments)
    for member in data['train']['datasets']:
        border = None
        if member.get('ann_dirs'):
            member.update(set_arguments(member, labelled_arguments))
            border = borders.get(member['name'])
        member['pipeline'] = plain_loading(member['pipeline'], border)
    data['val'] = dict(
        type='EvaluationSets', datasets=[test_sets[name] for name in val])
    return dict(data=data, test_sets=test_sets)
