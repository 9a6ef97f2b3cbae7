"""Which mask files belong to which photograph, by a pattern of names."""
import bisect
import fnmatch
import glob
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import mbos.io
from mbos.io.photographs import count_kinds
from .errors import PrepareError
from .layout import IMAGE_SUFFIXES, visible_files

FIELD = re.compile(r'\{(\w+)\}')
MAX_NAMED = 3
"""Files that a message names before it ends in "..."."""


@dataclass(frozen=True)
class Photograph:
    """A photograph of a folder.

    Its ``name`` is what the prepared files are called: the stem, with folders
    before it where two stems are alike. Patterns may refer to its ``fields``:
    ``stem``, ``dir`` and the named groups of ``--fields``.
    """
    path: Path
    relative: str
    name: str
    fields: Mapping[str, str] = field(default_factory=dict)


def list_photographs(folder: Path,
                     pattern: str = '*',
                     expression: str | None = None) -> list[Photograph]:
    """List the image files in a folder and below it, by relative path.

    ``pattern`` chooses them, such as ``'*.jpg'`` or ``'images/*.jpg'``, in
    upper or lower case; ``expression`` is searched in the stem, and its named
    groups become fields.

    Raises:
        PrepareError: If there are none, or one does not fit the expression.
    """
    compiled = compile_expression('--fields', expression)
    paths = [
        path for path in visible_files(folder)
        if path.suffix.lower() in IMAGE_SUFFIXES
        and _fits(path.relative_to(folder).as_posix(), pattern)
    ]
    if not paths:
        raise PrepareError(
            f'{folder}: no image file ({", ".join(IMAGE_SUFFIXES)}) in it or '
            f'below it fits {pattern!r}; it holds {_shown_names(folder)}.')
    for path in paths:
        if not mbos.io.is_printable(str(path.relative_to(folder))):
            raise PrepareError(
                f'{path.parent}: the file name {path.name!r} has characters '
                'that cannot be printed; rename the file.')
    stems = Counter(path.stem.casefold() for path in paths)
    photographs = []
    for path in sorted(paths):
        relative = path.relative_to(folder)
        name = path.stem
        if stems[name.casefold()] > 1:
            name = '_'.join(relative.with_suffix('').parts)
        fields = dict(stem=path.stem, dir=relative.parent.as_posix())
        if compiled:
            fields.update(_fields(compiled, path))
        photographs.append(Photograph(path, relative.as_posix(), name, fields))
    return photographs


def left_out(folder: Path) -> list[str]:
    """Say how many files of a folder are not read as images."""
    kinds = count_kinds(
        path.name for path in visible_files(folder)
        if path.suffix.lower() not in IMAGE_SUFFIXES)
    return [f'left out are {kinds}, which are not read as images.'
            ] if kinds else []


def same_names(photographs: Iterable[Photograph]) -> list[str]:
    """Say which photographs would overwrite each other's prepared files."""
    first: dict[str, Photograph] = {}
    problems = []
    for photograph in photographs:
        other = first.setdefault(photograph.name.casefold(), photograph)
        if other is not photograph:
            problems.append(
                f'{photograph.path}: {other.path} has the same name and is '
                'taken; rename one of the two, or choose with --images.')
    return problems


def compile_expression(option: str,
                       expression: str | None) -> re.Pattern | None:
    """Compile a regular expression that the user gave.

    Raises:
        PrepareError: If it is not one.
    """
    try:
        return expression and re.compile(expression)
    except re.error as error:
        raise PrepareError(f'{option} {expression!r} is not a regular '
                           f'expression: {error}.') from None


def _fields(expression: re.Pattern, path: Path) -> dict[str, str]:
    match = expression.search(path.stem)
    if match is None:
        raise PrepareError(
            f'{path}: its name does not fit --fields {expression.pattern!r}; '
            'change the expression, or choose photographs with --images.')
    return {k: v for k, v in match.groupdict().items() if v is not None}


def _fits(relative: str, pattern: str) -> bool:
    """Whether a path, or its end, fits a pattern."""
    name = relative if '/' in pattern else relative.rsplit('/', 1)[-1]
    return fnmatch.fnmatchcase(name.lower(), pattern.lower())


