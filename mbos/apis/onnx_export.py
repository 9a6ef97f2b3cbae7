"""One ONNX graph for all tasks of a trained network."""
import json
import os
import os.path as osp
import warnings
from typing import Dict, Sequence, Tuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mbos.core.tasks import Task
from .onnx_modules import exportable

OPSET = 17
INPUT = 'image'
DYNAMIC = {0: 'images', 2: 'height', 3: 'width'}
TRACED_SIZE = (96, 128)
METADATA = 'mbos'


class ProbabilityNetwork(nn.Module):
    """A segmentor from photographs to probabilities by task.

    Args:
        model (nn.Module): A ``MultiTaskSegmentor`` or a subclass.
        mean (Sequence[float]): Mean of R, G and B, subtracted.
        std (Sequence[float]): What R, G and B are divided by then.
    """

    def __init__(self, model: nn.Module, mean: Sequence[float],
                 std: Sequence[float]):
        super().__init__()
        self.model = exportable(model).eval()
        for name, values in (('mean', mean), ('std', std)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1))

    def forward(self, image: Tensor) -> Tuple[Tensor, ...]:
        """Probabilities of every task, at the size of the input.

        Args:
            image (Tensor): RGB in 0..255, shape (N, 3, H, W), float32.

        Returns:
            tuple[Tensor]: Shape (N, C, H, W) each, in the order of
            ``model.tasks``.
        """
        head = self.model.decode_head
        features = self.model.extract_feat((image - self.mean) / self.std)
        logits = head(features)
        return tuple(
            F.interpolate(
                logits[task],
                size=image.shape[2:],
                mode='bilinear',
                align_corners=head.align_corners).sigmoid()
            for task in self.model.tasks)


def export_onnx(model: nn.Module, path: str, mean: Sequence[float],
                std: Sequence[float], description: dict) -> None:
    """Write a network as ONNX, with any number and size of images.

    Args:
        model (nn.Module): A ``MultiTaskSegmentor`` or a subclass, on CPU.
        path (str): The file to write.
        mean (Sequence[float]): Mean of R, G and B.
        std (Sequence[float]): Standard deviation of R, G and B.
        description (dict): What users of the file should know, in plain
            types; kept as JSON in its metadata, under ``mbos``.

    Raises:
        ImportError: If onnx is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise ImportError('Export needs the package onnx: pip install onnx '
                          'onnxruntime.') from error
    network = ProbabilityNetwork(model, mean, std).eval()
    image = torch.rand(2, 3, *TRACED_SIZE) * 255
    names = list(model.tasks)
    temporary = f'{path}.{os.getpid()}.tmp'
    os.makedirs(osp.dirname(osp.abspath(path)), exist_ok=True)
    try:
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
                dynamic_axes={n: DYNAMIC
                              for n in [INPUT] + names})
        graph = onnx.load(temporary)
        entry = graph.metadata_props.add()
        entry.key, entry.value = METADATA, json.dumps(description)
        onnx.checker.check_model(graph)
        onnx.save(graph, temporary)
        os.replace(temporary, path)
    finally:
        if osp.exists(temporary):
            os.remove(temporary)


def describe_tasks(tasks: Sequence[Task]) -> Dict[str, dict]:
    """Classes and label rules of the tasks, in plain types."""
    return {
        task.name:
        dict(
            classes=list(task.classes),
            nested=task.nested,
            palette=task.palette and [list(c) for c in task.palette])
        for task in tasks
    }


def largest_difference(model: nn.Module,
                       path: str,
                       mean: Sequence[float],
                       std: Sequence[float],
                       shape: Tuple[int, int, int] = (1, 160, 200),
                       seed: int = 0) -> float:
    """Compare a file in ONNX Runtime with the network it was made from.

    Args:
        model (nn.Module): The network, on CPU.
        path (str): What :func:`export_onnx` wrote.
        mean (Sequence[float]): As exported.
        std (Sequence[float]): As exported.
        shape (tuple[int]): Number, height and width of the random images.
        seed (int): Seed of the images.

    Returns:
        float: Largest absolute difference of any probability.

    Raises:
        ImportError: If onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError('The comparison needs onnxruntime: pip install '
                          'onnxruntime, or pass --no-check.') from error
    number, height, width = shape
    image = np.random.default_rng(seed).uniform(
        0, 255, (number, 3, height, width)).astype(np.float32)
    session = onnxruntime.InferenceSession(
        path, providers=['CPUExecutionProvider'])
    theirs = session.run(list(model.tasks), {INPUT: image})
    scale = [torch.tensor(v).view(1, 3, 1, 1) for v in (mean, std)]
    with torch.no_grad():
        normed = (torch.from_numpy(image) - scale[0]) / scale[1]
        ours = model.eval().encode_decode(normed, None).sigmoid()
    by_task = model.split(ours)
    return max(
        float(np.abs(by_task[task].numpy() - value).max())
        for task, value in zip(model.tasks, theirs))
