"""Commands that are run once: headings, times, and where to go on."""
import json
import os
import os.path as osp
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mbos.io.files import save_json

ROOT = osp.dirname(osp.dirname(osp.abspath(__file__)))
RECORD = 'quickstart.json'


@dataclass(frozen=True)
class Step:
    """One command."""

    name: str  # in the record
    title: str  # what it does, for people
    command: list[str]
    output: Path  # is there when it has succeeded
    clears: Sequence[Path] = ()  # what a new run must not find


class StepFailed(RuntimeError):
    """A command ended with an error."""


class StepRunner:
    """Runs steps in their order and skips those that have been done.

    A step is done if the record has its very command, its output is there,
    and no step before it was run again. The work folder is new, empty, or of
    an earlier quickstart; ``fresh`` forgets what has been done.
    """

    def __init__(self, folder: Path, fresh: bool = False):
        self.folder = folder
        self.path = folder / RECORD
        known = self.path.exists()
        if not known and folder.exists() and any(folder.iterdir()):
            raise ValueError(
                f'{folder}: is not empty and was not made by the quickstart; '
                'give another folder with --out.')
        self.done: dict[str, dict] = {}
        if known and not fresh:
            self.done = json.loads(self.path.read_text())['steps']
        self.is_new = False
        self.seconds: dict[str, float] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self._save()

    def run(self, step: Step) -> None:
        """Run a step, unless it is done.

        Raises:
            StepFailed: If the command fails.
        """
        print(f'\n=== {step.title} ===', flush=True)
        known = self.done.get(step.name, {})
        if (not self.is_new and known.get('command') == step.command
                and step.output.exists()):
            seconds = self.seconds[step.title] = known['seconds']
            print(f'Done before ({seconds:.0f} s); --fresh does all again.')
            return
        self.is_new = True
        self.done.pop(step.name, None)
        self._save()
        for path in step.clears:
            shutil.rmtree(path, ignore_errors=True)
        print(f'$ {shlex.join(step.command)}', flush=True)
        start = time.time()
        code = run_to_its_end(step.command)
        if code:
            raise StepFailed(
                f'{step.title}: the command above ended with exit code {code}.'
                ' What it says is above; the same quickstart goes on from this'
                ' step.')
        if not step.output.exists():
            raise StepFailed(f'{step.title}: {step.output} was not written.')
        seconds = self.seconds[step.title] = time.time() - start
        self.done[step.name] = dict(command=step.command, seconds=seconds)
        self._save()
        print(f'--- {seconds:.0f} s')

    def _save(self) -> None:
        save_json(self.path, dict(steps=self.done))

    def times(self) -> list[list[str]]:
        """Table of all steps and their seconds, the header first."""
        rows = [[title, f'{s:.0f}'] for title, s in self.seconds.items()]
        total = f'{sum(self.seconds.values()):.0f}'
        return [['step', 'seconds'], *rows, ['together', total]]


def run_to_its_end(command: list[str]) -> int:
    """Run a command by this interpreter, with the checkout's packages;
    whatever interrupts this process ends that one, too.
    """
    path = os.pathsep.join(filter(None, (ROOT, os.environ.get('PYTHONPATH'))))
    python = os.environ.get('PYTHON', sys.executable)
    environment = dict(os.environ, PYTHONPATH=path, PYTHON=python)
    process = subprocess.Popen(command, env=environment)
    try:
        return process.wait()
    except BaseException:
        process.terminate()  # training saves a checkpoint
        process.wait()
        raise
