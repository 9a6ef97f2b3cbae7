"""Whose fault an error is: the config's, the user's own code's, or ours."""
import linecache
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


def _is_explained(error: BaseException) -> bool:
    """Whether an error, or one that it wraps, was raised by code of ours."""
    if type(error) is not ValueError and isinstance(error, ValueError):
        return not isinstance(error, UnicodeError)
    found: BaseException | None = error
    while found is not None:
        trace = found.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        if trace is not None and osp.abspath(
                trace.tb_frame.f_code.co_filename).startswith(_PACKAGE +
                                                              osp.sep):
            return True
        found = found.__context__
    return False


def first_line(error: BaseException, length: int = 300) -> str:
    """Type and first line of an error, to be put into a sentence.

    A long line loses its middle: many say last what is wrong.
    """
    text = str(error)
    if isinstance(error, AssertionError):
        text += _silent_check(error)
    if isinstance(error, KeyError):  # quoted, once by each part around it
        text = re.sub(r'\\+n.*|\\+|^["\']+|["\']+$', '', text)
    text = (text.strip().splitlines() or [''])[0].strip().rstrip('.:')
    if len(text) > length:
        half = length // 2
        text = f'{text[:half]} ... {text[-half:]}'
    name = type(error).__name__
    return f'{name}: {text}' if text else name


class FaultList:
    """Errors of several steps that do not need each other."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Context of a step; what is wrong or missing is kept for later."""
        try:
            yield
        except (ValueError, FileNotFoundError) as error:
            self.errors.append(error)

    def raise_all(self) -> None:
        """Raise what was kept, as one error.

        Raises:
            ValueError: Or the error itself, if there is only one.
        """
        if len(self.errors) == 1:
            raise self.errors[0]
        if self.errors:
            raise InvalidConfigError('\n'.join([
                f'{len(self.errors)} things are missing or wrong:',
                *(f'- {error}' for error in self.errors)
            ]))


@contextmanager
def blamed_on(what: str, remedy: str) -> Iterator[None]:
    """Context in which whatever fails does so because of a config.

    Errors that explain themselves (a ``ValueError`` of ours, ``OSError``) and
    those that arise in the user's own code pass as they are.

    Args:
        what (str): What cannot be done, as the start of a sentence.
        remedy (str): What to do about it, a sentence of its own.

    Raises:
        InvalidConfigError: One sentence: what failed, why, and the remedy.
    """
    try:
        yield
    except (OSError, FloatingPointError):
        raise
    except Exception as error:
        if isinstance(error, MemoryError) or (type(error).__name__
                                              == 'OutOfMemoryError'):
            raise  # torch's; advice on memory is given to both
        if isinstance(error, ValueError) and _is_explained(error):
            if type(error) is not ValueError:
                raise
            raise InvalidConfigError(str(error)) from error
        if place_in_own_code(error) or getattr(error, 'explained', False):
            raise
        raise InvalidConfigError(
            f'{what} ({first_line(error)}). {remedy}') from error


def _silent_check(error: BaseException) -> str:
    """The condition of an ``assert`` that says nothing, '' of another."""
    while isinstance(error.__context__, AssertionError):
        error = error.__context__  # mmcv wraps errors of what it builds
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or str(error):
        return ''
    line = linecache.getline(trace.tb_frame.f_code.co_filename,
                             trace.tb_lineno).strip()
    return line if line.startswith('assert ') else ''


@contextmanager
def naming(config: str) -> Iterator[None]:
    """Context whose complaints about a config name its file."""
    try:
        yield
    except InvalidConfigError as error:
        if config in str(error):
            raise
        raise InvalidConfigError(f'{config}: {error}') from error
