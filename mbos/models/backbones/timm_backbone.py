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

from mbos.io.weights_file import reason_of
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
        reserved = sorted(set(options) & set(_RESERVED))
        if reserved:
            raise ValueError(
                f'TimmFeatures takes no {", ".join(reserved)}: it builds '
                'feature maps without weights; name ImageNet weights in '
                'model.pretrained.')
        if strides is not None and out_indices is not None:
            raise ValueError('TimmFeatures takes strides or out_indices, not '
                             'both.')
        self.model_name = model_name
        self.norm_eval = norm_eval
        self.options = options
        net = _create(model_name, options)
        indices = _choose(net, model_name, strides, out_indices)
        if indices != _maps(net)[0]:
            net = _create(model_name, dict(options, out_indices=indices))
        self.timm_model = net
        self.channels = tuple(net.feature_info.channels())
        self.strides = tuple(net.feature_info.reduction())

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

    def recompute_activations(self) -> None:
        """Keep little of a forward pass, for the low-memory mode.

        Raises:
            ValueError: If timm cannot do that with this model.
        """
        net = self.timm_model
        if not hasattr(net, 'set_grad_checkpointing'):
            net = getattr(net, 'model', net)  # FeatureGetterNet wraps it
        try:
            net.set_grad_checkpointing(True)
        except (AttributeError, AssertionError, NotImplementedError) as error:
            raise ValueError(
                f'timm cannot compute activations of {self.model_name!r} '
                'again: set train_cfg.low_memory=False.') from error

    def match_weights(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Name weights as this backbone does; see :func:`match_timm_weights`.

        Args:
            state (Mapping[str, Tensor]): Weights of the whole timm model, of
                its feature maps, or of EfficientNet-PyTorch's model.
        """
        state = {k.removeprefix('timm_model.'): v for k, v in state.items()}
        with torch.random.fork_rng(devices=[]):  # initialised in vain
            whole = _build(self.model_name, self.options)
        matched = match_timm_weights(state, self.timm_model.state_dict(),
                                     whole.state_dict())
        return {f'timm_model.{key}': value for key, value in matched.items()}

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


def _build(name: str, options: Mapping, **more) -> nn.Module:
    import timm
    options = {k: tuple(v) if isinstance(v, list) else v
               for k, v in options.items()}  # yapf: disable
    return timm.create_model(name, pretrained=False, **options, **more)


def _create(name: str, options: Mapping) -> nn.Module:
    """The model's maps; what timm does not have is said in a sentence."""
    import timm

    # a colon names a place to download from
    if not isinstance(name, str) or ':' in name or not timm.is_model(name):
        near = difflib.get_close_matches(str(name), timm.list_models(), n=5)
        raise ValueError(
            f'timm {timm.__version__} has no model {name!r}; near names: '
            f'{", ".join(near) or "none"}. timm.list_models() lists all.')
    try:
        net = _build(name, options, features_only=True)
        net.feature_info
    except TypeError:
        raise  # an unknown option: its name is in the error
    except Exception as error:
        raise ValueError(
            f'timm cannot give feature maps of {name!r}: '
            f'{reason_of(error)}. Choose another model.') from error
    return net


def _choose(net: nn.Module, name: str, strides: Sequence[int] | None,
            out_indices: Sequence[int] | None) -> list[int]:
    """Places in timm's list of the maps wanted."""
    if out_indices is not None:
        return list(out_indices)
    indices, there = _maps(net)
    equal = len(set(there)) < len(there)
    if strides is None:
        return [i for i, s in zip(indices, there) if s >= 4 or equal]
    missing = [s for s in strides if s not in there]
    if equal or missing:
        raise ValueError(
            f'{name} has no map of stride {(missing or list(strides))[0]} '
            f'alone: its maps have the strides {there}; choose others, or '
            'maps by out_indices.')
    return [i for i, s in zip(indices, there) if s in strides]


def _maps(net: nn.Module) -> tuple[list[int], list[int]]:
    """Places of a network's maps in timm's list, and their strides."""
    info = net.feature_info
    return list(info.out_indices), list(info.reduction())
