"""One ONNX graph for all tasks of a trained network."""
import copy
import json
import math
import warnings

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.onnx.errors import OnnxExporterError

from mbos.accelerate import restore
from mbos.io.files import DISCLAIMER, whole_path
from mbos.io.weights_file import reason_of
from .settings import settings_meta

OPSET = 17
INPUT, METADATA = 'image', 'mbos'
DYNAMIC = {0: 'images', 2: 'height', 3: 'width'}
SHAPES = ((2, 3, 96, 128), (1, 3, 96, 128), (2, 3, 128, 128), (2, 3, 157, 211))
"""tuple: Shapes of the images that a graph of any size is traced with, the
first, and compared with."""
UNDERSTOOD = set('LoadImageFromFile MultiScaleFlipAug Resize RandomFlip '
                 'Normalize ImageToTensor DefaultFormatBundle Collect '
                 'CollectImage'.split())
"""set[str]: Steps of a test pipeline that ``OnnxPredictor`` does itself."""
TOLERANCE = 1e-4
"""float: Largest difference of a probability that counts as equal."""


class AnySizePooling(nn.Module):
    """Adaptive average pooling, which ONNX lacks, as products with two
    averaging matrices; the sizes of a traced graph are tensors."""

    def __init__(self, pooling: nn.AdaptiveAvgPool2d):
        super().__init__()
        size = pooling.output_size
        self.size = size if isinstance(size, tuple) else (size, size)

    @staticmethod
    def matrix(bins: int, length: Tensor, like: Tensor) -> Tensor:
        """Weights of every position in every bin, shape (bins, length)."""
        position = torch.ones_like(like).cumsum(0) - 1
        number = torch.arange(bins, device=like.device)[:, None]
        first = number * length // bins
        last = ((number + 1) * length + bins - 1) // bins
        inside = (position >= first) & (position < last)
        return inside.to(like.dtype) / (last - first).to(like.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Pool maps of shape (N, C, H, W)."""
        down = self.matrix(self.size[0], x.shape[2], x[0, 0, :, 0])
        across = self.matrix(self.size[1], x.shape[3], x[0, 0, 0])
        return down @ x @ across.transpose(0, 1)


class ExactGroupNorm(nn.Module):
    """GroupNorm whose moments are means of rows first: ONNX Runtime sums all
    of a large map at once, and so probabilities differed by up to 7e-4."""

    def __init__(self, norm: nn.GroupNorm):
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """Normalise maps of shape (N, C, H, W)."""
        groups = x.unflatten(1, (self.norm.num_groups, -1))
        groups = groups - self.mean(groups)
        groups = groups * (self.mean(groups**2) + self.norm.eps).rsqrt()
        x = groups.reshape(x.shape)
        if not self.norm.affine:
            return x
        return (x * self.norm.weight[:, None, None] +
                self.norm.bias[:, None, None])

    @staticmethod
    def mean(groups: Tensor) -> Tensor:
        """Means (N, G, 1, 1, 1) of groups (N, G, C / G, H, W)."""
        return groups.mean(4, keepdim=True).mean((2, 3), keepdim=True)


def exportable(model: nn.Module) -> nn.Module:
    """A copy of a network without what ONNX cannot express, or runs less
    exactly."""
    better = {nn.AdaptiveAvgPool2d: AnySizePooling,
              nn.GroupNorm: ExactGroupNorm}  # yapf: disable
    model = restore(copy.deepcopy(model))
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if type(child) in better:
                setattr(parent, name, better[type(child)](child))
    return model


class ProbabilityNetwork(nn.Module):
    """A network of ``load_model`` with the normalisation before it and,
    unless ``logits``, a sigmoid behind it."""

    def __init__(self, model: nn.Module, logits: bool = False):
        super().__init__()
        self.model, self.logits = model, logits
        norm = model.settings.normalization
        if not norm.get('to_rgb', True):
            raise ValueError('A network trained on BGR cannot be exported.')
        for name in ('mean', 'std'):
            values = torch.tensor(norm[name]).float().view(1, 3, 1, 1)
            self.register_buffer(name, values)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Probabilities, or logits, (N, C, H, W), of every task in the order
        of ``model.tasks``, of RGB images in 0..255, (N, 3, H, W), float32."""
        head = self.model.decode_head
        maps = head(self.model.extract_feat((image - self.mean) / self.std))
        size, corners = image.shape[2:], head.align_corners
        enlarged = (F.interpolate(maps[task], size, None, 'bilinear', corners)
                    for task in self.model.tasks)  # yapf: disable
        return tuple(x if self.logits else x.sigmoid() for x in enlarged)


def describe(model: nn.Module) -> dict:
    """What users of a graph should know, in plain types."""
    settings, tasks = model.settings, model.tasks
    return dict(
        tasks={name: task.as_config() for name, task in tasks.items()},
        thresholds={name: settings.threshold(name) for name in tasks},
        image_scale=settings.image_scale,
        crop=settings.crop,
        disclaimer=DISCLAIMER,
        settings=settings_meta(list(tasks.values()), settings),
        align_corners=model.align_corners)  # yapf: disable


def export_onnx(model: nn.Module,
                path: str,
                size: tuple[int, int] | None = None,
                logits: bool = False) -> float:
    """Write a network of ``load_model``, on CPU, as ONNX, described in its
    metadata; returns the largest difference of a probability.

    The graph takes one image of a ``size`` (height, width), or any number of
    any size, and ends before the sigmoid for ``logits``. A ValueError says
    that there is none, or that it differs; then the file is as it was.
    """
    network = ProbabilityNetwork(model.eval(), logits)
    traced = ProbabilityNetwork(exportable(model), logits).eval()
    shapes, names = ((1, 3, *size), ) if size else SHAPES, list(model.tasks)
    dynamic = dict.fromkeys([INPUT, *names], {} if size else DYNAMIC)
    with whole_path(path) as unchecked:
        try:
            with torch.no_grad(), warnings.catch_warnings():
                # about checks on shapes, which hold for every size
                warnings.simplefilter('ignore')
                torch.onnx.export(
                    traced, (torch.rand(shapes[0]), ), unchecked, dynamo=False,
                    opset_version=OPSET, input_names=[INPUT],
                    output_names=names, dynamic_axes=dynamic)  # yapf: disable
            graph = onnx.load(unchecked)
            text = json.dumps(describe(model))
            onnx.helper.set_model_props(graph, {METADATA: text})
            onnx.checker.check_model(graph)
            onnx.save(graph, unchecked)
            difference = max(
                largest_difference(network, unchecked, s) for s in shapes)
            if not difference <= TOLERANCE:
                raise ValueError(f'its graph differs by {difference:.1e}')
        except (AssertionError, ValueError, OnnxExporterError) as error:
            # of a backbone that takes no other size or has unknown operators
            advice = '' if size else ', or give one size: --size HEIGHT WIDTH'
            raise ValueError(
                f'A network with the backbone {type(model.backbone).__name__} '
                f'cannot be exported ({reason_of(error)}): take another one'
                f'{advice}.') from error
    return difference


@torch.no_grad()
def largest_difference(network: ProbabilityNetwork, path: str,
                       shape: tuple[int, ...]) -> float:
    """The largest difference of a probability between a network and a graph
    of it in ONNX Runtime, on random images of a shape; infinite where the
    graph does not run on them."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what fails is reported by its result
    image = np.random.default_rng(0).uniform(0, 255, shape).astype('f4')
    session = onnxruntime.InferenceSession(
        path, options, providers=['CPUExecutionProvider'])
    try:
        theirs = session.run(list(network.model.tasks), {INPUT: image})
    except Exception:  # onnxruntime's errors have no common kind
        return math.inf
    pairs = list(zip(network(torch.tensor(image)), map(torch.tensor, theirs)))
    if network.logits:
        pairs = [(ours.sigmoid(), other.sigmoid()) for ours, other in pairs]
    return max(float((ours - other).abs().max()) for ours, other in pairs)


def write_prediction_graph(model: nn.Module, path: str) -> None:
    """Write the graph that ``mbos predict --backend onnxruntime`` runs.

    It takes photographs at the size that the network was tested at, one at a
    time, and gives logits. A ValueError is raised if the network or its test
    pipeline needs torch.
    """
    settings, scale = model.settings, model.settings.image_scale
    steps = settings.augmentation['transforms']
    unknown = {s['type'] for s in steps + settings.pipeline} - UNDERSTOOD
    stretched = not all(s.get('keep_ratio', True) for s in steps)
    if unknown or scale is None or stretched:
        raise ValueError(
            'The test pipeline of this network '
            f'({", ".join(sorted(unknown)) or "no scale, or stretched"}) '
            'needs --backend torch.')
    try:
        export_onnx(model, path, logits=True)
    except ValueError:  # not every backbone takes any size
        export_onnx(model, path, (min(scale), min(scale)), logits=True)
