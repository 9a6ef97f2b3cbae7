"""From raw collections to one table and pictures, by the tools a user runs.

``python tools/quickstart.py`` generates fundus photographs with full ground
truth and ends with exit code 1 if the final model has not learnt;
``python tools/quickstart.py --real DIR`` takes DRIVE, IDRiD and Drishti-GS
from DIR. ``bash tools/quickstart.sh`` does the same after the set-up. Run it
again to go on where it was stopped.
"""
import argparse
import signal
import sys
from pathlib import Path

from mmseg.utils import get_root_logger

from mbos.datasets.scoring import format_table
from prepare_dataset.errors import PrepareError
from .data import VESSELS
from .plan import Plan
from .report import GOALS, write_report
from .steps import StepFailed, StepRunner


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        '--real',
        type=Path,
        metavar='DIR',
        help='folder with the unpacked DRIVE, IDRiD and Drishti-GS')
    parser.add_argument(
        '--out',
        type=Path,
        help='work folder (default: work_dirs/quickstart/synthetic or real)')
    parser.add_argument(
        '--iters1',
        type=int,
        metavar='N',
        help="iterations of stage 1, and of each single-task model (default: "
        "the config's)")
    parser.add_argument(
        '--iters2',
        type=int,
        metavar='N',
        help="iterations of stage 2 (default: the config's)")
    parser.add_argument(
        '--from-scratch',
        action='store_true',
        help="start stage 2 from random weights instead of stage 1's")
    parser.add_argument(
        '--skip-single',
        action='store_true',
        help='--real: do not train single-task models to compare with')
    parser.add_argument(
        '--fresh', action='store_true', help='do all steps again')
    parser.add_argument(
        '--no-goals',
        action='store_true',
        help='do not check whether the final model has learnt')
    parser.add_argument(
        '--seed', type=int, default=0, help='of training (default: 0)')
    parser.add_argument(
        '--max-side',
        type=int,
        default=1024,
        help='--real: scale larger photographs down (default: 1024)')
    add_size_options(parser)
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='override parts of the configs')
    args = parser.parse_args(argv)
    for name in ('iters1', 'iters2'):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            parser.error(f'--{name} must be at least 1')
    return args


def add_size_options(parser: argparse.ArgumentParser) -> None:
    """Add how much is generated; the defaults are the generator's."""
    for name, text in (('images', 'training photographs of each collection'),
                       ('val-images', 'validation photographs'),
                       ('test-images', 'test photographs'),
                       ('size', 'height of the photographs')):
        parser.add_argument(f'--{name}', type=int, help=f'generated: {text}')


def announce(plan: Plan) -> None:
    """Say what is going to happen."""
    print(f'Quickstart: everything goes into {plan.folder}')
    if plan.is_real:
        for name, found in plan.raw.items():
            print(f'  {name}: {found.images} in {found.folder}')
        if VESSELS not in plan.raw:
            print('  no IDRiD_vessels_* folder: hidden vessels and discs are '
                  'not scored')
    print('Planned for at most '
          f'{60 if plan.is_real else 10} minutes on 2 cores; --iters1 and '
          '--iters2 make it shorter or longer.')


def note_on_weights(plan: Plan) -> str:
    """Say where the backbone's first weights come from."""
    pretrained = plan.stage1_cfg.model.get('pretrained')
    if pretrained is None:
        return ('No ImageNet weights are used (pretrained=None): all weights '
                'start at random, so the scores are below those of the '
                'published configs.')
    return f'The backbone starts from {pretrained}.'


def run(args) -> int:
    """Do all steps and report; returns 1 if a goal was missed, else 0."""
    plan = Plan(args)
    runner = StepRunner(plan.folder, args.fresh)
    announce(plan)
    note = note_on_weights(plan)
    print(note)
    # the models' steps depend on what the data's have written
    for steps in (plan.first_steps, plan.data_steps, plan.model_steps):
        for step in steps():
            runner.run(step)
    print('\n=== Results ===')
    get_root_logger(log_level='WARNING')  # what the test sets hold is known
    goals = {} if plan.is_real or args.no_goals else GOALS
    times = runner.times()
    reached = write_report(plan, times, note, goals)
    print('\n' + format_table(times))
    return 0 if reached else 1


def main(argv: list[str] | None = None) -> int:
    """Run the command line."""
    args = parse_args(argv)
    try:
        return run(args)
    except (StepFailed, PrepareError, ValueError, OSError) as error:
        print(f'\nError: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            '\nInterrupted; the same command goes on from this step.',
            file=sys.stderr)
        return 130


if __name__ == '__main__':
    # as Ctrl-C, so that no command is left running
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
