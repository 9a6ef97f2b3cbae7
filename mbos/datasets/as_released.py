"""The data of a published config, with the release's behaviour switched on.

Configs cannot change single entries of inherited lists, so the configs named
``*_as_released.py`` call this (docs/method.md, section 8, and
docs/as_released.md).
"""
from collections.abc import Sequence

from mmcv import Config


def set_arguments(cfg, arguments: dict[str, dict]):
    """Copy a nested config, giving arguments to all its parts of some types.
    """
    if isinstance(cfg, dict):
        copy = {k: set_arguments(v, arguments) for k, v in cfg.items()}
        return copy | arguments.get(copy.get('type'), {})
    if isinstance(cfg, (list, tuple)):
        return type(cfg)(set_arguments(value, arguments) for value in cfg)
    return cfg


def plain_loading(pipeline: Sequence[dict]) -> list[dict]:
    """Load, resize and crop as the release does: all of the image.

    ``LoadRandomCrop``, which only differs in time and rounding, is replaced
    by mmseg's transforms.
    """
    found = []
    for step in pipeline:
        if step['type'] != 'LoadRandomCrop':
            found.append(step)
            continue
        keys = {'img_scale', 'ratio_range', 'keep_ratio'} & step.keys()
        found += [
            dict(type='LoadImageFromFile'),
            dict(type='LoadPlanes'),
            dict(type='Resize', **{key: step[key]
                                   for key in keys}),
            dict(type='RandomCrop', crop_size=step['crop_size'])
        ]
    return found


def published_data(config: str, arguments: dict[str, dict],
                   labelled_arguments: dict[str, dict],
                   borders: dict[str, dict], val: Sequence[str]) -> dict:
    """``data`` and ``test_sets`` of a config as the release has them.

    Arguments are by type name, for all sets or for training sets with ground
    truth only. ``borders`` are arguments of ``LabelBorder`` by name of a
    training set with ground truth, put after ``LoadPlanes``; ``val`` are the
    names of the ``test_sets`` to validate on.
    """
    cfg = Config.fromfile(config)
    data = set_arguments(cfg.data, arguments)
    test_sets = set_arguments(cfg.test_sets, arguments)
    members = data['train']['datasets']
    for index, member in enumerate(members):
        member['pipeline'] = plain_loading(member['pipeline'])
        if not member.get('ann_dirs'):
            continue
        members[index] = member = set_arguments(member, labelled_arguments)
        if member['name'] in borders:
            kinds = [step['type'] for step in member['pipeline']]
            member['pipeline'].insert(
                kinds.index('LoadPlanes') + 1,
                dict(type='LabelBorder', **borders[member['name']]))
    data['val'] = dict(
        type='EvaluationSets', datasets=[test_sets[name] for name in val])
    return dict(data=data, test_sets=test_sets)
