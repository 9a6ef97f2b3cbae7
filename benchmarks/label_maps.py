"""What postprocessing is worth on validation photographs.

usage: python -m benchmarks.label_maps CONFIG CHECKPOINT

Every photograph of the config's data.val is predicted, as `mbos predict` does.
Label maps at the checkpoint's thresholds (`mbos test --threshold-from-val`
finds those of the best Dice) are scored as they are and with each rule of
postprocessing on its own. The table has Dice over all pixels of a set; its
first column is of the checkpoint's own thresholds and rules.
"""
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from mmseg.datasets import build_dataset
from tqdm import tqdm

from benchmarks.common import markdown
from mbos.apis import load_config, load_model, member_datasets, predict
from mbos.checkpoints.settings import Postprocessing, PredictionSettings
from mbos.commands.options import FLAG, make_parser
from mbos.inference.postprocessing import Postprocessor
from mbos.io.field_of_view import FieldOfView
from mbos.tasks import Task

RULES = {
    'as it is': {},
    **{f'rim {share}': dict(rim=float(share))
       for share in ('0', '0.0025', '0.005', '0.01')},
    'one object': dict(one_object=['odoc']),
    **{f'specks {share}': dict(specks=float(share))
       for share in ('3e-6', '1e-5', '3e-5', '1e-4')},
}  # yapf: disable
"""dict[str, dict]: Rules by their name in the table; the same specks are
removed of every class."""

INSIDE = ('vessel', )
"""tuple[str]: Tasks that are scored inside the field of view only, as the
collections of vessels do."""


class Predicted(NamedTuple):
    """A labelled task of a photograph: its probabilities, what is labelled and
    where that is known, all (C, H, W).
    """

    dataset: str
    task: Task
    view: FieldOfView
    prob: np.ndarray
    target: np.ndarray
    valid: np.ndarray


def predict_all(model, cfg, flip: bool) -> Iterator[Predicted]:
    """Predict all validation photographs."""
    tasks = list(model.tasks.values())
    for member in member_datasets(cfg.data.val):
        root = member.get('data_root', cfg.get('data_root'))
        dataset = build_dataset(
            dict(member, tasks=tasks, test_mode=True, data_root=root))
        labelled = [task for task in tasks if task.name in dataset.truth]
        for index in tqdm(range(len(dataset)), dataset.name, disable=None):
            path = dataset.image_path(index)
            found = predict(model, path, flip=flip, postprocess=False)
            for task in labelled:
                plane = dataset.get_gt_plane(index, task.name)
                known = task.known_mask(dataset.truth[task.name].classes)
                target, valid = task.encode(
                    torch.from_numpy(plane).long(), known=known)
                valid = valid.numpy() & known[:, None, None].numpy()
                if task.name in INSIDE:
                    valid &= found.field_of_view.mask > 0
                yield Predicted(dataset.name, task, found.field_of_view,
                                found.probabilities[task.name], target.numpy(),
                                valid)


def label_maps(
        photo: Predicted,
        settings: PredictionSettings) -> Iterator[tuple[str, np.ndarray]]:
    """Label maps (H, W) of a photograph by every rule."""
    task, own = photo.task, settings.threshold(photo.task.name)
    ways = {
        'own settings': (own, settings.postprocessing),
        'at 0.5': (0.5, Postprocessing())
    }
    for rule, given in RULES.items():
        if 'specks' in given:
            given = dict(specks={task.name: given['specks']})
        ways[rule] = own, Postprocessing(**given)
    for name, (threshold, rules) in ways.items():
        labels = task.decode(torch.from_numpy(photo.prob), threshold).numpy()
        Postprocessor(photo.view, rules)(task, labels, photo.prob)
        yield name, labels


def score(photos: Iterator[Predicted],
          settings: PredictionSettings) -> dict[str, dict[str, float]]:
    """Dice over all pixels, by rule and '<set>.<task>.<class>'."""
    sums: dict = defaultdict(lambda: defaultdict(lambda: np.zeros(2)))
    for photo in photos:
        task, target = photo.task, photo.target & photo.valid
        for rule, labels in label_maps(photo, settings):
            found, _ = task.encode(torch.from_numpy(labels))
            found = found.numpy() & photo.valid
            for name, a, b in zip(task.classes, found, target):
                sums[rule][f'{photo.dataset}.{task.name}.{name}'] += (
                    2 * np.count_nonzero(a & b),
                    np.count_nonzero(a) + np.count_nonzero(b))
    return {
        rule: {
            key: float(a / b)
            for key, (a, b) in own.items() if b
        }
        for rule, own in sums.items()
    }


def main(argv=None) -> None:
    """Print a table of all rules."""
    args = make_parser(__doc__, [
        ('config', '', {}),
        ('checkpoint', '', {}),
        ('--flip', '', FLAG),
    ]).parse_args(argv)
    model = load_model(args.checkpoint, device='cpu')
    photos = predict_all(model, load_config(args.config), args.flip)
    results = score(photos, model.settings)
    rows = [('', *results)]
    rows += [(key, *(f'{row[key]:.4f}' for row in results.values()))
             for key in results['at 0.5']]
    print(markdown(rows))


if __name__ == '__main__':
    main()
