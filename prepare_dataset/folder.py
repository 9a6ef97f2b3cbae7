"""One's own collection: any folder of photographs, with or without masks.

    python -m prepare_dataset.folder IMAGES OUT --masks vessel='m/{stem}.png'

IMAGES is a folder of photographs, in it or below it. ``--masks`` says where
the masks of a task are: ``TASK=PATTERN`` for one mask per photograph, or
``TASK.CLASS=PATTERN`` for a mask of each class. In a pattern ``{stem}``
stands for the photograph's name without suffix, ``{dir}`` for its folder in
IMAGES, and ``*`` for anything. A relative pattern starts in IMAGES, in the
folder above it, or in the working directory. A mask of one structure has 0
and one other value; one of several classes has 0, 1, 2, ... in the order of
the classes, or what ``--values`` says. ``vessel-2nd=PATTERN`` is prepared
beside ``vessel``, as a second observer's. Without ``--masks`` photographs
are prepared for prediction and pseudo labels.
"""
import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from mbos.faults import first_of
from mbos.io import RefusedError
from mbos.tasks import BUILTIN_TASKS
from .check import COLLECTIONS
from .cli import add_options, finish
from .cli import make_parser as base_parser
from .description import Collection, Split
from .driver import Summary, run
from .layout import (IMAGE_SUFFIXES, IMAGES, Found, Item, note_of_left_out,
                     taken, visible_files)
from .own_masks import Masks, masks_of
from .patterns import (MaskPattern, MissingMaskError, Photograph,
                       list_photographs)
from .record import read_records
from .splits import WHOLE, group_of, split_photographs

SUFFIXES = ('.jpg', '.png', '.tif')


def prepare(images,
            out,
            masks: Sequence[str] = (),
            name: str | None = None,
            only: str = '*',
            fields: str | None = None,
            classes: Sequence[str] = (),
            nested: Sequence[str] = (),
            values: Sequence[str] = (),
            optional: Sequence[str] = (),
            skip_unlabelled: bool = False,
            splits: Sequence[str] = (),
            group: str | None = None,
            seed: int = 0,
            fov: str | None = None,
            crop: str = 'fov',
            suffix: str = SUFFIXES[0],
            **options) -> Summary:
    """Prepare one's own collection: a summary that ends with entries for a
    config.

    The arguments are the options of the command, ``only`` is ``--images``;
    ``**options`` are those of ``driver.run``.
    """
    folder, out = Path(images), Path(out)
    if not folder.is_dir():
        raise RefusedError(f'{folder}: is not a folder; give the folder that '
                           'holds the photographs.')
    name = name or _name_of(folder)
    everything = list_photographs(folder, only, fields)
    labels = masks_of(folder, everything, masks, classes, nested, values,
                      optional)
    patterns = [p for m in labels for p in m.patterns.values()]
    fovs = [MaskPattern('--fov', fov, folder, everything)] if fov else []
    photographs = _without_masks(everything, [*patterns, *fovs])
    divided, notes = split_photographs(photographs, splits,
                                       group_of(photographs, group), seed)
    found = {
        split: find_items(members, labels, fovs, skip_unlabelled, folder)
        for split, members in divided.items()
    }
    # what the images and the labels of each folder depend on
    recipe = dict(crop=[crop]) | {
        m.folder: [
            text for text in (*masks, *classes, *values)
            if re.split('[.=]', text)[0] in (m.folder, m.task.name)
        ]
        for m in labels
    }
    collection = Collection(
        name,
        name,
        lambda raw, split: found[split], {
            split:
            Split(
                len(members.items) + len(members.problems),
                crop=crop,
                folder='' if split == WHOLE else split)
            for split, members in found.items()
        }, {m.folder: m.describe()
            for m in labels},
        suffix,
        recipe=recipe)
    _check_name(out / name, collection)
    summary = run(collection, folder, out, **options)
    summary.notes += notes
    for pattern in patterns:
        summary.notes += pattern.left_over()
    summary.notes += note_of_left_out(
        path for path in visible_files(folder)
        if path.suffix.lower() not in IMAGE_SUFFIXES)
    summary.ending = config_snippet(collection, summary.folder, labels)
    return summary


