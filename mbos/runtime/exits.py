"""How a tool ends: what it says, to whom, and its exit status."""
import faulthandler
import json
import os
import re
import sys
import time
import traceback
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, metadata

import torch
import torch.distributed as dist

from mbos.faults import first_line, place_in_own_code
from mbos.io.errors import sentence_of
from mbos.mmcv_ops import MissingOperatorError
from .environment import LaunchError

EXPECTED_ERRORS = (ValueError, OSError, LaunchError, FloatingPointError,
                   MissingOperatorError)
"""tuple: What tools report without a traceback: not a fault of the code."""
ERROR_FILE = 'TORCHELASTIC_ERROR_FILE'
LAUNCHER = 'MBOS_LAUNCHER_PID'
_LESS_MEMORY = (
    'The memory is not enough: lower data.samples_per_gpu or the size of the '
    'images, set model.train_cfg.low_memory=True or images_per_pass=1 '
    '(docs/performance.md), or predict with --batch-size 1, --mode slide or '
    '--device cpu')
_LOST = re.compile(
    r'[Cc]onnection (was )?(closed|reset|refused|aborted)|[Bb]roken pipe|'
    r'[Tt]imed out waiting|[Ww]atchdog|remote process exited|'
    r'failed to recv, got 0 bytes')


def run_tool(main: Callable[[], object]) -> None:
    """Run a tool to its end, in each process of a run.

    An error that explains itself ends the process with status 1 and no
    traceback; any other is a defect, of ours or of the user's own code, and
    its traceback ends with whose and with where to report it. In several
    processes it is shown once: by the first that meets it, or by
    ``tools/launch.py``. A process that lost another one says only that, since
    the other's error counts.

    Args:
        main (Callable): The tool. A number that it returns is the status.
    """
    if not faulthandler.is_enabled():
        faulthandler.enable()  # shows where a crash of the interpreter was
    try:
        status = main()
    except SystemExit as leaving:
        if leaving.code in (0, None) and _joined():
            # the others would wait for this process
            text = 'A process left by sys.exit before the run was over.'
            _leave(text, 'explained', leaving)
        raise
    except EXPECTED_ERRORS as error:
        _leave(f'Error: {sentence_of(error)}', 'explained', error)
    except (MemoryError, torch.OutOfMemoryError) as error:
        _leave(f'{first_line(error)}. {_LESS_MEMORY}', 'explained', error)
    except Exception as error:
        text = f'{type(error).__name__}: {error}'
        if _joined() and _is_lost(error):
            _leave(f'Lost the other processes: {text}', 'lost', error)
        write_down(text, 'traceback', error)
        error.add_note(f'\n{_whose_fault(error)}')
        raise
    if _joined():
        dist.destroy_process_group()
    if status:
        sys.exit(status)


def _whose_fault(error: BaseException) -> str:
    """What a user can do about an error that nothing explains."""
    place = place_in_own_code(error)
    if place:
        return f'It arose in {place}, which is not part of MBOS.'
    return ('This is a defect of MBOS, not yours. Please report it, with all '
            f'lines above and your command, {_where_to_report()}.')


def _where_to_report() -> str:
    try:
        urls = metadata('mbos').get_all('Project-URL') or []
    except PackageNotFoundError:
        urls = []
    for entry in urls:
        label, _, url = entry.partition(',')
        if label.strip().lower() in ('issues', 'bug tracker', 'tracker'):
            return f'at {url.strip()}'
    return 'in the issue tracker of the project (CONTRIBUTING.md)'


def _joined() -> bool:
    return dist.is_available() and dist.is_initialized()


def _is_lost(error: Exception) -> bool:
    if isinstance(error, (dist.DistBackendError, dist.DistNetworkError)):
        return True
    return isinstance(error, RuntimeError) and bool(_LOST.search(str(error)))


def _leave(text: str, kind: str, error: BaseException) -> None:
    """End this process; the text goes to the launcher, or is printed here."""
    by_launcher = write_down(text, kind, error) and LAUNCHER in os.environ
    if by_launcher or not _is_first(text):
        sys.exit(1)
    sys.exit(text)


def _is_first(text: str) -> bool:
    """Whether no other process of the run has reported a text."""
    if not _joined():
        return True
    try:
        store = dist.distributed_c10d._get_default_store()
        return store.add(f'mbos reported {text}', 1) == 1
    except RuntimeError:  # the process with the store has left
        return True


def write_down(text: str, kind: str, error: BaseException) -> bool:
    """Leave a note for torchrun; returns whether it started this process.

    ``kind`` is how ``tools/launch.py`` reports it: ``explained``,
    ``traceback`` or ``lost``.
    """
    path: str | None = os.environ.get(ERROR_FILE)
    if not path:
        return False
    now = time.time_ns()
    extra = dict(
        py_callstack=''.join(traceback.format_exception(error)),
        timestamp=str(now // 10**9),
        nanoseconds=now,
        kind=kind)
    with open(path, 'w', encoding='utf-8') as file:
        json.dump(dict(message=dict(message=text, extraInfo=extra)), file)
    return True
