"""Find vessels, lesions, disc and cup in photographs of your own.

    mbos predict INPUT... --out DIR
    mbos predict [CONFIG] CHECKPOINT INPUT... --out DIR

INPUT is a photograph, a folder (searched with all below it) or a pattern such
as 'eyes/*.png'. Nothing needs to be prepared or annotated. Without CHECKPOINT
the network that comes with MBOS is taken. CONFIG is only needed for
checkpoints that do not hold their network and preprocessing.
Run it again to go on where it was stopped. docs/prediction.md says what is
written, docs/measurements.md what measurements.csv means.

Research software, not a medical device.
"""
import argparse
import itertools
import os
import os.path as osp
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

from mbos.checkpoints.settings import RULES
from mbos.cli import quick_imports
from mbos.faults import first_of, naming
from mbos.inference.folder_run import FolderRun, RunOptions, RunSummary
from mbos.inference.photograph_list import find_photographs
from mbos.inference.prediction import PhotographPredictor, PredictionOptions
from mbos.io.errors import sentence_of
from mbos.io.photographs import (PhotographError, is_photograph_name,
                                 read_layout)
from mbos.pictures.gallery import THUMBNAIL
from mbos.startup import import_models
from mbos.tasks import Threshold
from mbos.zoo import DEFAULT, NETWORKS, card_path, checkpoint_path

SHOWN = 20
CHECKPOINTS = ('.pth', '.pt', '.ckpt', '.bin', '.safetensors')
UNUSUAL = {
    'no_field_of_view': 'nothing in it looks like the retina of an eye',
    'several_fields_of_view': 'it shows several fields of view, such as '
    'both eyes; cut it into one picture per eye',
    'mostly_dark': 'it is mostly dark',
    'small_field_of_view': 'its field of view is very small',
    'no_colour': 'it has no colour, which networks are not trained for'
}


class _ConfigOptions(argparse.Action):
    """``--cfg-options`` as elsewhere; imports mmcv only where it is given."""

    def __call__(self, parser, namespace, values, option_string=None):
        from mbos.config_overrides import OptionsAction
        action = OptionsAction(self.option_strings, self.dest, nargs='+')
        action(parser, namespace, values, option_string)


def parse_args(argv=None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        usage='%(prog)s [[CONFIG] CHECKPOINT] INPUT [INPUT ...] --out DIR '
        '[options]',
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'paths', nargs='+', metavar='PATH', help=argparse.SUPPRESS)
    parser.add_argument(
        '--out', required=True, metavar='DIR', help='folder to write')
    parser.add_argument(
        '--backend',
        choices=['torch', 'onnxruntime'],
        default='torch',
        help='what runs the network (default: torch); onnxruntime, on CPU, '
        'starts in a third of the time once it has made a graph of the '
        'network, which it keeps in ~/.cache/mbos')
    parser.add_argument(
        '--device',
        help='cpu, cuda, cuda:1, ... (default: '
        'the first GPU, or cpu)')
    _add_prediction_options(parser)
    _add_run_options(parser)
    args = parser.parse_args(argv)
    args.config, args.checkpoint, args.inputs = _split(args.paths, parser)
    if args.checkpoint == DEFAULT:
        print(f'Network {DEFAULT}, which comes with MBOS; what it was trained '
              f'on and how good it is: {card_path(DEFAULT)}')
    args.checkpoint = checkpoint_path(args.checkpoint)
    if args.backend == 'onnxruntime' and args.device not in (None, 'cpu'):
        parser.error('--backend onnxruntime runs on the CPU: leave --device '
                     'out')
    if args.cfg_options and args.config is None:
        parser.error('--cfg-options changes a config: give it before the '
                     'checkpoint. --mode, --window, --scales and others work '
                     'without one')
    return args


def _add_prediction_options(parser) -> None:
    group = parser.add_argument_group('how to predict')
    group.add_argument(
        '--mode',
        choices=['whole', 'slide'],
        help="whole photograph or sliding window (default: the checkpoint's)")
    group.add_argument(
        '--window',
        type=int,
        metavar='PIXELS',
        help='side of the sliding window in the scaled photograph')
    group.add_argument(
        '--stride', type=int, metavar='PIXELS', help='between two windows')
    group.add_argument(
        '--scales',
        type=float,
        nargs='+',
        default=[],
        metavar='FACTOR',
        help='predict at these multiples of the size that the network was '
        'tested at, and average; as 0.75 1.0 1.25')
    group.add_argument(
        '--flip',
        action='store_true',
        help='predict the mirrored photograph too, and average')
    group.add_argument(
        '--threshold',
        nargs='+',
        metavar='VALUE | TASK[.CLASS]=VALUE',
        help="probability that a class must exceed (default: the "
        "checkpoint's)")
    group.add_argument(
        '--crop',
        choices=['fov', 'pad', 'none'],
        help='crop to the field of view, only pad to a square, or take '
        "photographs as they are (default: the checkpoint's)")
    group.add_argument(
        '--postprocess',
        nargs='+',
        choices=['all', 'none', *RULES],
        default=['all'],
        metavar='RULE',
        help="which of the network's own rules to apply: rim removes what "
        'lies on the edge of the field of view, one_object all discs but one, '
        'specks the smallest parts (all, none or some; default: all)')
    group.add_argument(
        '--cfg-options',
        nargs='+',
        action=_ConfigOptions,
        metavar='KEY=VALUE',
        help='override parts of CONFIG')