def _name_of(folder: Path) -> str:
    """The name of a folder, or of the one above it."""
    folder = folder.resolve()
    if folder.name.lower() in IMAGES and folder.parent.name:
        folder = folder.parent
    return folder.name


def _without_masks(photographs: Sequence[Photograph],
                   patterns: Sequence[MaskPattern]) -> list[Photograph]:
    """Leave out files that are the mask of another photograph, and refuse
    photographs of one name.
    """
    masks = set().union(*(pattern.all_files() for pattern in patterns))
    rest = [p for p in photographs if p.path not in masks] or photographs
    first: dict[str, Photograph] = {}
    for photograph in rest:
        other = first.setdefault(photograph.name.casefold(), photograph)
        if other is not photograph:
            raise RefusedError(taken(photograph.path, other.path))
    return list(rest)


def find_items(photographs: Sequence[Photograph], masks: Sequence[Masks],
               fovs: Sequence[MaskPattern], skip_unlabelled: bool,
               folder: Path) -> Found:
    """Find the masks of a split's photographs.

    With ``skip_unlabelled``, photographs that lack a mask are left out; else
    they are errors.
    """
    found, skipped = Found(folder), []
    for photograph in photographs:
        try:
            labels = {m.folder: m.reader(photograph) for m in masks}
            fov = [pattern.find(photograph) for pattern in fovs]
            found.items.append(
                Item(photograph.name, photograph.path, labels, *fov))
        except RefusedError as error:
            if skip_unlabelled and isinstance(error, MissingMaskError):
                skipped.append(photograph.relative)
            else:
                found.problems.append(str(error))
    if skipped:
        found.notes.append(f'{len(skipped)} photographs without a mask are '
                           f'left out: {first_of(skipped)}.')
    return found


def _check_name(folder: Path, collection: Collection) -> None:
    """Refuse what would mix two preparations of one name: photographs that
    are in other splits now, or other masks; or folders of something else.
    """
    name = collection.name
    known = [own.folder.lower() for own in COLLECTIONS]
    record = read_records(folder).get(name)
    taken_by_others = record is None and folder.exists() and any(
        folder.iterdir())
    if '/' in name or name[:1] in ('', '.') or name.lower() in known or (
            taken_by_others):
        raise RefusedError(
            f'{folder}: is not the name of a folder, or is there without '
            'having been prepared by this command, or belongs to a collection '
            'which has a command of its own; choose another name by --name.')
    if record is None:
        return
    remove = f'remove {folder} and prepare it again, or choose another --name.'
    for key, value in collection.recipe.items():
        if record.recipe.get(key, value) != value:
            raise RefusedError(
                f'{folder}: {key} was prepared with {record.recipe[key]}, '
                f'now with {value}; {remove}')
    now = {
        item.stem: split
        for split in collection.splits
        for item in collection.find(folder, split).items
    }
    for split, earlier in record.splits.items():
        for stem in earlier.photographs:
            if now.get(stem, split) != split:
                raise RefusedError(
                    f'{folder}: {stem} was prepared in the split {split}, '
                    f'now it is in {now[stem]}; {remove}')


def config_snippet(collection: Collection, folder: Path,
                   masks: Sequence[Masks]) -> str:
    """Write what a config needs to use a prepared collection: a line for
    ``model.tasks`` if tasks are not built in, and an entry per split.
    """
    trained = [m for m in masks if not m.is_second]
    lines = ['For a config (docs/how_to.md, "Add a dataset"):']
    for task in (m.task for m in trained):
        if task == BUILTIN_TASKS.get(task.name):
            continue
        nested = ', nested=True' if task.nested else ''
        lines.append(f'# a task of model.tasks: dict(name={task.name!r}, '
                     f'classes={task.classes!r}{nested})')
    for split in collection.splits:
        lines += _entry(collection, split, folder, trained)
    if not trained:
        lines.append('# without labels: give its img_dir pseudo_dirs '
                     '(tools/generate_pseudo_labels.py), or predict it')
    return '\n'.join(lines)


