"""Kills what takes long, at random moments, and compares the outcome.

``python -m tests.test_reliability.kills [--kills 10] [--seed 0]`` kills stage
1, stage 2, pseudo labelling and data preparation with SIGKILL, as often each,
restarts them until they end, and compares weights, optimizers, logs, labels
and prepared files with those of runs that were left alone. Every second kill
waits until a file is half written. It lists every kill, and ends with status
1 if anything differs. Stages and labelling start as forks of this process,
which has imported everything, so that a start takes no seconds.
"""
import argparse
import json
import os
import random
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from mbos import apis
from mbos.engine.checkpoint_hook import list_checkpoints
from mbos.engine.resume import why_not_whole
from prepare_dataset.record import FILE as RECORD
from prepare_dataset.record import UNFINISHED
from tests.test_prepare_dataset.raw_trees import make_drive
from tests.test_reliability.runs import (TWO, assert_same_checkpoint,
                                         train_lines, val_lines,
                                         write_long_config)
from tests.tiny_runs import ROOT, write_collection, write_data

assert apis  # imported before forking
ITERATIONS = 12


class Fork:
    """A tool of the checkout in a forked process, like a Popen."""

    def __init__(self, tool, arguments, folder):
        sys.stdout.flush()
        self.pid = os.fork()
        self.status = None
        if self.pid == 0:
            self._run(tool, list(map(str, arguments)), folder)

    def _run(self, tool, arguments, folder):
        status = 1
        try:
            os.setsid()
            os.chdir(folder)
            log = os.open('output.txt', os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            sys.argv = [tool, *arguments]
            runpy.run_path(str(ROOT / 'tools' / tool), run_name='__main__')
            status = 0
        except SystemExit as leaving:
            status = leaving.code or 0
            if isinstance(status, str):
                os.write(2, f'{status}\n'.encode())
                status = 1
        except BaseException:
            import traceback
            os.write(2, traceback.format_exc().encode())
        finally:
            with suppress(Exception):
                sys.stdout.flush()
            os._exit(status)

    def poll(self):
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)


def wait_for_session(number, seconds=10):
    """Wait until nothing is left of a session whose leader was killed."""
    end = time.monotonic() + seconds
    left = [number]
    while left:
        assert time.monotonic() < end, f'left behind: {left}'
        left = []
        for path in Path('/proc').glob('[0-9]*/stat'):
            with suppress(OSError):
                fields = path.read_text().rpartition(')')[2].split()
                if int(fields[3]) == number and fields[0] != 'Z':
                    left.append(path.parent.name)
        time.sleep(0.02)


class Part:
    """Something that is killed: how it starts, what is compared."""

    def __init__(self, name, start, folder):
        self.name = name
        self.start = start
        self.folder = Path(folder)

    def half_written(self):
        """Names of temporary files, a set."""
        return {path.name for path in self.folder.rglob('*.tmp')}

    def finish(self):
        """Run without a kill; returns the seconds that it took."""
        begin = time.monotonic()
        process = self.start()
        while process.poll() is None:
            time.sleep(0.01)
        if process.poll() != 0:
            text = (self.folder / 'output.txt').read_text(errors='replace')
            raise AssertionError(f'{self.name} ended with status '
                                 f'{process.poll()}:\n{text[-3000:]}')
        return time.monotonic() - begin

    def kill_once(self, delay, aimed):
        """Start, and kill after a delay; aimed: once a file is half written.

        Returns:
            str | None: What was going on; None if it had ended before.
        """
        old = self.half_written()  # of the kill before
        process = self.start()
        end = time.monotonic() + delay
        while process.poll() is None and time.monotonic() < end:
            time.sleep(0.002)
        while aimed and process.poll() is None and not (self.half_written() -
                                                        old):
            pass
        if process.poll() is not None:
            assert process.poll() == 0, f'{self.name}: {process.poll()}'
            return None
        process.kill()
        while process.poll() is None:
            time.sleep(0.001)
        if process.poll() == 0:  # it was faster
            return None
        assert process.poll() == -signal.SIGKILL
        if isinstance(process, subprocess.Popen):
            wait_for_session(process.pid)
        half = self.half_written() - old
        return f'half written: {", ".join(half)}' if half else 'between files'


