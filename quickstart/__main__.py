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
from .data import VESSELS
from .plan import Plan
from .report import GOALS, write_report
from .steps import StepFailed, StepRunner


def positive(text: str) -> int:
    """A number of iterations; argparse names what is none."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError('must be at least 1')
    return int(text)


OPTIONS = {
    '--real': (Path, 'DIR', None,
               'folder with the unpacked DRIVE, IDRiD and Drishti-GS'),
    '--out': (Path, 'DIR', None,
              'work folder (default: work_dirs/quickstart/synthetic or real)'),
    '--iters1': (positive, 'N', None, 'iterations of stage 1, and of each '
                 "single-task model (default: the config's)"),
    '--iters2':
    (positive, 'N', None, "iterations of stage 2 (default: the config's)"),
    '--seed': (int, 'N', 0, 'of training (default: 0)'),
    '--max-side': (int, 'N', 1024, '--real: scale larger photographs down '
                   '(default: 1024)'),
    '--images':
    (int, 'N', None, 'generated: training photographs of each collection'),
    '--val-images': (int, 'N', None, 'generated: validation photographs'),
    '--test-images': (int, 'N', None, 'generated: test photographs'),
    '--size': (int, 'N', None, 'generated: height of the photographs')
}
FLAGS = {
    '--from-scratch': "start stage 2 from random weights instead of stage 1's",
    '--skip-single': '--real: do not train single-task models to compare with',
    '--fresh': 'do all steps again',
    '--no-goals': 'do not check whether the final model has learnt'
}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    for name, (kind, what, default, text) in OPTIONS.items():
        add(name, type=kind, metavar=what, default=default, help=text)
    for name, text in FLAGS.items():
        add(name, action='store_true', help=text)
    text = 'override parts of the configs'
    add('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help=text)
    return parser.parse_args(argv)


def run(args) -> int:
    """Do all steps and report; returns 1 if a goal was missed, else 0."""
    plan = Plan(args)
    runner = StepRunner(plan.folder, args.fresh)
    print(f'Quickstart: everything goes into {plan.folder}')
    for name, found in plan.raw.items():
        print(f'  {name}: {found.images} in {found.folder}')
    if plan.is_real and VESSELS not in plan.raw:
        print(f'  no {VESSELS}_* folder: hidden vessels and discs are not '
              'scored')
    minutes = 60 if plan.is_real else 10
    print(f'Planned for at most {minutes} minutes on 2 cores; --iters1 and '
          '--iters2 make it shorter or longer.')
    pretrained = plan.stage1_cfg.model.get('pretrained')
    note = f'The backbone starts from {pretrained}.'
    if pretrained is None:
        note = ('No ImageNet weights are used (pretrained=None): all weights '
                'start at random, so the scores are below those of the '
                'published configs.')
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
    except (StepFailed, ValueError, OSError) as error:
        print(f'\nError: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        again = 'Interrupted; the same command goes on from this step.'
        print(f'\n{again}', file=sys.stderr)
        return 130


if __name__ == '__main__':
    # as Ctrl-C, so that no command is left running
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
