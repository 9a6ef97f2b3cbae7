"""torchrun for the launchers: passes signals on and keeps the exit status.

``python tools/launch.py [OPTIONS OF torchrun] TOOL [ARGUMENTS]``; see
``tools/dist_launch.sh``. torchrun itself, when it gets a signal, ends its
processes after 30 seconds and always with status 1.
"""
import logging
import os
import signal
import sys

from launch_failures import INTERRUPTED, by_themselves, exit_status, explain
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import parse_args, run

ABORTED = 128 + signal.SIGINT
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


class Forwarder:
    """Sends the signals that this process gets to the processes it started.

    These decide what to do: training saves a checkpoint. A second Ctrl-C
    kills them.

    Attributes:
        received (int | None): The last signal.
    """

    def __init__(self):
        self.received = None
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._pass_on)

    def _pass_on(self, number, frame):
        again = number == signal.SIGINT == self.received
        self.received = number
        started = children()
        if not started:
            sys.exit(INTERRUPTED)
        for pid in started:
            try:
                if again:  # with the processes that load data
                    os.killpg(pid, signal.SIGKILL)
                else:
                    os.kill(pid, number)
            except (ProcessLookupError, PermissionError):
                pass  # it has ended meanwhile
        if again:
            sys.exit(ABORTED)


def children():
    """list[int]: The processes that this one has started."""
    found = []
    for entry in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open(f'/proc/{entry}/stat', encoding='utf-8') as file:
                parent = file.read().rpartition(')')[2].split()[1]
        except OSError:
            continue
        if int(parent) == os.getpid():
            found.append(int(entry))
    return found


def main():
    """Run torchrun and leave with the status of the processes."""
    arguments = parse_args(sys.argv[1:])
    os.environ['MBOS_LAUNCHER_PID'] = str(os.getpid())
    # failures are reported below, better than torchrun does
    for name in list(logging.root.manager.loggerDict):
        if name.startswith('torch.distributed.elastic'):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    forwarder = Forwarder()
    # torchrun insists on handling some; these are ours, and it would end the
    # processes when it gets them
    arguments.signals_to_handle = 'SIGQUIT'
    try:
        run(arguments)
    except ChildFailedError as error:
        left = by_themselves(error.failures, forwarder.received)
        if left:
            sys.stdout.flush()
            print('\n'.join(explain(left)), file=sys.stderr)
        sys.exit(exit_status(error.failures, forwarder.received))


if __name__ == '__main__':
    main()
