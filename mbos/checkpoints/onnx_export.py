"""One ONNX graph for all tasks of a trained network."""
import importlib
import json
import math
import warnings

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
INPUT, METADATA = 'image', 'mbos'
DYNAMIC = {0: 'images', 2: 'height', 3: 'width'}
TRACED_SIZE = (96, 128)
OTHER_SIZES = ((128, 128), (157, 211))
UNDERSTOOD = {
    'LoadImageFromFile', 'MultiScaleFlipAug', 'Resize', 'RandomFlip',
    'Normalize', 'ImageToTensor', 'DefaultFormatBundle', 'Collect',
    'CollectImage'
}
"""set[str]: Steps of a test pipeline that ``OnnxPredictor`` does itself."""
TOLERANCE = 1e-4
"""float: Largest difference of a probability that counts as equal."""


class ProbabilityNetwork(nn.Module):
    """A network of ``load_model`` with the normalisation before it.

    ``logits`` says whether to leave out the sigmoid behind it.
    """

    def __init__(self, model: nn.Module, logits: bool = False):
        super().__init__()
        self.logits = logits
        self.model = exportable(model).eval()
        norm = model.settings.normalization
        if not norm.get('to_rgb', True):
            raise ValueError('The network was trained on BGR, which the '
                             'export does not know.')
        for name in ('mean', 'std'):
            values = torch.tensor(norm[name]).float().view(1, 3, 1, 1)
            self.register_buffer(name, values)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Probabilities, or logits, of every task at the size of the input.

        Args:
            image (Tensor): RGB in 0..255, shape (N, 3, H, W), float32.

        Returns:
            tuple[Tensor]: Shape (N, C, H, W) each, in the order of
            ``model.tasks``.
        """
        head = self.model.decode_head
        maps = head(self.model.extract_feat((image - self.mean) / self.std))
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
                description: dict,
                size: tuple[int, int] | None = None,
                logits: bool = False,
                check: bool = True) -> float | None:
    """Write a network as ONNX, with any number of images.

    Args:
        model (nn.Module): Of ``load_model``, on CPU.
        description (dict): What users of the file should know, in plain
            types; kept as JSON in its metadata, under ``mbos``.
        size (tuple[int, int], optional): Height and width of the images that
            the graph takes. Default: any.
        logits (bool): Whether the graph ends before the sigmoid.
        check (bool): Whether to run the graph in ONNX Runtime; one that
            differs is not kept.

    Returns:
        float | None: The largest difference of a probability.

    Raises:
        ImportError: If onnx or onnxruntime is not installed.
        ValueError: If the network cannot be exported, or not for any size.
    """
    advice = '' if size else ', or give one size: --size HEIGHT WIDTH'
    with whole_path(path) as unchecked:
        try:
            _write(
                ProbabilityNetwork(model, logits), unchecked, description,
                size)
        except (AssertionError, OnnxExporterError) as error:
            # of a backbone that takes no other size or has unknown operators
            raise ValueError(
                f'A network with the backbone {type(model.backbone).__name__} '
                f'cannot be exported ({reason_of(error)}): take another '
                f'backbone{advice}.') from error
        if not check:
            return None
        first = size or TRACED_SIZE
        shapes = [(1, *first), (2, *first)]
        shapes += [] if size else [(2, *other) for other in OTHER_SIZES]
        difference = max(
            largest_difference(model, unchecked, shape, logits)
            for shape in shapes)
        if not difference <= TOLERANCE:
            raise ValueError(
                f'The graph differs from the network by {difference:.1e}, and '
                'was not kept: take another backbone, which does not keep the '
                f'size that it was exported with{advice}.')
    return difference


def _write(network: nn.Module, path: str, description: dict,
           size: tuple[int, int] | None) -> None:
    onnx = import_optional('onnx')
    names = list(network.model.tasks)
    dynamic = {0: DYNAMIC[0]} if size else DYNAMIC
    with torch.no_grad(), warnings.catch_warnings():
        # about checks on shapes, which hold for every size
        warnings.simplefilter('ignore')
        torch.onnx.export(
            network.eval(), (torch.rand(2, 3, *(size or TRACED_SIZE)), ),
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=names,
            dynamic_axes={name: dynamic
                          for name in [INPUT, *names]})
    graph = onnx.load(path)
    entry = graph.metadata_props.add()
    entry.key, entry.value = METADATA, json.dumps(description)
    onnx.checker.check_model(graph)
    onnx.save(graph, path)


def largest_difference(model: nn.Module,
                       path: str,
                       shape: tuple[int, int, int] = (1, 160, 200),
                       logits: bool = False) -> float:
    """Compare a file in ONNX Runtime with the network it was made from.

    Args:
        shape (tuple[int]): Number, height and width of the random images.

    Returns:
        float: Largest absolute difference of any probability; infinite where
        the graph does not run on such images.
    """
    onnxruntime = import_optional('onnxruntime')
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what fails is reported by its result
    number, height, width = shape
    image = np.random.default_rng(0).uniform(
        0, 255, (number, 3, height, width)).astype(np.float32)
    session = onnxruntime.InferenceSession(
        path, options, providers=['CPUExecutionProvider'])
    try:
        theirs = session.run(list(model.tasks), {INPUT: image})
    except Exception:  # onnxruntime's errors have no common kind
        return math.inf
    norm = model.settings.normalization
    mean, std = (
        torch.tensor(norm[name]).float().view(1, 3, 1, 1)
        for name in ('mean', 'std'))
    with torch.no_grad():
        ours = model.eval().encode_decode(
            (torch.from_numpy(image) - mean) / std, None).sigmoid()
    found = dict(zip(model.tasks, map(torch.from_numpy, theirs)))
    return max(
        float((value -
               (found[task].sigmoid() if logits else found[task])).abs().max())
        for task, value in model.split(ours).items())


def write_prediction_graph(model: nn.Module, path: str) -> None:
    """Write the graph that ``mbos predict --backend onnxruntime`` runs.

    It takes photographs at the size that the network was tested at, and gives
    logits. Its metadata has the tasks and the settings of prediction.

    Raises:
        ImportError: If onnx or onnxruntime is missing.
        ValueError: If the network or its test pipeline needs torch.
    """
    settings, tasks = model.settings, list(model.tasks.values())
    steps = settings.augmentation['transforms']
    unknown = {s['type'] for s in steps + settings.pipeline} - UNDERSTOOD
    scale = settings.image_scale
    if unknown or scale is None or not all(
            s.get('keep_ratio', True) for s in steps):
        raise ValueError(
            'The test pipeline of this network '
            f'({", ".join(sorted(unknown)) or "no scale, or stretched"}) '
            'needs --backend torch.')
    side = min(scale)
    description = dict(
        tasks=[task.as_config() for task in tasks],
        settings=settings_meta(tasks, settings),
        align_corners=model.align_corners,
        side=side)
    try:
        export_onnx(model, path, description, logits=True)
    except ValueError:  # not every backbone takes any size
        export_onnx(model, path, description, (side, side), logits=True)
