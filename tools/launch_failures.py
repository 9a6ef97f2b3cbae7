"""What the launcher reports of processes that failed.

torchrun shows a traceback of its own and a table. Here the last lines of a run
say which process failed first and why, and an error that the tool explains is
reported once: see docs/reliability.md.
"""
import signal
from collections.abc import Mapping

from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

INTERRUPTED = 75
"""int: As mbos.runtime.signals, which takes long to import."""


def note_of(failure: ProcessFailure) -> dict:
    """What a process wrote down about its end; see ``mbos.runtime.exits``.

    Returns:
        dict: ``message``, ``kind`` (explained, traceback or lost) and
        ``nanoseconds``; empty if it wrote nothing.
    """
    message = failure.error_file_data.get('message')
    if not isinstance(message, dict):
        return {}
    return dict(message.get('extraInfo', {}), message=message['message'])


def find_cause(failures: Mapping[int, ProcessFailure]) -> int:
    """Rank of the process that failed first, by itself.

    Others fail because they lose it (kind 'lost'), or are ended by torchrun.

    Args:
        failures (dict[int, ProcessFailure]): Those that failed, by rank.
    """

    def order(rank):
        notes = note_of(failures[rank])
        return (notes.get('kind') == 'lost',
                failures[rank].exitcode == -signal.SIGTERM, bool(notes),
                int(notes.get('nanoseconds', 0)), rank)

    return min(failures, key=order)


def exit_status(failures: Mapping[int, ProcessFailure],
                received: int | None = None) -> int:
    """The status of a run.

    Args:
        failures (dict[int, ProcessFailure]): Those that failed, by rank.
        received (int, optional): The signal that was passed on to them.

    Returns:
        int: 75 if all were interrupted, else that of the process that failed
        first; 128 + N for signal N, as shells have it.
    """
    left = by_themselves(failures, received)
    if not left:
        return INTERRUPTED
    cause = left[find_cause(left)]
    if was_leaving(cause):
        return 1
    code = cause.exitcode
    return 128 - code if code < 0 else code


def was_leaving(failure: ProcessFailure) -> bool:
    """Whether torchrun ended a process that was on its way out.

    It does so if another one lost it and left first.
    """
    return (failure.exitcode == -signal.SIGTERM
            and note_of(failure).get('kind') in ('explained', 'traceback'))


def by_themselves(failures: Mapping[int, ProcessFailure],
                  received: int | None = None) -> Mapping[int, ProcessFailure]:
    """The failures that no signal of the launcher explains.

    Args:
        failures (dict[int, ProcessFailure]): Those that failed, by rank.
        received (int, optional): The signal that was passed on to them.
    """
    expected = {INTERRUPTED}
    if any(f.exitcode == INTERRUPTED for f in failures.values()):
        # torchrun ends the others while they leave
        expected.add(-signal.SIGTERM)
    if received is not None:  # before training had begun
        expected |= {-received, 128 + received, -signal.SIGTERM}
    return {r: f for r, f in failures.items() if f.exitcode not in expected}


def explain(failures: Mapping[int, ProcessFailure]) -> list[str]:
    """The last lines of a run that failed.

    Args:
        failures (dict[int, ProcessFailure]): Those that failed, by rank.

    Returns:
        list[str]: What failed first, and what else the processes explained.
    """
    cause = find_cause(failures)
    failure, notes = failures[cause], note_of(failures[cause])
    if notes.get('kind') == 'explained':
        lines = [
            note_of(failures[rank]) for rank in (cause, *sorted(failures))
        ]
        return list(
            dict.fromkeys(n['message'] for n in lines
                          if n.get('kind') == 'explained'))
    who = f'Process {cause} (pid {failure.pid})'
    if failure.exitcode < 0 and not was_leaving(failure):
        why = f'was killed by {failure.signal_name()}'
        if failure.exitcode == -signal.SIGKILL:
            why += ', as the system does when memory runs out'
    elif notes.get('kind') == 'traceback':
        why = f'failed: {notes["message"]}\nIts traceback is above.'
    elif notes:
        why = (
            f'{notes["message"]}\nNo process reported an error: one left by '
            'itself, or the connection broke.')
    else:
        why = f'left with status {failure.exitcode}'
    return [f'{who} {why}']
