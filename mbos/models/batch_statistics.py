"""BatchNorm, whose results depend on which images pass together.

All else in a network treats an image on its own, so ``images_per_pass``
changes memory and speed only. BatchNorm in training normalises with the
statistics of the images that pass together: with it, all images of a step
have to, or results would depend on a setting of memory.
"""
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

REMEDY = ("take GroupNorm (norm_cfg=dict(type='GN', num_groups=1)) or keep "
          'the running statistics (backbone.norm_eval=True)')


def batch_norms(model: nn.Module) -> list[str]:
    """Names of the layers that mix the images of a training pass."""
    return [
        name for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and module.training
    ]


def images_per_pass(train_cfg: Mapping | None, images: int, alone: bool,
                    norms: list[str]) -> int:
    """How many images of equal size pass the network together.

    Returns:
        int: At least 1.

    Raises:
        ValueError: If the setting is neither 'auto' nor a number from 1
            upwards, or separates images that BatchNorm mixes.
    """
    setting = (train_cfg or {}).get('images_per_pass', 'auto')
    if setting == 'auto':
        return 1 if alone and not norms else images
    if not isinstance(setting, int) or setting < 1:
        raise ValueError(f'train_cfg.images_per_pass is {setting!r}: give '
                         "'auto' or a number of images from 1 upwards.")
    if norms and setting < images:
        raise ValueError(
            f'train_cfg.images_per_pass={setting} separates the {images} '
            f'images of a step, whose statistics BatchNorm mixes ({norms[0]} '
            f"and {len(norms) - 1} more): set images_per_pass='auto', or "
            f'{REMEDY}.')
    return setting


def check_low_memory(model: nn.Module) -> None:
    """Refuse to compute activations of BatchNorm twice.

    Raises:
        ValueError: If it has BatchNorm that trains: its running statistics
            would be updated twice.
    """
    norms = batch_norms(model)
    if norms:
        raise ValueError(
            'train_cfg.low_memory=True lets single images through and '
            f'computes them twice, which BatchNorm ({norms[0]} and '
            f'{len(norms) - 1} more) does not bear: set low_memory=False, or '
            f'{REMEDY}.')


@contextmanager
def single_values_explained(model: nn.Module) -> Iterator[None]:
    """Say what to do where torch finds one value per channel to normalise.

    Raises:
        ValueError: In place of torch's.
    """
    try:
        yield
    except ValueError as error:
        if 'SyncBatchNorm' in str(error):
            raise ValueError(
                'SyncBN synchronises processes on GPUs only; write '
                "norm_cfg=dict(type='BN') for several processes on CPU, or "
                f'{REMEDY}.') from error
        if 'more than 1 value per channel' not in str(error):
            raise
        raise ValueError(
            f'BatchNorm got a single value per channel ({error}), which one '
            'image gives after global pooling, where only one image of a step '
            'carries a task: set data.samples_per_gpu=2 or more with '
            f"train_cfg.images_per_pass='auto', or {REMEDY}.") from error
