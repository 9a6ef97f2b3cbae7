"""Find vessels, lesions, disc and cup in photographs of your own.

    mbos predict INPUT... --out DIR
    mbos predict [CONFIG] CHECKPOINT INPUT... --out DIR

INPUT is a photograph, a folder (searched with all below it) or a pattern such
as 'eyes/*.png'. Without CHECKPOINT the network that comes with MBOS is taken.
CONFIG is only needed for checkpoints that do not hold their network and
preprocessing. Run it again to go on where it was stopped. docs/prediction.md
says what is written, docs/measurements.md what measurements.csv means.

Research software, not a medical device.
"""
import argparse
import os.path as osp
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import fields

from tqdm import tqdm

from mbos.checkpoints.settings import CROPS, RULES
from mbos.cli import quick_imports
from mbos.faults import first_of, naming
from mbos.inference.folder_run import FolderRun, find_photographs
from mbos.inference.prediction import (PhotographPredictor, PredictionOptions,
                                       available_cores)
from mbos.io.photographs import count_kinds, is_photograph_name, read_layout
from mbos.io.untrusted import RefusedError
from mbos.pictures.gallery import THUMBNAIL
from mbos.runtime.allocator import keep_freed_memory
from mbos.startup import import_models
from mbos.tasks import Threshold
from mbos.zoo import DEFAULT, NETWORKS, card_path, checkpoint_path
from .options import FLAG, SOME, config_options, make_parser

USAGE = '%(prog)s [[CONFIG] CHECKPOINT] INPUT [INPUT ...] --out DIR [options]'
WRITTEN = 'workers overwrite probabilities overlay_size thumbnail'.split()
CHECKPOINTS = ('.pth', '.pt', '.ckpt', '.bin', '.safetensors')


def threshold(text: str) -> tuple[str, float]:
    """What a value is for, TASK or TASK.CLASS or '' for all, and the value."""
    name, _, value = text.rpartition('=')
    return name, float(value)


def thresholds(
        given: list[tuple[str, float]]) -> float | dict[str, Threshold] | None:
    """The values of ``--threshold``: one number, or by task or by class."""
    found: dict[str, dict[str, float]] = {}
    for name, value in given:
        task, _, of_class = name.partition('.')
        found.setdefault(task, {})[of_class] = value
    by_task = {t: v[''] if [*v] == [''] else v for t, v in found.items()}
    return by_task[''] if [*by_task] == [''] else by_task or None


ARGUMENTS = [
    ('paths', argparse.SUPPRESS, dict(nargs='+', metavar='PATH')),
    ('--out', 'folder to write', dict(required=True, metavar='DIR')),
    ('--backend', 'default: torch; onnxruntime, on CPU, starts in a third of '
     'the time once it has made a graph, which it keeps in ~/.cache/mbos',
     dict(choices=['torch', 'onnxruntime'], default='torch')),
    ('--device', 'cpu, cuda, cuda:1, ... (default: first GPU, or cpu)', {}),
]
HOW = [
    ('--mode', "whole photograph or sliding window (default: the network's)",
     dict(choices=['whole', 'slide'])),
    ('--window', 'side of the sliding window in the scaled photograph',
     dict(type=int, metavar='PIXELS')),
    ('--stride', 'between two windows', dict(type=int, metavar='PIXELS')),
    ('--scales', 'predict at these multiples of the size that the network '
     'was tested at, and average; as 0.75 1.0 1.25',
     dict(SOME, type=float, metavar='FACTOR')),
    ('--flip', 'predict the mirrored photograph too, and average', FLAG),
    ('--threshold', "probability to exceed (default: the network's)",
     dict(SOME, type=threshold, metavar='VALUE | TASK[.CLASS]=VALUE')),
    ('--crop', 'crop to the field of view, only pad to a square, or take '
     "photographs as they are (default: the network's)", dict(choices=CROPS)),
    ('--postprocess', "which of the network's own rules to apply: rim removes "
     'what lies on the edge of the field of view, one_object all discs but '
     'one, specks the smallest parts (all, none or some; default: all)',
     dict(nargs='+', choices=['all', 'none', *RULES], default=['all'])),
    config_options('CONFIG'),
]
WHAT = [
    ('--workers', 'photographs that are predicted side by side, each by a '
     'thread with memory of its own (default: one per core, 4 at most)',
     dict(type=int, default=min(4, available_cores()), metavar='N')),
    ('--probabilities', 'also write a 16-bit PNG per class', FLAG),
    ('--overlay-size', 'longer side of overlays; 0: as the photograph '
     '(default: 1600)', dict(type=int, default=1600, metavar='PIXELS')),
    ('--no-overlays', 'write no overlays',
     dict(dest='overlay_size', action='store_const', const=None)),
    ('--no-gallery', 'write no gallery.html', FLAG),
    ('--overwrite', 'make everything again; what another checkpoint or other '
     'options wrote into DIR is removed', FLAG),
]
GROUPS = {'how to predict': HOW, 'how to work and what to write': WHAT}


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = make_parser(__doc__, ARGUMENTS, GROUPS, USAGE)
    args = parser.parse_args(argv)
    paths = args.inputs = args.paths
    args.config = paths.pop(0) if paths[0].endswith('.py') else None
    first = (*paths, '')[0]
    is_named = args.config or first in NETWORKS or first.endswith(CHECKPOINTS)
    checkpoint = paths.pop(0) if paths and is_named else DEFAULT
    if not paths:
        parser.error('give at least one photograph; CONFIG needs CHECKPOINT')
    if not is_named:
        refuse_network(first)
    if checkpoint == DEFAULT:
        print(f'Network {DEFAULT}, which comes with MBOS; what it was trained '
              f'on and how good it is: {card_path(DEFAULT)}')
    args.checkpoint = checkpoint_path(checkpoint)
    if args.backend == 'onnxruntime' and args.device not in (None, 'cpu'):
        parser.error('--backend onnxruntime runs on the CPU, not on --device')
    if args.cfg_options and args.config is None:
        parser.error('--cfg-options needs a CONFIG before the checkpoint')
    args.threshold = thresholds(args.threshold)
    args.thumbnail = None if args.no_gallery else THUMBNAIL
    rules, alone = args.postprocess, dict(all=True, none=False)
    if len(rules) > 1 and alone.keys() & rules:
        parser.error('--postprocess: all and none stand alone')
    args.postprocess = alone.get(rules[0], rules)
    return args


