"""How a tool ends: what it says, to whom, and its exit status.

Torch is not imported here: some tools start without it.
"""
import faulthandler
import json
import os
import re
import sys
import time
import traceback
from collections.abc import Callable
from types import ModuleType

from mbos.faults import first_line, place_in_own_code
from mbos.io.untrusted import sentence_of
from mbos.mmcv_ops import MissingOperatorError


class LaunchError(RuntimeError):
    """The processes of a run were started wrongly."""


EXPECTED_ERRORS = (ValueError, OSError, LaunchError, FloatingPointError,
                   MissingOperatorError)
"""tuple: What tools report without a traceback: not a fault of the code."""
INTERRUPTED = 130
ERROR_FILE = 'TORCHELASTIC_ERROR_FILE'
_LESS_MEMORY = (
    'The memory is not enough: docs/training.md, "Little memory", says what '
    'needs less; predict with --workers 1, --mode slide or --device cpu')
_DEFECT = (
    '\nThis is a defect of MBOS, not yours. Please report it with all lines '
    'above and your command (CONTRIBUTING.md).')
_LOST = re.compile(
    r'[Cc]onnection (was )?(closed|reset|refused|aborted)|[Bb]roken pipe|'
    r'[Tt]imed out waiting|[Ww]atchdog|remote process exited|'
    r'failed to recv, got 0 bytes|DistBackendError|DistNetworkError')


def run_tool(main: Callable[[], object]) -> None:
    """Run a tool to its end; a number that it returns is the exit status.

    An error that explains itself ends it with status 1 and no traceback; any
    other is a defect, and its traceback ends with whose.
    """
    if not faulthandler.is_enabled():
        faulthandler.enable()  # shows where a crash of the interpreter was
    try:
        status = main()
    except SystemExit as leaving:
        if leaving.code in (0, None) and _joined():
            _leave('A process left by sys.exit before the run was over.',
                   leaving)  # others would wait for it
        raise
    except KeyboardInterrupt as error:
        _write_down('Interrupted.', error, 'explained')
        sys.stderr.write('Interrupted: the same command goes on from here, '
                         'training from its checkpoint with --auto-resume.\n')
        sys.exit(INTERRUPTED)
    except EXPECTED_ERRORS as error:
        _leave(f'Error: {sentence_of(error)}', error)
    except Exception as error:
        kind = type(error).__name__
        if kind in ('MemoryError', 'OutOfMemoryError'):  # also torch's
            _leave(f'{first_line(error)}. {_LESS_MEMORY}', error)
        text = f'{kind}: {error}'
        lost = isinstance(error, RuntimeError) and _LOST.search(text)
        if lost and _joined():
            _leave(f'Lost the other processes: {text}', error, 'lost')
        _write_down(text, error, 'traceback')
        place = place_in_own_code(error)
        error.add_note(f'\nIt arose in {place}, which is not part of MBOS.'
                       if place else _DEFECT)
        raise
    group = _joined()
    if group:
        group.destroy_process_group()
    if status:
        sys.exit(status)


def _joined() -> ModuleType | None:
    """torch.distributed, if this process works with others."""
    dist = sys.modules.get('torch.distributed')
    joined = dist and dist.is_available() and dist.is_initialized()
    return dist if joined else None


def _leave(text: str, error: BaseException, kind: str = 'explained') -> None:
    """End this process; the text goes to the launcher, or is printed here."""
    _write_down(text, error, kind)
    sys.exit(1 if 'MBOS_LAUNCHER_PID' in os.environ else text)


def _write_down(text: str, error: BaseException, kind: str) -> None:
    """Leave a note for torchrun, if that started this process; ``kind`` is how
    ``tools/launch.py`` reports it: ``explained``, ``traceback``, ``lost``."""
    if ERROR_FILE in os.environ:
        now = time.time_ns()
        calls = ''.join(traceback.format_exception(error))
        extra = dict(py_callstack=calls, timestamp=str(now // 10**9),
                     nanoseconds=now, kind=kind)  # yapf: disable
        with open(os.environ[ERROR_FILE], 'w', encoding='utf-8') as file:
            json.dump(dict(message=dict(message=text, extraInfo=extra)), file)
