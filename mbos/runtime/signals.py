"""Signals that ask a run to end: it saves a checkpoint first."""
import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
import torch.distributed as dist
from mmcv.runner import Hook, get_dist_info

from .agreement import Agreement

EXIT_INTERRUPTED = 75
"""int: Status of a run that was interrupted and can be resumed (the number
that ``sysexits.h`` calls EX_TEMPFAIL: try again later)."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
_PR_SET_PDEATHSIG = 1
_LAUNCHER = 'MBOS_LAUNCHER_PID'


class Interrupted(SystemExit):
    """A signal ended the run; the exit status is 75."""

    def __init__(self, number: int):
        super().__init__(EXIT_INTERRUPTED)
        self.signal = signal.Signals(number)


class StopSignals:
    """Context in which signals ask the run to end.

    Outside of :meth:`deferred` they end it where it is, with
    :class:`Interrupted`. Inside they are noted, and whoever can end the run
    well looks at :attr:`received`. A second Ctrl-C aborts at once.

    Signals that were ignored before stay so (``nohup``). Worker processes
    that are forked in this context ignore all of them, since their parent
    ends them.

    Args:
        announce (bool): Whether to say on stderr what will happen.
            Default: True.

    Attributes:
        received (int | None): The first signal that came.
    """

    def __init__(self, announce: bool = True):
        self.announce = announce
        self.received = None
        self._deferred = False
        self._before = {}
        self._pid = os.getpid()

    def __enter__(self) -> 'StopSignals':
        for number in SIGNALS:
            if signal.getsignal(number) == signal.SIG_IGN:
                continue
            try:
                self._before[number] = signal.signal(number, self._handle)
            except ValueError:  # only the main thread may
                break
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _handle(self, number: int, frame) -> None:
        if os.getpid() != self._pid:
            return
        if number == signal.SIGINT == self.received:
            raise KeyboardInterrupt
        first = self.received is None
        self.received = self.received or number
        if not self._deferred:
            raise Interrupted(self.received)
        if first and self.announce:  # logging is not safe in here
            name = signal.Signals(number).name
            os.write(
                2, f'\n{name}: saving a checkpoint after this iteration; '
                'Ctrl-C (again) aborts at once.\n'.encode())

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Note signals only."""
        before, self._deferred = self._deferred, True
        try:
            yield
        finally:
            self._deferred = before

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """End a long part that changes nothing when a signal comes.

        Raises:
            Interrupted: Also if it came before.
        """
        if self.received is not None:
            raise Interrupted(self.received)
        before, self._deferred = self._deferred, False
        try:
            yield
        finally:
            self._deferred = before


def at_once(signals: StopSignals | None):
    """:meth:`StopSignals.at_once`, or nothing where there are no signals."""
    return nullcontext() if signals is None else signals.at_once()


class StopHook(Hook):
    """Ends the run after an iteration in which a process got a signal.

    All processes end after the same iteration: each informs the others in each
    iteration whether it got a signal. On GPUs they learn it one iteration
    late, see :class:`Agreement`.

    Args:
        device (torch.device): Where the processes' flags are exchanged.
    """

    def __init__(self, signals: StopSignals, checkpoints, device):
        self.signals = signals
        self.checkpoints = checkpoints
        self.device = device
        self.agreement = Agreement()

    def after_train_iter(self, runner):
        """Save and leave, unless the run ends by itself now."""
        if not self._agreed() or self.is_last_iter(runner):
            return
        path = self.checkpoints.ensure(runner)
        if get_dist_info()[1] > 1:
            dist.barrier()  # launchers end all when the first has left
        number = self.signals.received or signal.SIGTERM
        runner.logger.warning(
            f'Interrupted ({signal.Signals(number).name}) after iteration '
            f'{runner.iter + 1} of {runner.max_iters}; saved {path}. The same '
            'command with --auto-resume goes on from there.')
        raise Interrupted(number)

    def _agreed(self) -> bool:
        mine = self.signals.received is not None
        if get_dist_info()[1] == 1:
            return mine
        flags = torch.full((1, ), float(mine), device=self.device)
        found, _ = self.agreement(flags)
        return bool(found and found[0])


def end_with_launcher() -> None:
    """Let the kernel send SIGTERM to this process when its launcher dies.

    So a launcher that is killed leaves no process behind. Linux only.
    """
    if not sys.platform.startswith('linux'):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
    launcher = os.environ.get(_LAUNCHER)
    if launcher and os.getppid() != int(launcher):  # it died before
        os.kill(os.getpid(), signal.SIGTERM)
