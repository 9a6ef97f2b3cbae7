"""Any model of timm that offers feature maps, as a backbone of mmseg.

mmseg's own ``TIMMBackbone`` downloads weights by default, trains BatchNorm and
says nothing about the maps that it returns.
"""
import difflib
import re
from collections.abc import Mapping, Sequence

import torch
from mmcv.runner import BaseModule
from mmseg.models.builder import BACKBONES
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mbos.io.weights_file import reason_of


@BACKBONES.register_module()
class TimmFeatures(BaseModule):
    """Feature maps of a timm model.

    Nothing is downloaded: ImageNet weights come from ``model.pretrained``
    (docs/backbones.md).

    Args:
        strides (Sequence[int], optional): Which maps to return. Default: all
            from stride 4 upwards, or all where maps have equal strides.
        out_indices (Sequence[int], optional): Which maps to return, by their
            place in timm's list, instead of ``strides``.
        norm_eval (bool): Whether BatchNorm keeps its running statistics while
            the network trains, so that an image's result depends on no other
            image; its weights train all the same.
        **options: Of the timm model, such as ``drop_path_rate``.

    What timm lacks, or the model, is a ``ValueError``.
    """

    def __init__(self,
                 model_name: str,
                 strides: Sequence[int] | None = None,
                 out_indices: Sequence[int] | None = None,
                 norm_eval: bool = True,
                 init_cfg: dict | None = None,
                 **options):
        super().__init__(init_cfg)
        if options.get('pretrained') or options.get('checkpoint_path'):
            raise ValueError('TimmFeatures downloads nothing: name ImageNet '
                             'weights in model.pretrained of the config.')
        self.model_name = model_name
        self.norm_eval = norm_eval
        self.options = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in options.items()
        }
        net = self._create()
        indices = list(out_indices or _choose(net, model_name, strides))
        if indices != list(net.feature_info.out_indices):
            net = self._create(out_indices=indices)
        self.timm_model = net
        self.channels = tuple(net.feature_info.channels())
        self.strides = tuple(net.feature_info.reduction())

    def _create(self, **chosen) -> nn.Module:
        """The model's maps; what timm does not have is said in a sentence."""
        import timm
        name = str(self.model_name)
        # a colon names a place to download from
        if ':' in name or not timm.is_model(name):
            near = difflib.get_close_matches(name, timm.list_models(), n=5)
            raise ValueError(
                f'timm {timm.__version__} has no model {name!r}; near names: '
                f'{", ".join(near) or "none"}. timm.list_models() lists all.')
        options = dict(self.options, pretrained=False, features_only=True)
        try:
            net = timm.create_model(name, **options, **chosen)
            net.feature_info
        except TypeError:
            raise  # an unknown option: its name is in the error
        except Exception as error:
            raise ValueError(
                f'timm cannot give feature maps of {name!r}: '
                f'{reason_of(error)}. Choose another model.') from error
        return net

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
        """Keep little of a forward pass, for the low-memory mode."""
        # FeatureGetterNet wraps the model
        net = getattr(self.timm_model, 'model', self.timm_model)
        try:
            net.set_grad_checkpointing(True)
        except (AttributeError, AssertionError, NotImplementedError) as error:
            raise ValueError(
                f'timm cannot compute activations of {self.model_name!r} '
                'again: set train_cfg.low_memory=False.') from error

    def match_weights(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Name weights as this backbone does: of the whole timm model, of its
        feature maps, or of EfficientNet-PyTorch's model. Those that the maps
        do not need (the classifier, later stages) are left out.
        """
        import timm
        options = dict(self.options, pretrained=False)
        with torch.random.fork_rng(devices=[]):  # initialised in vain
            whole = timm.create_model(self.model_name, **options).state_dict()
        state = {k.removeprefix('timm_model.'): v for k, v in state.items()}
        if any(key.startswith('_blocks.') for key in state):
            # EfficientNet-PyTorch has other names for the same layers, which
            # it defines in the same order
            names = list(whole) if len(whole) == len(state) else list(state)
            state = dict(zip(names, state.values()))
        place = {_plain(key): key for key in self.timm_model.state_dict()}
        unused = {_plain(key) for key in whole} - set(place)
        return {
            f'timm_model.{place.get(_plain(key), key)}': value
            for key, value in state.items() if _plain(key) not in unused
        }

    def forward(self, x: Tensor) -> list[Tensor]:
        """Maps of the strides asked for, (N, C_l, H_l, W_l) each."""
        if x.device.type == 'cpu':
            # convolutions, here and in the decoders, take a third less time
            x = x.contiguous(memory_format=torch.channels_last)
        maps = self.timm_model(x)
        if getattr(self.timm_model, 'output_fmt', 'NCHW') == 'NHWC':
            maps = [m.permute(0, 3, 1, 2).contiguous() for m in maps]
        return list(maps)


def _choose(net: nn.Module, name: str,
            strides: Sequence[int] | None) -> list[int]:
    """Places in timm's list of the maps wanted."""
    indices = net.feature_info.out_indices
    there = net.feature_info.reduction()
    equal = len(set(there)) < len(there)
    if strides is None:
        return [i for i, s in zip(indices, there) if s >= 4 or equal]
    for stride in strides:
        if equal or stride not in there:
            raise ValueError(
                f'{name} has no map of stride {stride} alone: its maps have '
                f'the strides {there}; choose others, or by out_indices.')
    return [i for i, s in zip(indices, there) if s in strides]


def _plain(key: str) -> str:
    """A name without what ``features_only`` changes in it: it wraps the model
    ('body.', 'model.') or makes 'stages.0' 'stages_0'.
    """
    return re.sub(r'^(body|model)\.', '', key).replace('_', '.')
