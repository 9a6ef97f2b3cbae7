"""What thresholds and postprocessing are worth on validation photographs.

usage: python -m benchmarks.label_maps CONFIG CHECKPOINT [--out choices.json]

Every photograph of the config's data.val is predicted, as `mbos predict` does.
Then thresholds by class are chosen, those of the best Dice over all
photographs, each counted by shares of its field of view so that large files do
not count more; and label maps at these thresholds are scored as they are and
with each rule of postprocessing on its own. The table has Dice over all pixels
of a set; its first column is of the checkpoint's own thresholds and rules.
"""
import json
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from mmseg.datasets import build_dataset
from tqdm import tqdm

from benchmarks.common import markdown
from mbos.apis import load_config, load_model, member_datasets, predict
from mbos.checkpoints.settings import Postprocessing
from mbos.commands.options import FLAG, make_parser
from mbos.inference.postprocessing import Postprocessor
from mbos.io.field_of_view import FieldOfView
from mbos.io.files import save_json
from mbos.metrics.score_curves import best_threshold
from mbos.metrics.scores import histogram, rank_scores
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


def predict_all(model, cfg, flip: bool, stage: str) -> Iterator[Predicted]:
    """Predict all validation photographs."""
    tasks = list(model.tasks.values())
    for member in member_datasets(cfg.data.val):
        root = member.get('data_root', cfg.get('data_root'))
        dataset = build_dataset(
            dict(member, tasks=tasks, test_mode=True, data_root=root))
        labelled = [task for task in tasks if task.name in dataset.truth]
        title = f'{stage}: {dataset.name}'
        for index in tqdm(range(len(dataset)), title, disable=None):
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


def choose_thresholds(photos: Iterator[Predicted]) -> dict[str, dict]:
    """The threshold of each class with the highest Dice, by task."""
    counts: dict = defaultdict(dict)
    for photo in photos:
        area = np.count_nonzero(photo.view.mask)
        own = counts[photo.task.name]
        for name, prob, target, valid in zip(photo.task.classes, photo.prob,
                                             photo.target, photo.valid):
            ranked = rank_scores(prob, target, valid)
            own[name] = own.get(name, 0) + histogram(ranked) / area
    return {
        task: {
            name: best_threshold(*sides)[0]
            for name, sides in own.items()
        }
        for task, own in counts.items()
    }


def label_maps(photo: Predicted, settings,
               thresholds: dict) -> Iterator[tuple[str, np.ndarray]]:
    """Label maps (H, W) of a photograph by every rule."""
    task, chosen = photo.task, thresholds[photo.task.name]
    ways = {
        'own settings':
        (settings.threshold(task.name), settings.postprocessing),
        'at 0.5': (0.5, Postprocessing())
    }
    for rule, given in RULES.items():
        if 'specks' in given:
            given = dict(specks={task.name: given['specks']})
        ways[rule] = chosen, Postprocessing(**given)
    for name, (threshold, rules) in ways.items():
        labels = task.decode(torch.from_numpy(photo.prob), threshold).numpy()
        Postprocessor(photo.view, rules)(task, labels, photo.prob)
        yield name, labels


def score(photos: Iterator[Predicted], settings,
          thresholds: dict) -> dict[str, dict[str, float]]:
    """Dice over all pixels, by rule and '<set>.<task>.<class>'."""
    sums: dict = defaultdict(lambda: defaultdict(lambda: np.zeros(2)))
    for photo in photos:
        task, target = photo.task, photo.target & photo.valid
        for rule, labels in label_maps(photo, settings, thresholds):
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
    """Choose thresholds, then print a table of all rules."""
    parser = make_parser(__doc__, [
        ('config', '', {}),
        ('checkpoint', '', {}),
        ('--flip', '', FLAG),
        ('--out', 'JSON file with all numbers', {}),
    ])
    args = parser.parse_args(argv)
    cfg = load_config(args.config)
    model = load_model(args.checkpoint, device='cpu')
    thresholds = choose_thresholds(
        predict_all(model, cfg, args.flip, 'thresholds'))
    print(json.dumps(thresholds, indent=1))
    results = score(
        predict_all(model, cfg, args.flip, 'rules'), model.settings,
        thresholds)
    rows = [('', *results)]
    rows += [(key, *(f'{row[key]:.4f}' for row in results.values()))
             for key in results['at 0.5']]
    print(markdown(rows))
    if args.out:
        save_json(args.out, dict(thresholds=thresholds, dice=results))


if __name__ == '__main__':
    main()
