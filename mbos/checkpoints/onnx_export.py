"""One ONNX graph for all tasks of a trained network."""
import importlib
import json
import math
import warnings
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.onnx.errors import OnnxExporterError

from mbos.io.files import whole_path
from mbos.io.weights_file import reason_of
from .onnx_modules import exportable
from .settings import settings_meta

OPSET = 17
INPUT = 'image'
DYNAMIC = {0: 'images', 2: 'height', 3: 'width'}
TRACED_SIZE = (96, 128)
METADATA = 'mbos'
SIZE_OPTION = '--size HEIGHT WIDTH'
_UNDERSTOOD = {
    'LoadImageFromFile', 'MultiScaleFlipAug', 'Resize', 'RandomFlip',
    'Normalize', 'ImageToTensor', 'DefaultFormatBundle', 'Collect',
    'CollectImage'
}
TOLERANCE = 1e-4
"""float: Largest difference of a probability that counts as equal."""


class ProbabilityNetwork(nn.Module):
    """A segmentor from photographs to probabilities by task.

    Args:
        model (nn.Module): A ``MultiTaskSegmentor`` or a subclass.
        mean (Sequence[float]): Mean of R, G and B, subtracted.
        std (Sequence[float]): What R, G and B are divided by then.
        logits (bool): Whether to leave out the sigmoid. Default: False.
    """

    def __init__(self,
                 model: nn.Module,
                 mean: Sequence[float],
                 std: Sequence[float],
                 logits: bool = False):
        super().__init__()
        self.logits = logits
        self.model = exportable(model).eval()
        for name, values in (('mean', mean), ('std', std)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1))

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Probabilities, or logits, of every task at the size of the input.

        Args:
            image (Tensor): RGB in 0..255, shape (N, 3, H, W), float32.

        Returns:
            tuple[Tensor]: Shape (N, C, H, W) each, in the order of
            ``model.tasks``.
        """
        head = self.model.decode_head
        features = self.model.extract_feat((image - self.mean) / self.std)
        maps = head(features)
        enlarged = [
            F.interpolate(
                maps[task],
                size=image.shape[2:],
                mode='bilinear',
                align_corners=head.align_corners) for task in self.model.tasks
        ]
        return tuple(x if self.logits else x.sigmoid() for x in enlarged)


def import_optional(package: str):
    """Import what only export needs, and few users therefore have.

    Raises:
        ImportError: Naming what to install.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(f'{package} is not installed: pip install onnx '
                          'onnxruntime (--no-check does without the '
                          'latter).') from error


def export_onnx(model: nn.Module,
                path: str,
                mean: Sequence[float],
                std: Sequence[float],
                description: dict,
                size: tuple[int, int] | None = None,
                logits: bool = False) -> None:
    """Write a network as ONNX, with any number of images.

    Args:
        mean (Sequence[float]): Mean of R, G and B.
        std (Sequence[float]): Standard deviation of R, G and B.
        description (dict): What users of the file should know, in plain
            types; kept as JSON in its metadata, under ``mbos``.
        size (tuple[int, int], optional): Height and width of the images that
            the graph takes. Default: any.
        logits (bool): Whether the graph ends before the sigmoid. Default:
            False.

    Raises:
        ImportError: If onnx is not installed.
        ValueError: If the network cannot be exported, or not for any size.
    """
    onnx = import_optional('onnx')
    network = ProbabilityNetwork(model, mean, std, logits).eval()
    image = torch.rand(2, 3, *(size or TRACED_SIZE)) * 255
    dynamic = {0: DYNAMIC[0]} if size else DYNAMIC
    names = list(model.tasks)
    try:
        with whole_path(path) as temporary:
            with torch.no_grad(), warnings.catch_warnings():
                # about checks on shapes, which hold for every size
                warnings.simplefilter('ignore')
                torch.onnx.export(
                    network, (image, ),
                    temporary,
                    dynamo=False,
                    opset_version=OPSET,
                    input_names=[INPUT],
                    output_names=names,
                    dynamic_axes={n: dynamic
                                  for n in [INPUT] + names})
            graph = onnx.load(temporary)
            entry = graph.metadata_props.add()
            entry.key, entry.value = METADATA, json.dumps(description)
            onnx.checker.check_model(graph)
            onnx.save(graph, temporary)
    except (AssertionError, OnnxExporterError) as error:
        # of a backbone that takes no other size, or has unknown operators
        advice = '' if size else f', or give a size: {SIZE_OPTION}'
        raise ValueError(
            f'A network with the backbone {type(model.backbone).__name__} '
            f'cannot be exported at {tuple(image.shape[2:])} '
            f'({reason_of(error)}): take another backbone{advice}.') from error


