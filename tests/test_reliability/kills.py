"""Kills what takes long, at random moments, and compares the outcome.

``python -m tests.test_reliability.kills [--kills 10] [--seed 0]`` kills stage
1, stage 2, pseudo labelling and data preparation with SIGKILL, as often each,
restarts them until they end, and compares weights, optimizers, logs, labels
and prepared files with those of runs that were left alone. Every second kill
waits until a file is half written. It lists every kill, and ends with status
1 if anything differs. All starts are forks of this process, which has imported
everything, so that they take no seconds.
"""
import argparse
import multiprocessing
import os
import random
import runpy
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from mbos import apis
from mbos.engine.resume import read_run
from prepare_dataset.record import FILE as RECORD
from prepare_dataset.record import UNFINISHED
from tests.test_prepare_dataset.raw_trees import make_drive
from tests.test_reliability.runs import (assert_same_checkpoint, train_lines,
                                         val_lines, write_long_config)
from tests.tiny_runs import ROOT, TWO, write_collection, write_data

assert apis  # imported before forking
ITERATIONS = 12
LAST = f'iter_{ITERATIONS}.pth'


class Part:
    """Something that is killed.

    It runs in the folder ``work``, and without a kill in ``whole``.
    ``command`` is what runs there, as runpy takes it; ``prepare(folder)``
    writes what it works on. What is there is compared byte for byte.
    """

    def __init__(self, root, name, prepare, *command):
        self.name, self.prepare, self.command = name, prepare, command
        self.whole, self.work = root / name / 'whole', root / name / 'killed'
        self.begin(self.whole)
        self.begin(self.work)

    def begin(self, folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.prepare(folder)

    def start(self, folder):
        """Start in a forked process with a session of its own."""
        run, name, *arguments = self.command

        def work():
            os.setsid()
            os.chdir(folder)
            log = os.open('output.txt', os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            sys.argv = [name, *map(str, arguments)]
            run(name, run_name='__main__')

        sys.stdout.flush()
        process = multiprocessing.get_context('fork').Process(target=work)
        process.start()
        return process

    def half_written(self):
        return {path.name for path in self.work.rglob('*.tmp')}

    def finish(self, folder):
        """Run without a kill; returns the seconds that it took."""
        begin = time.monotonic()
        process = self.start(folder)
        process.join()
        assert process.exitcode == 0, (self.name, process.exitcode)
        return time.monotonic() - begin

    def kill_once(self, delay, aimed):
        """Start, and kill after a delay, or aimed: once a file is half
        written. Returns what was half written, None if the run had ended."""
        old = self.half_written()  # of the kill before
        process = self.start(self.work)
        process.join(delay)
        while aimed and process.exitcode is None:
            aimed = self.half_written() <= old
        process.kill()
        process.join()
        end = time.monotonic() + 10
        with suppress(ProcessLookupError):
            while True:  # until its workers are gone
                os.killpg(process.pid, signal.SIGKILL)
                assert time.monotonic() < end, 'workers are left behind'
                time.sleep(0.02)
        if process.exitcode == 0:  # it was faster
            return None
        assert process.exitcode == -signal.SIGKILL, process.exitcode
        return self.half_written() - old

    def kill_repeatedly(self, kills, rng):
        """Kill it within the time that a run takes, then let it end; returns
        the number of kills that hit a half-written file."""
        seconds, seen = self.finish(self.whole), []
        print(f'{self.name}: undisturbed {seconds:.1f} s')
        while len(seen) < kills:
            delay = rng.uniform(0, seconds)
            half = self.kill_once(delay, aimed=len(seen) % 2 == 1)
            if half is None:
                self.begin(self.work)
                continue
            seen.append(half)
            print(f'{self.name}: kill {len(seen)}, {delay:.2f} s, half '
                  f'written: {", ".join(half) or "nothing"}')
            self.check_after_kill()
        self.finish(self.work)
        print(f'{self.name}: {self.compare()}')
        return sum(map(bool, seen))

    def files(self, folder):
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob('*'))
            if path.is_file() and path.name != 'output.txt'
        }

    def check_after_kill(self):
        """What has its name is what it shall be, except lists of files; a
        manifest of an unfinished folder has a name of its own, and the record
        of an unfinished preparation says so."""
        whole = self.files(self.whole)
        for name, content in self.files(self.work).items():
            unfinished = name.endswith(
                RECORD) and UNFINISHED.encode() in content
            if not unfinished and not name.endswith(('.tmp', '.csv', '.part')):
                assert content == whole[name], name

    def compare(self):
        whole, work = self.files(self.whole), self.files(self.work)
        assert sorted(whole) == sorted(work), set(whole) ^ set(work)
        for name, content in whole.items():
            assert work[name] == content, name
        return f'{len(whole)} files equal byte for byte'