class MaskPattern:
    """Where the masks of one kind are.

    ``key`` is what the user calls them, as in ``key=pattern``. The pattern is
    a path with ``{fields}`` of the photograph, which may have wildcards, or a
    folder with files of the photographs' stems. A relative one starts in the
    folder of the photographs, or in the one above it, or in the working
    directory: where it fits first.

    Raises:
        PrepareError: If it fits no file at all, or names unknown fields.
    """

    def __init__(self, key: str, pattern: str, folder: Path,
                 photographs: Sequence[Photograph]):
        self.key = key
        self.text = f'{key}={pattern!r}'
        self._names: dict[str, tuple[list[str], list[str]]] = {}
        tried = []
        for base in (folder, folder.parent, Path()):
            self._pattern = self._complete(base, pattern)
            self._check_fields(photographs)
            if any(self._matches(photograph) for photograph in photographs):
                return
            tried.append(str(self._path(photographs[0])))
        tried = list(dict.fromkeys(tried))
        raise PrepareError(
            f'{self.text} fits no file of any photograph; tried '
            f'{", ".join(tried)} for {photographs[0].path} '
            f'({_nearest(tried[0])}).')

    def _complete(self, base: Path, pattern: str) -> str:
        """The pattern from where it starts; of a folder, of its files."""
        path = base / pattern
        if not FIELD.search(pattern) and path.is_dir():
            return str(Path(glob.escape(str(path)), '{stem}.*'))
        if FIELD.search(pattern):
            return str(Path(glob.escape(str(base)), pattern))
        return str(path)

    def _check_fields(self, photographs: Sequence[Photograph]) -> None:
        names = FIELD.findall(self._pattern)
        known = photographs[0].fields
        for name in names:
            if name not in known:
                raise PrepareError(
                    f'{self.text} names the unknown field {{{name}}}; known '
                    f'are {", ".join(f"{{{k}}}" for k in known)}, and named '
                    'groups of --fields.')
        if not names and any(c in self._pattern for c in '*?'):
            raise PrepareError(
                f'{self.text} does not say which file belongs to which '
                "photograph; put {stem} into it, such as 'masks/{stem}.png'.")

    def _path(self, photograph: Photograph) -> Path:
        """The pattern, filled in for one photograph."""
        return Path(
            FIELD.sub(lambda m: glob.escape(photograph.fields.get(m[1], '*')),
                      self._pattern))

    def _matches(self, photograph: Photograph) -> list[Path]:
        path = self._path(photograph)
        parent = str(path.parent)
        folders = glob.glob(
            parent, recursive=True) if glob.has_magic(parent) else [parent]
        found = [
            Path(folder, name) for folder in folders
            for name in self._starting_like(folder, path.name.lower())
            if fnmatch.fnmatchcase(name.lower(), path.name.lower())
            and _is_image(name)
        ]
        exact = [f for f in found if fnmatch.fnmatchcase(f.name, path.name)]
        return [f for f in exact or found if f != photograph.path]

    def _starting_like(self, folder: str, pattern: str) -> list[str]:
        """Visible files that begin as a pattern does, before its wildcards."""
        if folder not in self._names:
            self._names[folder] = _visible_names(folder)
        lower, names = self._names[folder]
        start = re.match(r'[^*?[]*', pattern)[0]
        first = bisect.bisect_left(lower, start)
        last = bisect.bisect_right(lower, start + chr(sys.maxunicode))
        return names[first:last]

    def find(self, photograph: Photograph) -> Path | None:
        """The mask of a photograph; None if there is none.

        Raises:
            PrepareError: If there are several.
        """
        found = sorted(self._matches(photograph))
        if len(found) > 1:
            raise PrepareError(
                f'{photograph.path}: {self.text} fits {len(found)} files, '
                f'{named(found)}; make the pattern fit one.')
        return found[0] if found else None

    def expected(self, photograph: Photograph) -> str:
        """Where the mask of a photograph is looked for."""
        return str(self._path(photograph)).replace('[[]', '[')

    def all_files(self) -> set[Path]:
        """All files that could be masks of any photograph."""
        pattern = FIELD.sub('*', self._pattern)
        return {
            Path(f)
            for f in glob.glob(pattern, recursive=True)
            if _is_image(f) and os.path.isfile(f)
        }


def _visible_names(folder: str) -> tuple[list[str], list[str]]:
    """Files of a folder in lower case, sorted, and as they are written."""
    if not os.path.isdir(folder):
        return [], []
    names = sorted((entry.name for entry in os.scandir(folder)
                    if not entry.name.startswith('.') and entry.is_file()),
                   key=str.lower)
    return [name.lower() for name in names], names


def _is_image(name: str) -> bool:
    return Path(name).suffix.lower() in IMAGE_SUFFIXES


def _nearest(path: str) -> str:
    """What the last existing folder of a path holds."""
    folder = Path(path).parent
    while not folder.is_dir():
        folder = folder.parent
    return f'{folder} holds {_shown_names(folder)}'


def _shown_names(folder: Path) -> str:
    names = sorted(entry.name + '/' * entry.is_dir()
                   for entry in folder.iterdir()
                   if not entry.name.startswith('.'))
    return named(names) or 'nothing'


def named(things: Sequence) -> str:
    """The first of some names, in a line."""
    shown = [str(thing) for thing in things[:MAX_NAMED]]
    return ', '.join(shown) + (', ...' if len(things) > MAX_NAMED else '')
