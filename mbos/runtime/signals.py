"""Signals that ask a run to end: it saves a checkpoint first."""
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from mmcv.runner import Hook, get_dist_info

from .environment import any_process, wait_for_all

EXIT_INTERRUPTED = 75  # EX_TEMPFAIL of sysexits.h: try again later
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


class Interrupted(SystemExit):
    """A signal ended the run; the exit status is 75."""

    def __init__(self):
        super().__init__(EXIT_INTERRUPTED)


class StopSignals:
    """Context in which signals ask the run to end.

    They end it where it is, with :class:`Interrupted`; within
    :meth:`deferred` the first is noted as :attr:`received`. A second Ctrl-C
    aborts. Signals that were ignored before (``nohup``), and all in forked
    processes, are ignored.
    """

    def __init__(self):
        self.received, self._deferred = None, False
        self._before, self._pid = {}, os.getpid()

    def __enter__(self) -> 'StopSignals':
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame) -> None:
        if os.getpid() != self._pid:
            return
        if number == signal.SIGINT == self.received:
            raise KeyboardInterrupt
        first, self.received = self.received is None, self.received or number
        if not self._deferred:
            raise Interrupted
        if first and get_dist_info()[0] == 0:  # logging is not safe in here
            text = (f'\n{signal.Signals(number).name}: saving a checkpoint '
                    'after this iteration; Ctrl-C (again) aborts at once.\n')
            os.write(2, text.encode())

    @contextmanager
    def deferred(self, wanted: bool = True) -> Iterator[None]:
        """Note signals only."""
        before, self._deferred = self._deferred, wanted
        try:
            yield
        finally:
            self._deferred = before

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """End what changes nothing when a signal comes or has come."""
        if self.received is not None:
            raise Interrupted
        with self.deferred(False):
            yield


class StopHook(Hook):
    """Ends the run after an iteration in which a process got a signal and the
    optimizers stepped: all processes end after the same one."""

    def __init__(self, signals: StopSignals, checkpoints):
        self.signals, self.checkpoints = signals, checkpoints

    def after_train_iter(self, runner):
        """Save and leave, unless the run ends by itself now."""
        asked = any_process(self.signals.received is not None)
        if (not asked or self.is_last_iter(runner)
                or not runner.outputs.get('stepped')):
            return
        self.checkpoints.save(runner)
        wait_for_all()  # launchers end all when the first has left
        name = signal.Signals(self.signals.received or signal.SIGTERM).name
        runner.logger.warning(
            f'Interrupted ({name}) after iteration {runner.iter + 1} of '
            f'{runner.max_iters}, which is saved. The same command with '
            '--auto-resume goes on from there.')
        raise Interrupted