def kill_repeatedly(part, kills, seconds, rng):
    """Kill a part as often as wanted, then let it end.

    Args:
        part (Part): What to kill.
        kills (int): How often.
        seconds (float): How long a run takes; kills come within it.
        rng (random.Random): Draws the moments.

    Returns:
        list[str]: A line on each kill.
    """
    lines = []
    while len(lines) < kills:
        delay = rng.uniform(0, seconds)
        aimed = len(lines) % 2 == 1
        seen = part.kill_once(delay, aimed)
        if seen is None:  # it was at its end: begin again
            part.reset()
            continue
        lines.append(f'{part.name}: kill {len(lines) + 1} after {delay:.2f} s'
                     f'{" and aimed" if aimed else ""}; {part.state()}; '
                     f'{seen}')
        print(lines[-1], flush=True)
        part.check_after_kill()
    part.finish()
    return lines


class Training(Part):
    """Either stage, with a checkpoint at every iteration."""

    def __init__(self, root, stage):
        self.work = root / f'killed{stage}'
        self.checkpoints = self.work / 'ckpt' if stage == 2 else self.work
        self.whole = root / f'whole{stage}'
        self.config = write_long_config(
            root / f'stage{stage}.py',
            root / 'data',
            stage == 2,
            iterations=ITERATIONS,
            checkpoint_config__interval=1,
            checkpoint_config__max_keep_ckpts=3,
            data__workers_per_gpu=stage - 1)
        super().__init__(f'stage {stage}', self._start, root)
        self.target = self.work

    def _start(self):
        return Fork('train.py', [
            self.config, '--work-dir', self.target, '--auto-resume', '--seed',
            7
        ], self.folder)

    def undisturbed(self):
        self.target = self.whole
        seconds = self.finish()
        self.target = self.work
        return seconds

    def half_written(self):
        found = set()
        for folder in {self.work, self.checkpoints}:
            with suppress(FileNotFoundError):
                found |= {n for n in os.listdir(folder) if n.endswith('.tmp')}
        return found

    def reset(self):
        shutil.rmtree(self.work)

    def state(self):
        found = list_checkpoints(str(self.checkpoints))
        return f'newest checkpoint: {found[0][0] if found else "none"}'

    def check_after_kill(self):
        for _, path in list_checkpoints(str(self.checkpoints)):
            assert why_not_whole(path) is None, path
        for best in self.work.glob('best_*.pth'):
            assert why_not_whole(str(best)) is None, best
        link = self.checkpoints / 'latest.pth'
        assert not link.is_symlink() or link.exists(), 'dangling latest.pth'

    def compare(self):
        folder = self.checkpoints.relative_to(self.work)
        last = f'iter_{ITERATIONS}.pth'
        assert_same_checkpoint(self.whole / folder / last,
                               self.checkpoints / last)
        names = [
            sorted(
                p.name for p in work.rglob('*')
                if p.suffix in ('.pth', '.tmp'))
            for work in (self.whole, self.work)
        ]
        assert names[0] == names[1], names
        assert train_lines(self.work) == train_lines(self.whole)
        assert val_lines(self.work) == val_lines(self.whole)
        return (f'{last}: weights, optimizers and states equal bit for bit; '
                f'{len(train_lines(self.work))} log lines and '
                f'{len(val_lines(self.work))} evaluations equal')


