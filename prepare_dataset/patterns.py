"""Which mask files belong to which photograph, by a pattern of names.

What the user can correct is raised as ``RefusedError``.
"""
import fnmatch
import glob
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from mbos.io import RefusedError, is_printable
from .layout import IMAGE_SUFFIXES, unprintable, visible_files

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
    """
    paths = []
    for path in visible_files(folder):
        shown = path.relative_to(folder).as_posix()
        chosen_by = shown if '/' in pattern else path.name
        if _is_image(path) and _fits(pattern, chosen_by):
            if not is_printable(shown):
                raise RefusedError(unprintable(path))
            paths.append(path)
    if not paths:
        raise RefusedError(
            f'{folder}: no image file ({", ".join(IMAGE_SUFFIXES)}) in it or '
            f'below it fits {pattern!r}.')
    stems = Counter(path.stem.casefold() for path in paths)
    photographs = []
    for path in sorted(paths):
        relative = path.relative_to(folder)
        name = path.stem
        if stems[name.casefold()] > 1:
            name = '_'.join(relative.with_suffix('').parts)
        fields = dict(stem=path.stem, dir=relative.parent.as_posix())
        if expression:
            groups = search('--fields', expression, path.stem, path)
            fields |= {k: v or '*' for k, v in groups.groupdict().items()}
        photographs.append(Photograph(path, relative.as_posix(), name, fields))
    return photographs


def search(option: str, expression: str, text: str, path: Path) -> re.Match:
    """Search the text of a photograph's name by an expression of the user."""
    try:
        match = re.search(expression, text)
    except re.error as error:
        raise RefusedError(f'{option} {expression!r} is not a regular '
                           f'expression: {error}.') from None
    if match is None:
        raise RefusedError(
            f'{path}: its name does not fit {option} {expression!r}; '
            'change the expression, or choose photographs with --images.')
    return match


class MaskPattern:
    """Where the masks of one kind are.

    ``key`` is what the user calls them, as in ``key=pattern``. The pattern is
    a path with ``{fields}`` of the photograph, which may have wildcards, or a
    folder with files of the photographs' stems. A relative one starts in the
    folder of the photographs, or in the one above it, or in the working
    directory: where it fits first. Names fit in upper and lower case.
    """

    def __init__(self, key: str, pattern: str, folder: Path,
                 photographs: Sequence[Photograph]):
        self.key = key
        self.text = f'{key}={pattern!r}'
        self._used: set[Path] = set()
        self._images_in = cache(_images_in)
        tried = []
        for base in (folder, folder.parent, Path()):
            self._pattern = _complete(base, pattern)
            self._check_fields(photographs[0])
            if any(self._matches(photograph) for photograph in photographs):
                return
            tried.append(str(self._path(photographs[0])))
        raise RefusedError(
            f'{self.text} fits no file of any photograph; tried '
            f'{", ".join(dict.fromkeys(tried))} for {photographs[0].path}.')

    def _check_fields(self, photograph: Photograph) -> None:
        names = FIELD.findall(self._pattern)
        unknown = [name for name in names if name not in photograph.fields]
        if unknown:
            known = ', '.join(f'{{{k}}}' for k in photograph.fields)
            raise RefusedError(
                f'{self.text} names the unknown field {{{unknown[0]}}}; known '
                f'are {known}, and named groups of --fields.')
        if not names and any(c in self._pattern for c in '*?'):
            raise RefusedError(
                f'{self.text} does not say which file belongs to which '
                "photograph; put {stem} into it, such as 'masks/{stem}.png'.")

    def _path(self, photograph: Photograph) -> Path:
        """The pattern, filled in for one photograph."""
        return Path(
            FIELD.sub(lambda m: _escaped(photograph.fields[m[1]]),
                      self._pattern))

    def _matches(self, photograph: Photograph) -> list[Path]:
        path = self._path(photograph)
        folders = glob.glob(str(path.parent), recursive=True)
        return [
            file for folder in folders for file in self._images_in(folder)
            if _fits(path.name, file.name) and file != photograph.path
        ]

    def find(self, photograph: Photograph) -> Path | None:
        """The mask of a photograph; None if there is none."""
        found = sorted(self._matches(photograph))
        if len(found) > 1:
            raise RefusedError(
                f'{photograph.path}: {self.text} fits {len(found)} files, '
                f'{named(found)}; make the pattern fit one.')
        self._used.update(found)
        return found[0] if found else None

    def lack(self, photograph: Photograph) -> str:
        """Say that a photograph has no mask, and where it is looked for."""
        expected = str(self._path(photograph)).replace('[[]', '[')
        return (f'{photograph.path}: has no mask {self.text}; expected '
                f'{expected}. Add it, or ')

    def all_files(self) -> set[Path]:
        """All files that could be masks of any photograph."""
        found = glob.glob(FIELD.sub('*', self._pattern), recursive=True)
        return set(filter(_is_image, map(Path, found)))

    def left_over(self) -> list[str]:
        """A note about masks that belong to no photograph."""
        rest = sorted(self.all_files() - self._used)
        return [
            f'{len(rest)} files fit {self.text} but belong to no photograph '
            f'that is prepared: {named(rest)}.'
        ] if rest else []


def _complete(base: Path, pattern: str) -> str:
    """The pattern from where it starts; of a folder, of its files."""
    path = base / pattern
    if FIELD.search(pattern):
        return str(Path(glob.escape(str(base)), pattern))
    if path.is_dir():
        return str(Path(glob.escape(str(path)), '{stem}.*'))
    return str(path)


def _escaped(value: str) -> str:
    # of a group that took no part anything fits
    return value if value == '*' else glob.escape(value)


def _images_in(folder: str) -> list[Path]:
    files = Path(folder).iterdir() if Path(folder).is_dir() else ()
    return [f for f in files if _is_image(f) and not f.name.startswith('.')]


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()


def _fits(pattern: str, text: str) -> bool:
    """As a shell's pattern, in upper or lower case."""
    return fnmatch.fnmatchcase(text.lower(), pattern.lower())


def named(things: Sequence) -> str:
    """The first of some names, in a line."""
    shown = [str(thing) for thing in things[:MAX_NAMED]]
    return ', '.join(shown) + (', ...' if len(things) > MAX_NAMED else '')
