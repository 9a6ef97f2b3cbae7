"""The entry of a config for a prepared collection."""
from collections.abc import Sequence
from pathlib import Path

from .description import Collection
from .own_masks import TASKS, Masks

TEST = 'test_pipeline'


def config_snippet(collection: Collection, folder: Path,
                   masks: Sequence[Masks]) -> str:
    """Write what a config needs to use a prepared collection: a line for
    ``model.tasks`` if tasks are not built in, and an entry per split.
    """
    trained = [m for m in masks if not m.is_second]
    lines = ['For a config (docs/how_to.md, "Add a dataset"):']
    own = [m.task for m in trained if m.task not in TASKS]
    for task in own:
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
    """A dataset, argument by argument."""
    base = collection.split_folder(split)
    name = f'{collection.name}_{split}' if base else collection.name
    name = ''.join(c if c.isalnum() else '_' for c in name).lower()
    below = f'{base}/' if base else ''
    pipeline = 'train_pipeline' if split == 'train' else TEST
    arguments = dict(
        type=repr('PartialLabelDataset'),
        name=repr(name),
        data_root=repr(str(folder)),
        img_dir=repr(f'{below}images'))
    if collection.image_suffix != '.jpg':
        arguments['img_suffix'] = repr(collection.image_suffix)
    if masks:
        arguments['ann_dirs'] = 'dict({})'.format(', '.join(
            f'{m.folder}={_annotation(m, below)}' for m in masks))
    if pipeline == TEST:
        arguments['fov_dir'] = repr(f'{below}fov')
    arguments['pipeline'] = f'{{{{_base_.{pipeline}}}}}'
    rows = [f'    {key}={value}' for key, value in arguments.items()]
    return [f'{name} = dict(', ',\n'.join(rows) + ')']


def _annotation(masks: Masks, below: str) -> str:
    """Folder of a task, and its classes where only some are labelled."""
    path = f'{below}{masks.folder}'
    if masks.labelled == masks.task.classes:
        return repr(path)
    return f'dict(path={path!r}, classes={list(masks.labelled)!r})'