def _entry(collection: Collection, split: str, folder: Path,
           masks: Sequence[Masks]) -> list[str]:
    """A dataset of a config, argument by argument."""
    below = collection.split_folder(split)
    name = f'{collection.name}_{split}' if below else collection.name
    name = re.sub(r'\W', '_', name).lower()
    below += '/' * bool(below)
    rows = [
        "type='PartialLabelDataset'", f'name={name!r}',
        f'data_root={str(folder)!r}', f"img_dir='{below}images'"
    ]
    if collection.image_suffix != '.jpg':
        rows.append(f'img_suffix={collection.image_suffix!r}')
    annotations = []
    for m in masks:
        entry = repr(f'{below}{m.folder}')
        if m.labelled != m.task.classes:
            entry = f'dict(path={entry}, classes={list(m.labelled)!r})'
        annotations.append(f'{m.folder}={entry}')
    if masks:
        rows.append(f'ann_dirs=dict({", ".join(annotations)})')
    if split == 'train':
        rows.append('pipeline={{_base_.train_pipeline}}')
    else:
        rows += [f"fov_dir='{below}fov'", 'pipeline={{_base_.test_pipeline}}']
    return [f'{name} = dict(', ',\n'.join(f'    {r}' for r in rows) + ')']


SEVERAL = dict(
    masks=('TASK[.CLASS]=PATTERN', "such as vessel='manual1/{stem}.png'"),
    classes=('TASK=CLASS,CLASS', 'all classes in the order of label values'),
    nested=('TASK', 'whose classes contain those after them (odoc does)'),
    values=('TASK[.CLASS]=VALUES', 'such as vessel=128-255 (the rest is '
            'background) or odoc=disc:128,cup:0,background:255'),
    optional=('TASK[.CLASS]',
              'masks that show nothing where they are missing'),
    splits=('NAME=SHARE|LIST|PATTERN', "such as val=0.2, val=val.txt or "
            "'val=val/*'; the rest is for training (default: no splits)"))
"""dict[str, tuple]: Options of several values: what they are, and help."""
SINGLE = dict(
    name=('NAME', 'folder in OUT (default: that of the photographs)'),
    fields=('REGEX', 'searched in the stem; its named groups may be used in '
            r"patterns, such as '(?P<number>\d+)_training'"),
    group=('REGEX', 'what it finds in the path is a patient, never divided'),
    fov=('PATTERN', 'masks of the field of view (default: it is found)'))
"""dict[str, tuple]: The same of options of one value."""


def make_parser() -> argparse.ArgumentParser:
    """Describe the arguments."""
    parser = base_parser(__doc__)
    add = parser.add_argument
    add('images', metavar='IMAGES', help='folder of the photographs')
    add('out', metavar='OUT', help='folder that will contain the collection')
    several = dict(nargs='+', action='extend', default=[])
    for name, (what, text) in SEVERAL.items():
        add(f'--{name}', metavar=what, help=text, **several)
    for name, (what, text) in SINGLE.items():
        add(f'--{name}', metavar=what, help=text)
    text = "which are photographs, such as '*.jpg' (default: all but masks)"
    add('--images', dest='only', default='*', metavar='PATTERN', help=text)
    text = 'leave out photographs that lack a mask'
    add('--skip-unlabelled', action='store_true', help=text)
    add('--seed', type=int, default=0, help='of the shares (default: 0)')
    text = 'crop to the field of view and pad to a square (default), or less'
    add('--crop', choices=('fov', 'pad', 'none'), default='fov', help=text)
    text = 'of the prepared images: .jpg (default), or without loss'
    add('--suffix', choices=SUFFIXES, default=SUFFIXES[0], help=text)
    add_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see ``cli.finish`` for the exit code."""
    arguments = vars(make_parser().parse_args(argv))
    return finish(lambda: prepare(**arguments))


if __name__ == '__main__':
    sys.exit(main())