def refuse_network(path: str) -> None:
    """Refuse a first path that is meant for a network, unlike photographs:
    that which comes with MBOS would predict the others."""
    checkpoint_path(path)  # raises where a network's name is misspelt
    if not osp.isfile(path) or is_photograph_name(osp.basename(path)):
        return
    try:
        read_layout(path)
    except RefusedError as error:
        raise RefusedError(
            f'{path}: neither a photograph nor named like a checkpoint ('
            f'{", ".join(CHECKPOINTS)}): leave it out.') from error


def report(run: FolderRun) -> None:
    """Say what came of the run, what is doubtful and what failed."""
    print(f'{run.done} photograph(s) predicted, {run.skipped} were there '
          f'already; written to {run.out_dir}')
    flagged = defaultdict(list)
    for record in run.records:
        for flag in record['measurements']['flags'].split():
            flagged[flag].append(record['name'])
    for flag, names in sorted(flagged.items()):
        print(f'{flag} (see docs/measurements.md): {len(names)} '
              f'photograph(s), {first_of(names, 20)}')
    if run.failed:
        reasons = (failure['reason'] for failure in run.failed)
        print(f'{len(run.failed)} file(s) could not be read:', *reasons,
              sep='\n  ')  # yapf: disable


def main(argv: Sequence[str] | None = None) -> int:
    """Predict; returns 1 if a file could not be read."""
    args = parse_args(argv)
    if args.backend == 'onnxruntime':
        return predict_inputs(args, onnx_predictor)
    keep_freed_memory()
    with quick_imports():
        import_models()
    return predict_inputs(args, torch_predictor)


@quick_imports()
def torch_predictor(args: argparse.Namespace, config,
                    options: PredictionOptions) -> PhotographPredictor:
    """The network in torch, accelerated on CPU."""
    from mbos.accelerate import is_wanted
    from mbos.accelerate.prediction import prepare_for_prediction
    from mbos.inference.predictor import Predictor, load_model
    model = load_model(args.checkpoint, config, args.device)
    if is_wanted(next(model.parameters()).device, config):
        prepare_for_prediction(model)
    return Predictor(model, options)


def onnx_predictor(args: argparse.Namespace, config,
                   options: PredictionOptions) -> PhotographPredictor:
    """The network in ONNX Runtime; torch makes its graph the first time."""
    from mbos.inference.onnx_predictor import OnnxPredictor, graph_of

    def write(path: str) -> None:
        from mbos.checkpoints.onnx_export import write_prediction_graph
        from mbos.inference.predictor import load_model
        print('Making the ONNX graph of this network, once.', file=sys.stderr)
        write_prediction_graph(
            load_model(args.checkpoint, config, 'cpu'), path)

    text = config.pretty_text if config else ''
    return OnnxPredictor(graph_of(args.checkpoint, text, write), options)


def predict_inputs(args: argparse.Namespace, make: Callable) -> int:
    """Predict what is not predicted yet, and say what came of it; ``make``
    loads the network. Returns 1 if a file could not be read, else 0."""
    found, left_out = find_photographs(args.inputs, args.out)
    if left_out:
        kinds = count_kinds(left_out)
        print(f'Left out, not read as photographs: {kinds}.', file=sys.stderr)
    config, given = None, vars(args)
    if args.config:
        from mbos.config import load_config
        config = load_config(args.config, args.cfg_options)
    wanted = {f.name: given[f.name] for f in fields(PredictionOptions)}
    with naming(args.config or args.checkpoint):
        predictor = make(args, config, PredictionOptions(**wanted))
    written = {name: given[name] for name in WRITTEN}
    run = FolderRun(predictor, args.checkpoint, args.out, **written)
    seconds = 0.1 if sys.stderr.isatty() else 10.0  # a line of a log each
    with tqdm(total=len(found), unit='photograph', mininterval=seconds) as bar:
        run(found, bar.update)
    report(run)
    if args.thumbnail and run.records:
        print(f'Look at {run.out.write_gallery(run.records, args.thumbnail)}')
    return 1 if run.failed else 0
