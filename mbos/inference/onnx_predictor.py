"""Prediction with ONNX Runtime on CPU: started in a fraction of torch's time.

The graph of a checkpoint is made once, which takes torch, and is kept in the
user's cache folder. From then on neither torch nor mmseg is imported.
"""
import hashlib
import json
import os
import os.path as osp
from collections.abc import Callable
from pathlib import Path
from threading import Lock

import cv2
import numpy as np

import mbos
from mbos.checkpoints.settings import settings_from_meta
from mbos.io.files import file_sha256, whole_path
from mbos.tasks import build_task
from .prediction import PhotographPredictor, PredictionOptions, available_cores

INPUT, METADATA = 'image', 'mbos'
FORMAT = '2'  # of the metadata; graphs of another one are made again


class OnnxPredictor(PhotographPredictor):
    """Predicts with ONNX Runtime on CPU, by a graph of :func:`graph_of`."""

    test_cfg = dict(mode='whole')

    def __init__(self, path: str, options: PredictionOptions):
        import onnxruntime
        given = onnxruntime.SessionOptions()
        given.log_severity_level = 3
        given.intra_op_num_threads = int(
            os.environ.get('OMP_NUM_THREADS') or available_cores())
        # freed memory goes back, so that other photographs' arrays fit
        given.enable_cpu_mem_arena = False
        self.session = onnxruntime.InferenceSession(
            path, given, providers=['CPUExecutionProvider'])
        meta = self.session.get_modelmeta().custom_metadata_map
        known = json.loads(meta[METADATA])
        tasks = {name: build_task(d) for name, d in known['tasks'].items()}
        settings = settings_from_meta(known['settings'])
        super().__init__(tasks, settings, options, known['align_corners'])
        if any((options.mode == 'slide', options.window, options.scales,
                options.flip, self.crop == 'none')):
            raise ValueError('The ONNX graph takes whole, square photographs '
                             'once: sliding windows, scales, --flip and --crop'
                             ' none need --backend torch.')
        self.side = min(settings.image_scale)
        self.turn = Lock()

    def make_input(self, square: np.ndarray) -> np.ndarray:
        """The photograph at the network's size, as mmcv resizes it: RGB in
        0..255, (1, 3, S, S), float32."""
        image = cv2.resize(square, (self.side, self.side))
        return np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32)

    def run(self, inputs: np.ndarray) -> dict[str, list[np.ndarray]]:
        """Run the network, for one thread at a time: it uses all cores, and
        its maps take most of the memory."""
        with self.turn:
            logits = self.session.run([*self.tasks], {INPUT: inputs})
        return {name: [one] for name, (one, ) in zip(self.tasks, logits)}


def graph_of(checkpoint: str, config: str, write: Callable) -> str:
    """The ONNX graph of a checkpoint and the text of a config given with it.
    Where ``$XDG_CACHE_HOME/mbos/onnx`` (or ``~/.cache/mbos/onnx``) has none,
    ``write`` is called with the file to write."""
    parts = FORMAT, mbos.__version__, file_sha256(checkpoint), config
    key = hashlib.sha256('\n'.join(parts).encode()).hexdigest()[:32]
    cache = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    path = osp.join(cache, 'mbos', 'onnx', f'{key}.onnx')
    if not osp.isfile(path):
        with whole_path(path) as temporary:
            write(temporary)
    return path
