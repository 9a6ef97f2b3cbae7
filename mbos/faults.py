"""Whose fault an error is: the config's, the user's own code's, or ours."""
import os.path as osp
import re
import sysconfig
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from mbos.mmcv_ops import MissingOperatorError

_PACKAGE = osp.dirname(osp.abspath(__file__)) + osp.sep
_TOOLS = osp.join(osp.dirname(osp.dirname(_PACKAGE)), 'tools') + osp.sep
_LIBRARIES = tuple(
    osp.abspath(sysconfig.get_path(name))
    for name in ('stdlib', 'platstdlib', 'purelib', 'platlib'))


class InvalidConfigError(ValueError):
    """A config, or an option that overrides it, asks for what cannot be."""


def place_in_own_code(error: BaseException) -> str | None:
    """File and line where an error arose, if in code of the user's: the
    innermost that is neither ours nor a library's, unless ours called it.
    """
    place = None
    for frame in traceback.extract_tb(error.__traceback__):
        path = osp.abspath(frame.filename)
        if path.startswith((_PACKAGE, _TOOLS)):
            place = None
        elif osp.isfile(path) and not path.startswith(_LIBRARIES):
            place = f'{path}, line {frame.lineno}'
    return place


def first_of(names: Iterable[str], shown: int = 4) -> str:
    """The first of several names, and how many more there are."""
    names = list(names)
    more = f' and {len(names) - shown} more' if len(names) > shown else ''
    return (', '.join(names[:shown]) or 'unknown') + more


def first_line(error: BaseException, length: int = 300) -> str:
    """Type and first line of an error, to be put into a sentence.

    A long line loses its middle: many say last what is wrong. A silent
    ``assert`` is quoted.
    """
    text = str(error)
    if isinstance(error, AssertionError) and (not text or text.endswith(': ')):
        text += _origins(error)[-1].line or ''
    if isinstance(error, KeyError):  # quoted, once by each part around it
        text = re.sub(r'\\+n.*|\\+|^["\']+|["\']+$', '', text)
    text = text.strip().partition('\n')[0].strip().rstrip('.:')
    if len(text) > length:
        text = f'{text[:length // 2]} ... {text[-length // 2:]}'
    return f'{type(error).__name__}: {text}'.removesuffix(': ')


def _origins(error: BaseException | None) -> list[traceback.FrameSummary]:
    """Where an error was raised, and those that it wraps, as mmcv does."""
    found = []
    while error is not None:
        found += traceback.extract_tb(error.__traceback__)[-1:]
        error = error.__context__
    return found


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
        """Raise what was kept, as one error."""
        if len(self.errors) == 1:
            raise self.errors[0]
        if self.errors:
            texts = [f'- {error}' for error in self.errors]
            raise InvalidConfigError('\n'.join(
                [f'{len(texts)} things are missing or wrong:', *texts]))


@contextmanager
def blamed_on(what: str, remedy: str) -> Iterator[None]:
    """Context in which whatever fails does so because of a config: ``what``
    cannot be done is the start of an ``InvalidConfigError``'s sentence, the
    ``remedy`` a sentence of its own.

    Errors that explain themselves (a ``ValueError`` of ours, ``OSError``, too
    little memory) and those of the user's own code pass as they are.
    """
    try:
        yield
    except (OSError, FloatingPointError, MemoryError, MissingOperatorError):
        raise
    except Exception as error:
        kind = type(error)
        if kind is ValueError and any(
                origin.filename.startswith(_PACKAGE)
                for origin in _origins(error)):
            raise InvalidConfigError(str(error)) from error
        explained = isinstance(error, ValueError) and not isinstance(
            error, UnicodeError) and kind is not ValueError
        if explained or kind.__name__ == 'OutOfMemoryError' or (
                place_in_own_code(error)):
            raise
        raise InvalidConfigError(
            f'{what} ({first_line(error)}). {remedy}') from error


@contextmanager
def naming(config: str) -> Iterator[None]:
    """Context whose complaints about a config name its file."""
    try:
        yield
    except InvalidConfigError as error:
        if config in str(error):
            raise
        raise InvalidConfigError(f'{config}: {error}') from error