def _add_run_options(parser) -> None:
    group = parser.add_argument_group('how to work and what to write')
    group.add_argument(
        '--batch-size',
        type=int,
        default=1,
        metavar='N',
        help='photographs that go through the network together (default: 1)')
    group.add_argument(
        '--workers',
        type=int,
        metavar='N',
        help='threads that measure and write; each needs the memory of one '
        'photograph (default: half of the cores, 4 at most)')
    group.add_argument(
        '--probabilities',
        action='store_true',
        help='also write a 16-bit PNG per class')
    group.add_argument(
        '--overlay-size',
        type=int,
        default=1600,
        metavar='PIXELS',
        help='longer side of the overlay pictures; 0: as the photograph '
        '(default: 1600)')
    group.add_argument(
        '--no-overlays', action='store_true', help='write no overlays')
    group.add_argument(
        '--no-gallery', action='store_true', help='write no gallery.html')
    group.add_argument(
        '--overwrite',
        action='store_true',
        help='make everything again; what another checkpoint or other options '
        'wrote into DIR is removed')


def _split(paths, parser) -> tuple:
    """Config, checkpoint and inputs of the paths that were given."""
    config, checkpoint = None, DEFAULT
    if paths[0] == '-' or paths[0].endswith('.py'):
        config, *paths = paths
        if len(paths) < 2:
            parser.error('give the checkpoint of CONFIG, and at least one '
                         'photograph, folder or pattern')
        checkpoint, *paths = paths
    elif paths[0] in NETWORKS or paths[0].endswith(CHECKPOINTS):
        checkpoint, *paths = paths
    elif _may_be_meant_for_a_checkpoint(*paths):
        parser.error(f'{paths[0]}: neither a photograph nor named like a '
                     f'checkpoint ({", ".join(CHECKPOINTS)}); leave it out, '
                     'or rename it')
    if not paths:
        parser.error('give at least one photograph, folder or pattern')
    return None if config == '-' else config, checkpoint, paths


def _may_be_meant_for_a_checkpoint(path: str, *others: str) -> bool:
    """Whether the first of the paths is an odd one.

    A pattern that the shell expands may begin with a text file: then files of
    the same folder follow, and it is listed as unreadable as any other.
    """
    folder, name = osp.split(path)
    if not osp.isfile(path) or is_photograph_name(name) or any(
            osp.dirname(other) == folder and osp.isfile(other)
            for other in others):
        return False
    try:
        read_layout(path)
    except PhotographError:
        return True
    return False


def thresholds(given: list[str] | None) -> float | dict[str, Threshold] | None:
    """What ``--threshold`` means: a number, or numbers by task or by class.

    Raises:
        ValueError: If it is neither.
    """
    if given is None:
        return None
    if len(given) == 1 and '=' not in given[0]:
        return _number(given[0])
    found: dict[str, Threshold] = {}
    for text in given:
        name, _, value = text.partition('=')
        task, _, of_class = name.partition('.')
        if of_class and not isinstance(found.get(task), float):
            found.setdefault(task, {})[of_class] = _number(value)
        elif not of_class and task not in found:
            found[task] = _number(value)
        else:
            raise ValueError(f'--threshold {" ".join(given)}: give {task}, or '
                             'its classes, once.')
    return found


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value < 1:
        raise ValueError(
            f'--threshold {text}: expected one number, at least 0 and below '
            '1, or TASK=NUMBER or TASK.CLASS=NUMBER ...')
    return value


def prediction_options(args: argparse.Namespace) -> PredictionOptions:
    """How each photograph is predicted."""
    given = args.postprocess
    return PredictionOptions(
        scales=args.scales,
        flip=args.flip,
        mode=args.mode,
        window=args.window,
        stride=args.stride,
        threshold=thresholds(args.threshold),
        crop=args.crop,
        postprocess=[
            rule for rule in RULES
            if 'none' not in given and ('all' in given or rule in given)
        ])


