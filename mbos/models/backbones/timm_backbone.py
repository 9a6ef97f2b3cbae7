"""Any model of timm that offers feature maps, as a backbone of mmseg.

mmseg's own ``TIMMBackbone`` downloads weights by default, trains BatchNorm and
says nothing about the maps that it returns.
"""
import difflib
from collections.abc import Mapping, Sequence

import torch
from mmcv.runner import BaseModule
from mmseg.models.builder import BACKBONES
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .timm_weights import match_timm_weights

# They would download weights, or take the maps away.
_RESERVED = ('features_only', 'pretrained', 'pretrained_cfg',
             'pretrained_cfg_overlay', 'checkpoint_path', 'cache_dir',
             'scriptable', 'exportable', 'num_classes')


@BACKBONES.register_module()
class TimmFeatures(BaseModule):
    """Feature maps of a timm model.

    Nothing is downloaded: ImageNet weights come from ``model.pretrained``
    (docs/backbones.md).

    Args:
        model_name (str): timm's name, such as 'tf_efficientnet_lite0'.
        strides (Sequence[int], optional): Which maps to return, by how many
            pixels of the image one of theirs covers along a side. Default:
            all from stride 4 upwards, or all maps of a model whose maps have
            equal strides.
        out_indices (Sequence[int], optional): Which maps to return, by their
            place in timm's list, instead of ``strides``.
        norm_eval (bool): Whether BatchNorm keeps its running statistics while
            the network trains, so that an image's result depends on no other
            image; its weights train all the same. Default: True.
        init_cfg (dict, optional): mmcv's initialisation config. Default: as
            timm initialises the model.
        **options: Further arguments of the timm model, such as
            ``drop_path_rate`` or ``img_size``.

    Attributes:
        channels (tuple[int]): Channels of the maps returned.

    Raises:
        ValueError: If timm lacks the model or its maps, or the model lacks
            the maps asked for.
    """

    def __init__(self,
                 model_name: str,
                 strides: Sequence[int] | None = None,
                 out_indices: Sequence[int] | None = None,
                 norm_eval: bool = True,
                 init_cfg: dict | None = None,
                 **options):
        super().__init__(init_cfg)
        _check_name(model_name)
        _check_options(options)
        if strides is not None and out_indices is not None:
            raise ValueError('TimmFeatures takes strides or out_indices, not '
                             'both.')
        self.model_name = model_name
        self.norm_eval = norm_eval
        self.options = options
        net = _create(model_name, options)
        indices = _choose(net, model_name, strides, out_indices)
        if indices != _indices(net):
            net = _create(model_name, dict(options, out_indices=indices))
        self.timm_model = net
        self.channels = tuple(net.feature_info.channels())
        self.strides = tuple(net.feature_info.reduction())
        self._recompute = False

    def init_weights(self):
        """timm initialised the model; ``init_cfg`` may change that."""
        if self.init_cfg:
            super().init_weights()

    def train(self, mode: bool = True) -> 'TimmFeatures':
        """Set the mode; with ``norm_eval`` BatchNorm stays in evaluation."""
        super().train(mode)
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    @property
    def recompute(self) -> bool:
        """bool: Whether activations are computed again (low-memory mode).

        Setting it raises a ``ValueError`` where the model cannot.
        """
        return self._recompute

    @recompute.setter
    def recompute(self, value: bool) -> None:
        """Set it, in the timm model too."""
        net = self.timm_model
        if not hasattr(net, 'set_grad_checkpointing'):
            net = getattr(net, 'model', net)  # FeatureGetterNet wraps it
        try:
            net.set_grad_checkpointing(value)
        except (AttributeError, AssertionError, NotImplementedError) as error:
            raise ValueError(
                f'timm cannot compute activations of {self.model_name!r} '
                'again: set train_cfg.low_memory=False.') from error
        self._recompute = value

    def match_weights(self, state: Mapping[str, Tensor],
                      source: str) -> dict[str, Tensor]:
        """Name weights as this backbone does, with every tensor accounted for.

        Args:
            state (Mapping[str, Tensor]): Weights of the whole timm model, of
                its feature maps, or of EfficientNet-PyTorch's model.

        Raises:
            ValueError: If they are another network's, or not complete.
        """
        prefix = 'timm_model.'
        if all(key.startswith(prefix) for key in state):
            state = {k[len(prefix):]: v for k, v in state.items()}
        with torch.random.fork_rng(devices=[]):  # initialised in vain
            whole = _build(self.model_name, self.options)
        matched = match_timm_weights(state, self.timm_model.state_dict(),
                                     whole.state_dict(), self.model_name,
                                     source)
        return {prefix + key: value for key, value in matched.items()}

    def forward(self, x: Tensor) -> list[Tensor]:
        """Maps of the strides asked for.

        Returns:
            list[Tensor]: (N, C_l, H_l, W_l) each, as ``channels`` says.
        """
        if x.device.type == 'cpu':
            # convolutions, here and in the decoders, take a third less time
            x = x.contiguous(memory_format=torch.channels_last)
        maps = self.timm_model(x)
        if getattr(self.timm_model, 'output_fmt', 'NCHW') == 'NHWC':
            maps = [m.permute(0, 3, 1, 2).contiguous() for m in maps]
        return list(maps)