def largest_difference(model: nn.Module,
                       path: str,
                       mean: Sequence[float],
                       std: Sequence[float],
                       shape: tuple[int, int, int] = (1, 160, 200),
                       seed: int = 0,
                       logits: bool = False) -> float:
    """Compare a file in ONNX Runtime with the network it was made from.

    Args:
        shape (tuple[int]): Number, height and width of the random images.

    Returns:
        float: Largest absolute difference of any probability; infinite where
        the graph does not run on such images.

    Raises:
        ImportError: If onnxruntime is not installed.
    """
    onnxruntime = import_optional('onnxruntime')
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what fails is reported by its result
    number, height, width = shape
    image = np.random.default_rng(seed).uniform(
        0, 255, (number, 3, height, width)).astype(np.float32)
    session = onnxruntime.InferenceSession(
        path, options, providers=['CPUExecutionProvider'])
    try:
        theirs = session.run(list(model.tasks), {INPUT: image})
    except Exception:  # onnxruntime's errors have no common kind
        return math.inf
    scale = [torch.tensor(v).view(1, 3, 1, 1) for v in (mean, std)]
    with torch.no_grad():
        normed = (torch.from_numpy(image) - scale[0]) / scale[1]
        ours = model.eval().encode_decode(normed, None).sigmoid()
    by_task = model.split(ours)
    found = map(torch.from_numpy, theirs)
    return max(
        float((by_task[task] - (x.sigmoid() if logits else x)).abs().max())
        for task, x in zip(model.tasks, found))


def write_prediction_graph(model: nn.Module, path: str) -> None:
    """Write the graph that ``mbos predict --backend onnxruntime`` runs.

    It takes photographs at the size that the network was tested at, and gives
    logits. Its metadata has the tasks and the settings of prediction.

    Args:
        model (nn.Module): Of ``load_model``, on CPU.
        path (str): The file to write.

    Raises:
        ImportError: If onnx or onnxruntime is missing.
        ValueError: If the network or its test pipeline needs torch.
    """
    settings = model.settings
    steps = settings.augmentation['transforms']
    unknown = {s['type'] for s in steps + settings.pipeline} - _UNDERSTOOD
    norm, scale = settings.normalization, settings.image_scale
    if unknown or scale is None or not norm.get('to_rgb', True) or not all(
            s.get('keep_ratio', True) for s in steps):
        raise ValueError(
            'The test pipeline of this network '
            f'({", ".join(sorted(unknown)) or "no scale, BGR or stretched"}) '
            'needs --backend torch.')
    side = min(scale)
    description = dict(
        tasks=[t.as_config() for t in model.tasks.values()],
        settings=settings_meta(list(model.tasks.values()), settings),
        align_corners=model.align_corners,
        side=side)
    values = dict(mean=norm['mean'], std=norm['std'], logits=True)
    for size in (None, (side, side)):  # not every backbone takes any size
        export_onnx(model, path, description=description, size=size, **values)
        shapes = [(1, *size)] if size else [(1, 128, 128), (2, 160, 160)]
        difference = max(
            largest_difference(model, path, shape=shape, **values)
            for shape in shapes)
        if difference <= TOLERANCE:
            return
    raise ValueError(
        f'The ONNX graph differs from the network by {difference:.1e}, more '
        f'than {TOLERANCE:.0e}: use --backend torch.')