def run_options(args: argparse.Namespace) -> RunOptions:
    """How the run works and what it writes."""
    return RunOptions(
        batch_size=args.batch_size,
        workers=args.workers or max(1, min(4, (os.cpu_count() or 1) // 2)),
        overwrite=args.overwrite,
        probabilities=args.probabilities,
        overlay_size=None if args.no_overlays else args.overlay_size,
        thumbnail=None if args.no_gallery else THUMBNAIL)


def report(summary: RunSummary, out: str) -> None:
    """Say what came of the run, what is doubtful and what failed."""
    print(f'{summary.done} photograph(s) predicted, {summary.skipped} were '
          f'there already; written to {out}')
    for flag, names in summary.flagged().items():
        if flag in UNUSUAL:
            print(f'{flag}: {UNUSUAL[flag]}. {len(names)} photograph(s): '
                  f'{first_of(names, SHOWN)}')
    if summary.failed:
        print(f'{len(summary.failed)} file(s) could not be read:')
        for failure in summary.failed:
            print(f'  {failure["reason"]}')


@contextmanager
def progress_of(total: int) -> Iterator[Callable[[], object]]:
    """A bar on a terminal, elsewhere a line for every ten photographs."""
    if sys.stderr.isatty():
        with tqdm(total=total, unit='photograph') as bar:
            yield bar.update
        return
    numbers = itertools.count(1)

    def advance():
        done = next(numbers)
        if done % 10 == 0 or done == total:
            print(f'{done} of {total} photographs', file=sys.stderr)

    yield advance


def main(argv=None) -> int:
    """Predict; returns 1 if a file could not be read, 130 if interrupted."""
    args = parse_args(argv)
    try:
        if args.backend == 'torch':
            with quick_imports():
                import_models()
                from mbos.runtime.exits import run_tool
            run_tool(lambda: predict_inputs(args, torch_predictor))
            return 0
        return predict_inputs(args, onnx_predictor)
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f'Error: {sentence_of(error)}')
    except KeyboardInterrupt:
        print('Interrupted: the same command goes on from here.')
        return 130


@quick_imports()
def torch_predictor(args: argparse.Namespace) -> PhotographPredictor:
    """The network in torch, accelerated on CPU."""
    from mbos.accelerate import is_wanted
    from mbos.accelerate.allocator import keep_freed_memory
    from mbos.accelerate.prediction import prepare_for_prediction
    from mbos.config import load_config
    from mbos.inference.predictor import Predictor, load_model
    config = args.config and load_config(args.config, args.cfg_options)
    with naming(args.config or args.checkpoint):
        model = load_model(args.checkpoint, config, args.device)
    device = next(model.parameters()).device
    if is_wanted(device, config):
        keep_freed_memory()
        prepare_for_prediction(model)
    return Predictor(model, prediction_options(args))


def onnx_predictor(args: argparse.Namespace) -> PhotographPredictor:
    """The network in ONNX Runtime; torch makes its graph the first time."""
    from mbos.inference.onnx_predictor import OnnxPredictor, graph_of

    def write(path: str) -> None:
        from mbos.checkpoints.onnx_export import write_prediction_graph
        from mbos.inference.predictor import load_model
        print('Making the ONNX graph of this network, once.', file=sys.stderr)
        with naming(args.config or args.checkpoint):
            model = load_model(args.checkpoint, config, 'cpu')
        write_prediction_graph(model, path)

    config, text = None, ''
    if args.config:
        from mbos.config import load_config
        config = load_config(args.config, args.cfg_options)
        text = config.pretty_text
    graph = graph_of(checkpoint_path(args.checkpoint), text, write)
    return OnnxPredictor(graph, prediction_options(args))


def predict_inputs(args: argparse.Namespace, make: Callable) -> int:
    """Predict what is not predicted yet, and say what came of it.

    ``make`` loads the network that the arguments name. Returns 1 if a file
    could not be read, else 0.
    """
    left_out = []
    found = find_photographs(args.inputs, args.out, left_out)
    for sentence in left_out:
        print(sentence, file=sys.stderr)
    predictor, options = make(args), run_options(args)
    if len(found) > 1:
        predictor.leave_cores(options.workers)
    with progress_of(len(found)) as advance:
        run = FolderRun(predictor, args.checkpoint, args.out, options)
        summary = run(found, advance)
    report(summary, args.out)
    if not args.no_gallery and summary.records:
        print(f'Look at {run.out.write_gallery(summary.records)}')
    return 1 if summary.failed else 0
