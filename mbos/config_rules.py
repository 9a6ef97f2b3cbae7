"""What settings must be, and the tables of those that a config may have.

A rule is a key with dots and a :class:`Kind`: a condition, and the words for
it in a sentence. Which rules there are stands in ``config_structure.py``, for
whatever reads a config, and in ``engine/config_checks.py``, for training.
"""
import difflib
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

MOST_WORKERS = max(64, 4 * (os.cpu_count() or 1))
"""int: Each is a process; more of them than this only fill the memory."""

SIMILAR = 0.75
"""float: How much alike a mistyped key and the one that was meant are."""

KNOWN = {
    '':
    ('accelerate', 'aug_test', 'auto_resume', 'checkpoint_config', 'compile',
     'cudnn_benchmark', 'custom_hooks', 'custom_imports', 'data', 'data_root',
     'dist_params', 'evaluation', 'load_from', 'log_config', 'log_level',
     'lr_config', 'model', 'momentum_config', 'optimizer', 'optimizer_config',
     'precision', 'prediction', 'resume_from', 'runner', 'seed', 'test_sets',
     'tf32', 'work_dir', 'workflow'),
    'data': ('samples_per_gpu', 'workers_per_gpu', 'test_workers', 'train',
             'val', 'test'),
    'runner': ('type', 'max_iters'),
    'evaluation': ('interval', 'start', 'metric', 'pre_eval', 'save_best',
                   'rule', 'greater_keys', 'less_keys', 'out_dir', 'by_epoch',
                   'gpu_collect', 'tmpdir', 'broadcast_bn_buffer'),
    'checkpoint_config':
    ('type', 'interval', 'by_epoch', 'subfolder', 'max_keep_ckpts',
     'save_optimizer', 'save_last', 'sync_buffer', 'create_symlink', 'meta'),
    'log_config': ('interval', 'hooks'),
    'model.test_cfg': ('mode', 'crop_size', 'stride'),
    'model.train_cfg': ('images_per_pass', 'low_memory', 'precision'),
    'prediction': ('crop', 'pipeline', 'postprocessing', 'thresholds'),
    'prediction.postprocessing': ('rim', 'one_object', 'specks'),
}
"""dict[str, tuple[str]]: Keys that are read of a config and of its parts."""


class Kind(NamedTuple):
    """What a setting must be."""

    is_right: Callable[[Any], bool]
    expected: str


def is_number(value: object) -> bool:
    """Whether a value is a number, which True and False are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_list_of(value: object, is_right: Callable[[Any], bool]) -> bool:
    """Whether a value is a list or tuple of values for which that holds."""
    return isinstance(value, (list, tuple)) and all(map(is_right, value))


def is_dict_of(value: object, is_right: Callable[[Any], bool]) -> bool:
    """Whether a value is a dict of values by name for which that holds."""
    return isinstance(value, Mapping) and all(
        isinstance(key, str) and is_right(item) for key, item in value.items())


def has_type(value: object) -> bool:
    """Whether a value is a dict with the name of a registered class."""
    return isinstance(value, Mapping) and isinstance(value.get('type'), str)


def whole_number(least: int, most: float = math.inf) -> Kind:
    """A whole number within limits."""
    return Kind(
        lambda value: isinstance(value, int) and is_number(value) and least <=
        value <= most, f'a whole number from {least} ' +
        ('up' if most == math.inf else f'to {most}'))


def one_of(*choices: Any) -> Kind:
    """One of few values."""
    return Kind(lambda value: value in choices,
                ' or '.join(map(repr, choices)))


TEXT = Kind(lambda value: isinstance(value, str), 'a text')
PATH = Kind(TEXT.is_right, 'a path')
FLAG = Kind(lambda value: isinstance(value, bool), 'True or False')
DICT = Kind(lambda value: isinstance(value, Mapping), 'a dict')
PART = Kind(has_type, 'one dict with a type')
TEXTS = Kind(lambda value: is_list_of(value, TEXT.is_right), 'a list of texts')


def value_at(config: object, path: str) -> Any:
    """The value at a key with dots, None where there is none."""
    for key in path.split('.'):
        if not hasattr(config, 'get'):  # a dict, or mmcv's Config
            return None
        config = config.get(key)
    return config


def wrong_values(config: object,
                 rules: Mapping[str, Kind],
                 where: str = '') -> Iterator[str]:
    """Sentences on settings that are there and not what they must be."""
    for path, kind in rules.items():
        value = value_at(config, path)
        if value is not None and not kind.is_right(value):
            yield f'{where}{path} is {value!r}, expected {kind.expected}.'


def unknown_keys(part: Iterable[str],
                 known: Iterable[str],
                 where: str,
                 instead: Mapping[str, str] | None = None) -> Iterator[str]:
    """Sentences on keys of a part that nothing reads.

    ``instead`` says what to write in place of such a key.
    """
    for key in part:
        if key in known:
            continue
        name = f'{where}.{key}'
        alike = difflib.get_close_matches(str(key), known, 1, SIMILAR)
        if instead and name in instead:
            yield f'{name} is not read: {instead[name]}.'
        elif alike:
            yield f'{name} is not read: did you mean {alike[0]!r}?'
        else:
            yield f'{name} is not read: there are {", ".join(known)}.'