class Tree(Part):
    """Something that fills a folder of files, compared byte for byte."""

    def __init__(self, name, root, prepare, start):
        self.prepare = prepare
        self.begin = start
        self.whole, self.work = root / 'whole', root / 'killed'
        for folder in (self.whole, self.work):
            folder.mkdir(parents=True)
            prepare(folder)
        super().__init__(name, lambda: self.begin(self.target), self.work)
        self.target = self.work

    def undisturbed(self):
        self.folder = self.target = self.whole
        seconds = self.finish()
        self.folder = self.target = self.work
        return seconds

    def reset(self):
        shutil.rmtree(self.work)
        self.work.mkdir()
        self.prepare(self.work)

    def files(self, folder):
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob('*'))
            if path.is_file() and path.name != 'output.txt'
        }

    def state(self):
        return f'{len(self.files(self.work))} files'

    def check_after_kill(self):
        """What has its name is what it shall be, except lists of files; a
        manifest of an unfinished folder has a name of its own, and the record
        of an unfinished preparation says so."""
        whole = self.files(self.whole)
        for name, content in self.files(self.work).items():
            if name.endswith(RECORD) and UNFINISHED.encode() in content:
                continue
            if not name.endswith(('.tmp', '.csv', '.part')):
                assert content == whole[name], name

    def compare(self):
        whole, work = self.files(self.whole), self.files(self.work)
        assert sorted(whole) == sorted(work), set(whole) ^ set(work)
        for name, content in whole.items():
            assert work[name] == content, name
        return f'{len(whole)} files equal byte for byte'


def labelling(root):
    """Pseudo labels of two collections, by the network of stage 1."""

    def prepare(folder):
        for i, task in enumerate(TWO):
            write_collection(folder / f'data/c{i}', [task], 16, 10 * i)
            write_collection(folder / f'data/c{i}_test', [task], 1, i)
        write_long_config(folder / 'stage2.py', Path('data'), True)
        shutil.copy(root / f'whole1/iter_{ITERATIONS}.pth',
                    folder / 'stage1.pth')

    return Tree(
        'pseudo labels', root / 'labels', prepare, lambda folder: Fork(
            'generate_pseudo_labels.py', ['stage2.py', 'stage1.pth'], folder))


def preparation(root):
    """DRIVE with two worker processes."""

    def start(folder):
        with open(folder / 'output.txt', 'ab') as log:
            return subprocess.Popen([
                sys.executable, '-m', 'prepare_dataset.drive', 'raw', 'out',
                '--workers', '2'
            ],
                                    cwd=folder,
                                    env=dict(os.environ, PYTHONPATH=str(ROOT)),
                                    stdout=log,
                                    stderr=log,
                                    start_new_session=True)

    return Tree('data preparation', root / 'prepared',
                lambda folder: make_drive(folder / 'raw', range(21, 41)),
                start)


PARTS = dict(
    stage1=lambda root: Training(root, 1),
    stage2=lambda root: Training(root, 2),
    labels=labelling,
    data=preparation)


def main(argv=None):
    """Kill all parts; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--kills', type=int, default=10, help='of each part')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--folder', help='kept; default: a temporary one')
    parser.add_argument(
        '--parts',
        nargs='+',
        choices=list(PARTS),
        default=list(PARTS),
        help='default: all; labels need stage1')
    args = parser.parse_args(argv)
    rng = random.Random(args.seed)
    root = Path(args.folder or tempfile.mkdtemp(prefix='kills'))
    root.mkdir(exist_ok=True)
    write_data(root / 'data', TWO)
    lines, results = [], {}
    for name in args.parts:
        part = PARTS[name](root)
        seconds = part.undisturbed()
        print(f'{part.name}: undisturbed {seconds:.1f} s', flush=True)
        lines += kill_repeatedly(part, args.kills, seconds, rng)
        results[part.name] = part.compare()
        print(f'{part.name}: {results[part.name]}', flush=True)
    half = sum('half written' in line for line in lines)
    print(
        json.dumps(
            dict(kills=len(lines), while_writing=half, equal=results),
            indent=2))
    if not args.folder:
        shutil.rmtree(root)
    return 0


if __name__ == '__main__':
    sys.exit(main())
