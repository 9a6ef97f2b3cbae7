"""The data of a published config, with the release's behaviour switched on.

Configs cannot change single entries of inherited lists, so the configs named
``*_as_released.py`` call this (docs/as_released.md).
"""
from collections.abc import Mapping, Sequence

from mmcv import Config


def set_arguments(cfg, arguments: Mapping[str, dict]):
    """Copy a nested config, giving arguments to all parts of some types."""
    if isinstance(cfg, dict):
        copy = {k: set_arguments(v, arguments) for k, v in cfg.items()}
        return copy | arguments.get(copy.get('type'), {})
    if isinstance(cfg, (list, tuple)):
        return type(cfg)(set_arguments(value, arguments) for value in cfg)
    return cfg


def plain_loading(pipeline: Sequence[dict]) -> list[dict]:
    """Load, resize and crop all of the image, as the release does, instead of
    by the ``LoadRandomCrop`` that a pipeline begins with.
    """
    load, *rest = pipeline
    keys = {'img_scale', 'ratio_range', 'keep_ratio'} & load.keys()
    resize = dict(type='Resize') | {key: load[key] for key in keys}
    crop = dict(type='RandomCrop', crop_size=load['crop_size'])
    first = [dict(type='LoadImageFromFile'), dict(type='LoadPlanes')]
    return [*first, resize, crop, *rest]


def published_data(config: str, arguments: Mapping[str, dict],
                   labelled_arguments: Mapping[str, dict], border: Mapping,
                   val: Sequence[str]) -> dict:
    """``data`` and ``test_sets`` of a config as the release has them.

    Arguments are by type name, for all sets or for training sets with ground
    truth only. ``border`` are those of ``LabelBorder`` for training sets with
    truth of its task; ``val`` are the ``test_sets`` to validate on.
    """
    cfg = Config.fromfile(config)
    data = set_arguments(cfg.data, arguments)
    test_sets = set_arguments(cfg.test_sets, arguments)
    for member in data['train']['datasets']:
        truth = member.get('ann_dirs') or {}
        if truth:
            member.update(set_arguments(member, labelled_arguments))
        member['pipeline'] = plain_loading(member['pipeline'])
        if border['task'] in truth:
            member['pipeline'].insert(2, dict(type='LabelBorder', **border))
    val_sets = [test_sets[name] for name in val]
    data['val'] = dict(type='EvaluationSets', datasets=val_sets)
    return dict(data=data, test_sets=test_sets)
