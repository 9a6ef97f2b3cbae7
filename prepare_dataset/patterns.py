"""Which mask files belong to which photograph, by a pattern of names.

What the user can correct is raised as ``RefusedError``.
"""
import fnmatch
import glob
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mbos.faults import first_of
from mbos.io import RefusedError, is_printable
from .layout import IMAGE_SUFFIXES, unprintable, visible_files

FIELD = re.compile(r'\{(\w+)\}')


class MissingMaskError(RefusedError):
    """A photograph has no mask where there should be one."""


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
    fields: Mapping[str, str]

    def is_called(self, pattern: str) -> bool:
        """Whether its path in the folder, with or without suffix, its file
        name, stem or name fits a pattern.
        """
        bare = self.relative.rsplit('.', 1)[0]
        names = (self.relative, bare, self.path.name, self.path.stem,
                 self.name)
        return any(_fits(pattern, name) for name in names)


def list_photographs(folder: Path, pattern: str,
                     expression: str | None) -> list[Photograph]:
    """List the image files in a folder and below it, by relative path.

    ``pattern`` chooses them, such as ``'*.jpg'`` or ``'images/*.jpg'``; the
    named groups of ``expression``, searched in the stem, become fields.
    """
    paths = []
    for path in visible_files(folder):
        shown = path.relative_to(folder).as_posix()
        if _is_image(path) and _fits(pattern,
                                     shown if '/' in pattern else path.name):
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
        relative, name = path.relative_to(folder), path.stem
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

    ``values`` are labels by value of the mask, where the user says what they
    mean; a photograph may lack a mask that is ``optional``.
    """

    def __init__(self,
                 key: str,
                 pattern: str,
                 folder: Path,
                 photographs: Sequence[Photograph],
                 values: Mapping[int, int] | None = None,
                 optional: bool = False):
        self.text = f'{key}={pattern!r}'
        self.values = values
        self.optional = optional
        self._used: set[Path] = set()
        self._images_in = cache(_images_in)
        names = FIELD.findall(pattern)
        known = photographs[0].fields
        for name in names:
            if name not in known:
                raise RefusedError(
                    f'{self.text} names the unknown field {{{name}}}; known '
                    f'are {", ".join(known)}, and named groups of --fields.')
        if not names and any(c in pattern for c in '*?'):
            raise RefusedError(
                f'{self.text} does not say which file belongs to which '
                "photograph; put {stem} into it, such as 'masks/{stem}.png'.")
        tried = {}
        for base in (folder, folder.parent, Path()):
            self._pattern = _complete(base, pattern)
            if any(self._matches(photograph) for photograph in photographs):
                return
            tried[str(self._path(photographs[0]))] = base
        raise RefusedError(
            f'{self.text} fits no file of any photograph; tried '
            f'{", ".join(tried)} for {photographs[0].path}.')

    def _path(self, photograph: Photograph) -> Path:
        """The pattern, filled in for one photograph."""

        def value(match: re.Match) -> str:
            text = photograph.fields[match[1]]
            # of a group that took no part anything fits
            return text if text == '*' else glob.escape(text)

        return Path(FIELD.sub(value, self._pattern))

    def _matches(self, photograph: Photograph) -> list[Path]:
        path = self._path(photograph)
        folders = glob.glob(str(path.parent), recursive=True)
        return [
            file for folder in folders for file in self._images_in(folder)
            if _fits(path.name, file.name) and file != photograph.path
        ]

    def find(self, photograph: Photograph) -> Path | None:
        """The mask of a photograph; None if there is none and need not be."""
        found = sorted(self._matches(photograph))
        if len(found) > 1:
            raise RefusedError(
                f'{photograph.path}: {self.text} fits {len(found)} files, '
                f'{first_of(map(str, found))}; make the pattern fit one.')
        if not found and not self.optional:
            expected = str(self._path(photograph)).replace('[[]', '[')
            raise MissingMaskError(
                f'{photograph.path}: has no mask {self.text}; expected '
                f'{expected}. Add it, or see --skip-unlabelled and --optional.'
            )
        self._used.update(found)
        return found[0] if found else None

    def all_files(self) -> set[Path]:
        """All files that could be masks of any photograph."""
        found = glob.glob(FIELD.sub('*', self._pattern), recursive=True)
        return set(filter(_is_image, map(Path, found)))

    def left_over(self) -> list[str]:
        """A note about masks that belong to no photograph."""
        rest = sorted(map(str, self.all_files() - self._used))
        return [
            f'{len(rest)} files fit {self.text} but belong to no photograph '
            f'that is prepared: {first_of(rest)}.'
        ] if rest else []


def _complete(base: Path, pattern: str) -> str:
    """The pattern from where it starts; of a folder, of its files."""
    path = base / pattern
    if FIELD.search(pattern):
        return str(Path(glob.escape(str(base)), pattern))
    if path.is_dir():
        return str(Path(glob.escape(str(path)), '{stem}.*'))
    return str(path)


def _images_in(folder: str) -> list[Path]:
    files = Path(folder).iterdir() if Path(folder).is_dir() else ()
    return [f for f in files if _is_image(f) and not f.name.startswith('.')]


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()


def _fits(pattern: str, text: str) -> bool:
    """As a shell's pattern, in upper or lower case."""
    return fnmatch.fnmatchcase(text.lower(), pattern.lower())
