"""Test-time augmentation of the test sets of a config."""
import copy
from collections.abc import Sequence

from mmcv import Config

AUGMENTATION = dict(
    img_ratios=[0.75, 1.0, 1.25], flip_direction=['horizontal', 'vertical'])
"""dict: What ``--aug-test`` does unless the config has ``aug_test``."""


def augment_test_sets(cfg: Config) -> None:
    """Let every test and validation set be predicted several times an image.

    The probabilities of an image are averaged over scales and flips.

    Args:
        cfg (Config): Completed by ``load_config``; changed in place. Its
            ``aug_test`` may give ``img_ratios`` and ``flip_direction``.

    Raises:
        ValueError: If ``aug_test`` is wrong, or a pipeline has no
            ``MultiScaleFlipAug`` with a scale.
    """
    options = dict(AUGMENTATION, **(cfg.get('aug_test') or {}))
    unknown = set(options) - set(AUGMENTATION)
    if unknown:
        raise ValueError(f'Unknown aug_test.{sorted(unknown)[0]}: it takes '
                         f'{", ".join(AUGMENTATION)}.')
    found = [cfg.data.get('test'), cfg.data.get('val')]
    found += list((cfg.get('test_sets') or {}).values())
    for part in found:
        members = part.get('datasets', [part]) if part else []
        for member in members:
            member['pipeline'] = augmented(member['pipeline'], **options)


def augmented(pipeline: Sequence[dict], img_ratios: Sequence[float],
              flip_direction: Sequence[str]) -> list[dict]:
    """Add scales and flips to a test pipeline.

    Args:
        pipeline (Sequence[dict]): With a ``MultiScaleFlipAug``.
        img_ratios (Sequence[float]): Factors of its scale.
        flip_direction (Sequence[str]): 'horizontal', 'vertical', or both; the
            image as it is comes in any case.

    Returns:
        list[dict]: A copy.
    """
    pipeline = copy.deepcopy(list(pipeline))
    steps = [s for s in pipeline if s['type'] == 'MultiScaleFlipAug']
    if len(steps) != 1 or not steps[0].get('img_scale'):
        raise ValueError('Test-time augmentation needs a test pipeline with '
                         'one MultiScaleFlipAug that has an img_scale.')
    wrong = set(flip_direction) - {'horizontal', 'vertical'}
    if wrong or not img_ratios:
        raise ValueError('aug_test needs at least one ratio, and flips '
                         'horizontal or vertical, got '
                         f'{list(img_ratios)} and {list(flip_direction)}.')
    step, = steps
    step['img_scale'] = tuple(step['img_scale'])
    step['img_ratios'] = [float(ratio) for ratio in img_ratios]
    step['flip'] = bool(flip_direction)
    step['flip_direction'] = list(flip_direction) or ['horizontal']
    kinds = [t['type'] for t in step['transforms']]
    if step['flip'] and 'RandomFlip' not in kinds:
        place = kinds.index('Resize') + 1 if 'Resize' in kinds else 0
        step['transforms'].insert(place, dict(type='RandomFlip'))
    return pipeline