def _check_name(name: str) -> None:
    import timm
    if not isinstance(name, str):
        raise ValueError(f'model_name of TimmFeatures is {name!r}: give the '
                         "name of a timm model, such as "
                         "'tf_efficientnet_lite0'.")
    if ':' not in name and timm.is_model(name):
        return
    near = difflib.get_close_matches(name, timm.list_models(), n=5)
    advice = f'; near names: {", ".join(near)}' if near else ''
    raise ValueError(f'timm {timm.__version__} has no model {name!r}{advice}. '
                     'timm.list_models() lists all.')


def _check_options(options: Mapping) -> None:
    wrong = sorted(set(options) & set(_RESERVED))
    if wrong:
        raise ValueError(
            f'TimmFeatures takes no {", ".join(wrong)}: it builds feature '
            'maps without weights; name ImageNet weights in model.pretrained.')


def _build(name: str, options: Mapping, **more) -> nn.Module:
    import timm
    options = {k: tuple(v) if isinstance(v, list) else v
               for k, v in options.items()}  # yapf: disable
    return timm.create_model(name, pretrained=False, **options, **more)


def _create(name: str, options: Mapping) -> nn.Module:
    """The model's maps; timm's errors of models without maps in a sentence."""
    try:
        net = _build(name, options, features_only=True)
    except TypeError:
        raise  # an unknown option: its name is in the error
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f'timm cannot give feature maps of {name!r}: '
                         f'{reason[0]}. Choose another model.') from error
    if not hasattr(net, 'feature_info'):
        raise ValueError(f'timm offers no feature maps of {name!r}. Choose '
                         'another model.')
    return net


def _indices(net: nn.Module) -> list[int]:
    """The places of a network's maps in timm's list."""
    return list(net.feature_info.out_indices)


def _choose(net: nn.Module, name: str, strides: Sequence[int] | None,
            out_indices: Sequence[int] | None) -> list[int]:
    """Places of the maps wanted."""
    there = dict(zip(_indices(net), net.feature_info.reduction()))
    if out_indices is not None:
        return list(out_indices)
    unique = len(set(there.values())) == len(there)
    if strides is None:
        return [i for i, s in there.items() if s >= 4 or not unique]
    if not unique:
        raise ValueError(f'The maps of {name} have the strides '
                         f'{list(there.values())}: choose them by '
                         'out_indices.')
    place = {stride: index for index, stride in there.items()}
    missing = [s for s in strides if s not in place]
    if missing:
        raise ValueError(f'{name} has no map of stride {missing[0]}: it has '
                         f'strides {sorted(place)}.')
    return [place[s] for s in sorted(strides)]
