"""Whose fault an error is: the config's, the user's own code's, or ours."""
import os.path as osp
import re
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

_PACKAGE = osp.dirname(osp.abspath(__file__))
_TOOLS = osp.join(osp.dirname(_PACKAGE), 'tools')
_LIBRARIES = tuple({
    osp.abspath(sysconfig.get_path(name))
    for name in ('stdlib', 'platstdlib', 'purelib', 'platlib')
})


class InvalidConfigError(ValueError):
    """A config, or an option that overrides it, asks for what cannot be."""


def place_in_own_code(error: BaseException) -> str | None:
    """Where an error arose, if in code of the user's.

    Returns:
        str | None: File and line of the innermost code that is neither ours
        nor a library's; None if ours called what failed.
    """
    place, trace = None, error.__traceback__
    while trace is not None:
        path = osp.abspath(trace.tb_frame.f_code.co_filename)
        if path.startswith((_PACKAGE + osp.sep, _TOOLS + osp.sep)):
            place = None
        elif osp.isfile(path) and not path.startswith(_LIBRARIES):
            place = f'{path}, line {trace.tb_lineno}'
        trace = trace.tb_next
    return place


def first_of(names: Iterable[str], shown: int = 4) -> str:
    """The first of several names, and how many more there are."""
    names = list(names)
    more = f' and {len(names) - shown} more' if len(names) > shown else ''
    return (', '.join(names[:shown]) or 'unknown') + more


def first_line(error: BaseException, length: int = 300) -> str:
    """Type and first line of an error, to be put into a sentence."""
    text = str(error)
    if isinstance(error, KeyError):  # quoted, once by each part around it
        text = re.sub(r'\\+n.*|\\+|^["\']+|["\']+$', '', text)
    text = (text.strip().splitlines() or [''])[0].strip()[:length]
    text = text.rstrip('.:')
    name = type(error).__name__
    return f'{name}: {text}' if text else name


@contextmanager
def blamed_on(what: str, remedy: str) -> Iterator[None]:
    """Context in which whatever fails does so because of a config.

    Errors that explain themselves (``ValueError``, ``OSError``) and those
    that arise in the user's own code pass as they are.

    Args:
        what (str): What cannot be done, as the start of a sentence.
        remedy (str): What to do about it, a sentence of its own.

    Raises:
        InvalidConfigError: One sentence: what failed, why, and the remedy.
    """
    try:
        yield
    except (ValueError, OSError, FloatingPointError):
        raise
    except Exception as error:
        if place_in_own_code(error) or getattr(error, 'explained', False):
            raise
        raise InvalidConfigError(
            f'{what} ({first_line(error)}). {remedy}') from error
