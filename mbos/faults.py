"""Whose fault an error is: the config's, the user's own code's, or ours."""
import difflib
import inspect
import os.path as osp
import re
import sysconfig
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from mbos.mmcv_ops import MissingOperatorError

_PACKAGE = osp.dirname(osp.abspath(__file__)) + osp.sep
_TOOLS = osp.join(osp.dirname(osp.dirname(_PACKAGE)), 'tools') + osp.sep
_KINDS = 'stdlib', 'platstdlib', 'purelib', 'platlib'
_LIBRARIES = tuple(osp.abspath(sysconfig.get_path(kind)) for kind in _KINDS)


class InvalidConfigError(ValueError):
    """A config, or an option that overrides it, asks for what cannot be."""


def place_in_own_code(error: BaseException) -> str | None:
    """File and line where an error arose, if in code of the user's: the
    innermost that is neither ours nor a library's, unless ours called it."""
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
    """Type and first line of an error, to be put into a sentence: without the
    middle of a long one, and with the code of a silent ``assert``."""
    text = str(error)
    if isinstance(error, AssertionError) and (not text or text.endswith(': ')):
        *_, cause = _chain(error)
        text += traceback.extract_tb(cause.__traceback__)[-1].line or ''
    if isinstance(error, KeyError):  # quoted, once by each part around it
        text = re.sub(r'\\+n.*|\\+|^["\']+|["\']+$', '', text)
    text = text.strip().partition('\n')[0].strip().rstrip('.:')
    if len(text) > length:
        text = f'{text[:length // 2]} ... {text[-length // 2:]}'
    return f'{type(error).__name__}: {text}'.removesuffix(': ')


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that it wraps, as mmcv does."""
    while error is not None:
        yield error
        error = error.__context__


def _hint(error: BaseException) -> str:
    """What to do about a type or an argument that does not exist."""
    *_, cause = _chain(error)
    if 'registry' in str(cause):
        return (' Of a type of your own or of another package, name the '
                'module that registers it in custom_imports.')
    wrong = re.search(r"unexpected keyword argument '(\w+)'", str(cause))
    known: set[str] = set()
    for frame, _ in traceback.walk_tb(cause.__traceback__):
        for kind in inspect.getmro(frame.f_locals.get('obj_cls', object)):
            known.update(inspect.signature(kind.__init__).parameters)
    if wrong is None:
        return ''
    # a parent's argument may be the wrong name itself
    meant = difflib.get_close_matches(wrong[1], known - {wrong[1]}, 1)
    return ''.join(f' Did you mean {name!r}?' for name in meant)


class FaultList(list[Exception]):
    """Errors of several steps that do not need each other."""

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Context of a step; what is wrong or missing is kept for later."""
        try:
            yield
        except (ValueError, FileNotFoundError) as error:
            self.append(error)

    def raise_all(self) -> None:
        """Raise what was kept, as one error."""
        if len(self) == 1:
            raise self[0]
        if self:
            said = f'{len(self)} things are missing or wrong:', *map(str, self)
            raise InvalidConfigError('\n- '.join(said))


@contextmanager
def blamed_on(what: str, remedy: str) -> Iterator[None]:
    """Context in which what fails does so because of a config: ``what`` begins
    the sentence of an ``InvalidConfigError``, before a sentence ``remedy``.
    Errors that explain themselves (a ``ValueError`` of ours, ``OSError``, too
    little memory) and those of the user's own code pass as they are."""
    try:
        yield
    except (OSError, FloatingPointError, MemoryError, MissingOperatorError):
        raise
    except Exception as error:
        kind = type(error)
        raised = [traceback.extract_tb(e.__traceback__)[-1].filename
                  for e in _chain(error)]  # yapf: disable
        if kind is ValueError and any(f.startswith(_PACKAGE) for f in raised):
            raise InvalidConfigError(str(error)) from error
        if kind.__name__ == 'OutOfMemoryError' or place_in_own_code(error) or (
                issubclass(kind, ValueError)
                and kind not in (ValueError, UnicodeDecodeError)):
            raise
        raise InvalidConfigError(
            f'{what} ({first_line(error)}). {remedy}{_hint(error)}') from error


@contextmanager
def naming(config: str) -> Iterator[None]:
    """Context whose complaints about a config name its file."""
    try:
        yield
    except InvalidConfigError as error:
        if config in str(error):
            raise
        raise InvalidConfigError(f'{config}: {error}') from error
