"""Which network a checkpoint holds, and how that wants photographs.

Somebody else may have written it. Parts are built by name from registries, so
it could name any part of any registered kind and any size: those of mmseg and
of this package are built, without weights of their own; others need a config.
"""
import numbers
from collections.abc import Collection

from mmcv import Config
from mmcv.cnn import ACTIVATION_LAYERS, CONV_LAYERS, NORM_LAYERS
from mmcv.utils import print_log
from mmseg.models.builder import MODELS

from mbos.config import load_config
from .settings import PredictionSettings, settings_from_meta, settings_of

PUBLISHED_CONFIGS = dict(
    multi_task='upernet_swin_tiny_patch4_window7_512x512_40k_multi_pretrain_'
    '224x224_1K_group_idrid_ddr_refuge',
    adversarial='gan_bdice_vessel_lesion_OD_idrid_ddr_refuge_semi_OD_0.1_0.05_'
    '60k_128_group_window_size16')
"""dict[str, str]: The published config of each stage."""
_STAGE2_NAMES = ('generator.', 'discriminators.',
                 'decode_head.cross_task_attention.')
_REGISTRIES = (MODELS, CONV_LAYERS, NORM_LAYERS, ACTIVATION_LAYERS)
_PACKAGES = ('mbos', 'mmseg', 'mmcv', 'torch')
_DOWNLOADING = 'TIMMBackbone'
# They name files; a checkpoint brings its own weights.
_WEIGHTS = ('pretrained', 'init_cfg', 'checkpoint')


def stage_of(content: dict) -> str:
    """The stage of a checkpoint, ours or the authors': ``multi_task`` (stage
    1) or ``adversarial`` (stage 2)."""
    stage = content['meta'].get('mbos_stage')
    if isinstance(stage, str) and stage in PUBLISHED_CONFIGS:
        return stage
    stage2 = any(n.startswith(_STAGE2_NAMES) for n in content['state_dict'])
    return 'adversarial' if stage2 else 'multi_task'


def describe_network(path: str,
                     content: dict,
                     config: Config | None = None,
                     logger=None) -> tuple[dict, PredictionSettings]:
    """The config of a checkpoint's network, and its prediction settings: those
    of the given config, else what the checkpoint says, else those of the
    published config of its stage, which is logged.

    Raises:
        ValueError: If the checkpoint names what is not built from one.
    """
    if config is not None and config.data.get('test'):
        return config.model, settings_of(config)
    settings = settings_from_meta(content['meta'])
    if config is not None:
        return config.model, settings or settings_of(config)
    model_cfg = stored_model_cfg(path, content)
    if model_cfg is None or settings is None:
        stage = stage_of(content)
        published = load_config(PUBLISHED_CONFIGS[stage])
        model_cfg = model_cfg or published.model
        settings = settings or settings_of(published)
        print_log(
            f'{path} does not say all of its network and preprocessing; the '
            f'rest is as in the published config of stage {stage}: scaled '
            f'into {settings.image_scale}, {settings.normalization}. Give its '
            'config if it is another.', logger)
    return model_cfg, settings


def stored_model_cfg(
    path: str, content: dict, imported: Collection[str] = ()) -> dict | None:
    """The config of a checkpoint's network, if it holds one. A ValueError is
    raised if it names parts of other packages than ours and those
    ``imported``, or sizes that do not go with the checkpoint's tensors."""
    stored = content['meta'].get('mbos_model')
    if stored is None:
        return None
    sides = [s for v in content['state_dict'].values() for s in v.shape]
    try:
        if not isinstance(stored, dict) or 'type' not in stored:
            raise ValueError('it is not the config of a network')
        return _checked(stored, 4 * max([1024, *sides]),
                        {*_PACKAGES, *imported})
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f'{path}: the network that it describes cannot be built ({error}).'
            ' Copy it again, or give the config that it was trained with; '
            'parts of your own belong in its custom_imports.') from error


def _checked(value, largest: int, packages: set[str], key: str = ''):
    """A config without weights, if all of its parts and numbers may be built;
    a ValueError names one that may not."""
    if isinstance(value, dict) and key != 'type':
        return {
            k: None if k in _WEIGHTS else _checked(v, largest, packages, k)
            for k, v in value.items()
        }
    if isinstance(value, (list, tuple)):
        return type(value)(_checked(v, largest, packages, key) for v in value)
    if key == 'type':
        # a dot would make the registry look into another package
        known = isinstance(value, str) and '.' not in value
        parts = [registry.get(value) for registry in _REGISTRIES if known]
        found = {p.__module__.split('.')[0] for p in parts if p}
        if not found or found - packages or value == _DOWNLOADING:
            raise ValueError(f'its part {value!r} is none of ours')
    elif isinstance(value, numbers.Real) and not abs(value) <= largest:
        raise ValueError(f'{key}={value!r} does not go with its weights')
    return value