class Training(Part):
    """Either stage, with a checkpoint at every iteration; its files hold times
    and folders, so they are read."""

    def check_after_kill(self):
        for path in self.work.rglob('*.pth'):
            read_run(str(path))

    def compare(self):
        both = self.whole / 'w', self.work / 'w'
        found = [{
            path.relative_to(folder)
            for path in folder.rglob('*') if path.suffix in ('.pth', '.tmp')
        } for folder in both]
        assert found[0] == found[1], found
        last, = (path for path in found[0] if path.name == LAST)
        assert_same_checkpoint(*(folder / last for folder in both))
        for lines in (train_lines, val_lines):
            assert lines(both[0]) == lines(both[1])
        return f'{last}, log lines and evaluations equal bit for bit'


def training(root, stage):
    """A run of a stage with evaluations and warm-up."""
    config = write_long_config(
        root / f'stage{stage}.py', root / 'data', stage == 2,
        iterations=ITERATIONS, checkpoint_config__interval=1,
        checkpoint_config__max_keep_ckpts=3,
        data__workers_per_gpu=stage - 1)  # yapf: disable
    return Training(root, f'stage {stage}', lambda folder: None,
                    runpy.run_path, f'{ROOT}/tools/train.py', config,
                    '--work-dir', 'w', '--auto-resume', '--seed', 7)


def labelling(root):
    """Pseudo labels of two collections, by the network of stage 1."""

    def prepare(folder):
        for i, task in enumerate(TWO):
            write_collection(folder / f'data/c{i}', [task], 16, 10 * i)
            write_collection(folder / f'data/c{i}_test', [task], 1, i)
        write_long_config(folder / 'stage2.py', Path('data'), True)
        shutil.copy(root / f'stage 1/whole/w/{LAST}', folder / 'stage1.pth')

    return Part(root, 'pseudo labels', prepare, runpy.run_path,
                f'{ROOT}/tools/generate_pseudo_labels.py', 'stage2.py',
                'stage1.pth')


def preparation(root):
    """DRIVE with two workers."""
    return Part(root, 'data preparation',
                lambda folder: make_drive(folder / 'raw', range(21, 41)),
                runpy.run_module, 'prepare_dataset.drive', 'raw', 'out',
                '--workers', '2')


PARTS = dict(
    stage1=lambda root: training(root, 1),
    stage2=lambda root: training(root, 2),
    labels=labelling,
    data=preparation)


def main():
    """Kill all parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--kills', type=int, default=10, help='of each part')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--parts', nargs='+', choices=PARTS, help='labels need stage1')
    parser.set_defaults(parts=PARTS)
    args = parser.parse_args()
    rng, half = random.Random(args.seed), 0
    with tempfile.TemporaryDirectory(prefix='kills') as folder:
        root = Path(folder)
        write_data(root / 'data', TWO)
        for name in args.parts:
            half += PARTS[name](root).kill_repeatedly(args.kills, rng)
    print(f'{len(args.parts)} parts, {args.kills} kills of each, {half} while '
          'a file was half written: all outcomes are the same')


if __name__ == '__main__':
    main()
