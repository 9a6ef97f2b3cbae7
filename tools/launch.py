"""torchrun for the launchers: shares out the cores, passes signals on, keeps
the exit status, and says last which process failed first and why.

``python tools/launch.py [OPTIONS OF torchrun] TOOL [ARGUMENTS]``; see
``tools/dist_launch.sh`` and docs/reliability.md. torchrun itself, when it gets
a signal, ends its processes after 30 seconds and always with status 1.
"""
import logging
import os
import signal
import sys
from collections.abc import Mapping

import torch
from torch.distributed.elastic.multiprocessing.errors import (ChildFailedError,
                                                              ProcessFailure)
from torch.distributed.run import determine_local_world_size, parse_args, run

ABORTED = 128 + signal.SIGINT
INTERRUPTED = 75
"""int: As mbos.runtime.signals, which takes long to import."""
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


def children() -> list[int]:
    """The processes that this one has started."""
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


def ending(failures: Mapping[int, ProcessFailure],
           received: int | None = None) -> tuple[int, str]:
    """The exit status of a run and its last lines.

    They are those of the process that failed first, by itself: others lose it
    or are ended by torchrun. The status is 128 + N for signal N, as shells
    have it, and 75 if all processes were interrupted.

    Args:
        failures (dict[int, ProcessFailure]): Those that failed, by rank.
        received (int, optional): The signal that was passed on to them.
    """
    expected = {INTERRUPTED}
    if any(f.exitcode == INTERRUPTED for f in failures.values()):
        expected.add(-signal.SIGTERM)  # torchrun ends the others meanwhile
    if received is not None:  # before training had begun
        expected |= {-received, 128 + received, -signal.SIGTERM}
    failures = {
        r: f
        for r, f in failures.items() if f.exitcode not in expected
    }
    if not failures:
        return INTERRUPTED, ''
    notes = {rank: note_of(failure) for rank, failure in failures.items()}

    def order(rank):
        note = notes[rank]
        return (note.get('kind') == 'lost',
                failures[rank].exitcode == -signal.SIGTERM, bool(note),
                int(note.get('nanoseconds', 0)), rank)

    cause = min(failures, key=order)
    note, code = notes[cause], failures[cause].exitcode
    if code == -signal.SIGTERM and note.get('kind') in ('explained',
                                                        'traceback'):
        code = 1  # it was on its way out when torchrun ended it
    status = 128 - code if code < 0 else code
    if note.get('kind') == 'explained':
        said = [notes[rank] for rank in (cause, *sorted(notes))]
        return status, '\n'.join(
            dict.fromkeys(n['message'] for n in said
                          if n.get('kind') == 'explained'))
    who = f'Process {cause} (pid {failures[cause].pid})'
    return status, f'{who} {reason(code, note)}'


def note_of(failure: ProcessFailure) -> dict:
    """What a process wrote down about its end (``mbos.runtime.exits``):
    ``message``, ``kind`` (explained, traceback or lost), ``nanoseconds``."""
    message = failure.error_file_data.get('message')
    if not isinstance(message, dict):
        return {}
    return dict(message.get('extraInfo', {}), message=message['message'])


def reason(code: int, note: dict) -> str:
    """Why a process ended, by its exit status and its note."""
    if code == -signal.SIGKILL:
        return 'was killed by SIGKILL, as the system does when memory runs out'
    if code < 0:
        return f'was killed by {signal.Signals(-code).name}'
    if note.get('kind') == 'traceback':
        return f'failed: {note["message"]}\nIts traceback is above.'
    if note:
        return (f'{note["message"]}\nNo process reported an error: one left '
                'by itself, or the connection broke.')
    return f'left with status {code}'


def share_cores(processes: int) -> None:
    """Let processes on the CPU share its cores, unless the user says how many
    threads they have. With GPUs they have one, as workers load the data."""
    threads = 1
    if torch.cuda.device_count() == 0:
        threads = max(1, len(os.sched_getaffinity(0)) // processes)
        # Waiting threads that spin take the cores from whatever else runs on
        # the machine; ones that sleep at once are slow when nothing does.
        # Seconds an iteration, idle and busy: spinning 0.32 and 4.4, sleeping
        # 0.48 and 0.75, this 0.27 and 0.57.
        os.environ.setdefault('GOMP_SPINCOUNT', '2000')
    os.environ.setdefault('OMP_NUM_THREADS', str(threads))
    os.environ.setdefault('MKL_NUM_THREADS', os.environ['OMP_NUM_THREADS'])


def main() -> None:
    """Run torchrun and leave with the status of the processes."""
    arguments = parse_args(sys.argv[1:])
    share_cores(determine_local_world_size(arguments.nproc_per_node))
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
        status, text = ending(error.failures, forwarder.received)
        sys.stdout.flush()
        if text:
            print(text, file=sys.stderr)
        sys.exit(status)


if __name__ == '__main__':
    main()
