"""What thresholds and postprocessing are worth on validation photographs.

usage: python benchmarks/label_maps.py CONFIG CHECKPOINT [--out choices.json]

Every photograph of the config's data.val is predicted once, as `mbos predict`
does. Then thresholds by class are chosen, those of the best Dice over all
photographs, each counted by shares of its field of view so that large files do
not count more; and label maps at these thresholds are scored as they are and
with each rule of postprocessing on its own. The table has Dice over all pixels
of a set; its first column is of the checkpoint's own thresholds and rules.
"""
import argparse
import json
import os.path as osp
import sys
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

if not __package__:  # started by its path
    sys.path[0] = osp.dirname(osp.dirname(osp.abspath(__file__)))

import numpy as np
import torch
from mmseg.datasets import build_dataset
from tqdm import tqdm

from benchmarks.common import markdown
from mbos.apis import (PredictionOptions, load_config, load_model,
                       member_datasets)
from mbos.checkpoints.settings import Postprocessing
from mbos.inference.postprocessing import Postprocessor
from mbos.inference.prediction import PreparedPhotograph, as_photograph
from mbos.inference.predictor import Predictor
from mbos.io.files import save_json
from mbos.tasks import Task

BINS = 200
"""int: Thresholds that are tried: 0.005, 0.01, ..., 0.995."""
RULES = {
    'as it is': {},
    'rim 0': dict(rim=0.),
    'rim 0.0025': dict(rim=0.0025),
    'rim 0.005': dict(rim=0.005),
    'rim 0.01': dict(rim=0.01),
    'one object': dict(one_object=['odoc']),
    'specks 3e-6': dict(specks=3e-6),
    'specks 1e-5': dict(specks=1e-5),
    'specks 3e-5': dict(specks=3e-5),
    'specks 1e-4': dict(specks=1e-4),
}
"""dict[str, dict]: Rules by their name in the table; the same specks are
removed of every class."""

INSIDE = ('vessel', )
"""tuple[str]: Tasks that are scored inside the field of view only, as the
collections of vessels do."""


class Predicted(NamedTuple):
    """A labelled task of a photograph: its logits, what is labelled and where
    that is known, both boolean (C, H, W).
    """

    dataset: str
    task: Task
    prepared: PreparedPhotograph
    logits: list
    target: np.ndarray
    valid: np.ndarray


def predict_all(predictor: Predictor, cfg) -> Iterator[Predicted]:
    """Predict all validation photographs."""
    tasks = list(predictor.tasks.values())
    for member in member_datasets(cfg.data.val):
        root = member.get('data_root', cfg.get('data_root'))
        dataset = build_dataset(
            dict(member, tasks=tasks, test_mode=True, data_root=root))
        for index in tqdm(range(len(dataset)), dataset.name, disable=None):
            photograph = as_photograph(dataset.image_path(index))
            prepared, views = predictor.prepare(photograph)
            logits = predictor.run(views)
            for task in tasks:
                if task.name not in dataset.ann_dirs:
                    continue
                plane = torch.from_numpy(
                    dataset.get_gt_plane(index, task.name))
                known = task.known_mask(dataset.truth[task.name].classes)
                target, valid = task.encode(plane.long(), known=known)
                valid = valid.numpy() & known[:, None, None].numpy()
                if task.name in INSIDE:
                    valid &= prepared.field_of_view.mask > 0
                yield Predicted(dataset.name, task, prepared,
                                logits[task.name], target.numpy(), valid)


def probabilities(predictor: Predictor, photo: Predicted) -> np.ndarray:
    """Probabilities (C, H, W)."""
    logits = {photo.task.name: photo.logits}
    (_, _, prob), = predictor.restore(logits, photo.prepared, True)
    return prob


def decode(task: Task, prob: np.ndarray, threshold) -> np.ndarray:
    """Labels (H, W) of probabilities (C, H, W)."""
    return task.decode(torch.from_numpy(prob), threshold).numpy()


def choose_thresholds(predictor: Predictor,
                      photos: list[Predicted]) -> dict[str, dict]:
    """The threshold of each class with the highest Dice, by task."""
    counts = defaultdict(lambda: np.zeros((2, BINS)))
    for photo in tqdm(photos, 'thresholds', disable=None):
        prob = probabilities(predictor, photo)
        bins = (prob * BINS).astype(np.int16).clip(0, BINS - 1)
        area = np.count_nonzero(photo.prepared.field_of_view.mask)
        for channel, of_class in enumerate(photo.task.classes):
            for side in (0, 1):
                where = photo.valid[channel] & (
                    photo.target[channel] == bool(side))
                counts[photo.task.name, of_class][side] += np.bincount(
                    bins[channel][where], minlength=BINS) / area
    chosen: dict[str, dict[str, float]] = defaultdict(dict)
    for (name, of_class), (negative, positive) in counts.items():
        hits, alarms = (
            side[::-1].cumsum()[::-1][1:] for side in (positive, negative))
        dice = 2 * hits / np.maximum(hits + alarms + positive.sum(), 1e-12)
        chosen[name][of_class] = float(1 + dice.argmax()) / BINS
    return dict(chosen)


def label_maps(predictor: Predictor, photo: Predicted,
               thresholds: dict) -> Iterator[tuple[str, np.ndarray]]:
    """Label maps (H, W) of a photograph by every rule."""
    task, view = photo.task, photo.prepared.field_of_view
    prob = probabilities(predictor, photo)
    labels = decode(task, prob, predictor.thresholds[task.name])
    own = predictor.model.settings.postprocessing
    Postprocessor(view, own)(task, labels, prob)
    yield 'own settings', labels
    yield 'at 0.5', decode(task, prob, 0.5)
    chosen = decode(task, prob, thresholds[task.name])
    for rule, given in RULES.items():
        labels = chosen.copy()
        if 'specks' in given:
            given = dict(specks={task.name: given['specks']})
        Postprocessor(view, Postprocessing(**given))(task, labels, prob)
        yield rule, labels


def score(predictor: Predictor, photos: list[Predicted],
          thresholds: dict) -> dict[str, dict[str, float]]:
    """Dice over all pixels, by rule and '<set>.<task>.<class>'."""
    sums = defaultdict(lambda: defaultdict(lambda: np.zeros(2)))
    for photo in tqdm(photos, 'rules', disable=None):
        target = photo.target & photo.valid
        for rule, labels in label_maps(predictor, photo, thresholds):
            found, _ = photo.task.encode(torch.from_numpy(labels))
            found = found.numpy() & photo.valid
            for channel, of_class in enumerate(photo.task.classes):
                key = f'{photo.dataset}.{photo.task.name}.{of_class}'
                a, b = found[channel], target[channel]
                sums[rule][key] += (2 * np.count_nonzero(a & b),
                                    np.count_nonzero(a) + np.count_nonzero(b))
    return {
        rule: {
            key: float(a / b)
            for key, (a, b) in of_rule.items() if b
        }
        for rule, of_rule in sums.items()
    }


def main(argv=None) -> None:
    """Choose thresholds, then print a table of all rules."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('--flip', action='store_true')
    parser.add_argument('--out', help='JSON file with all numbers')
    args = parser.parse_args(argv)
    cfg = load_config(args.config)
    model = load_model(args.checkpoint, device='cpu')
    predictor = Predictor(model,
                          PredictionOptions(flip=args.flip, postprocess=False))
    photos = list(predict_all(predictor, cfg))
    thresholds = choose_thresholds(predictor, photos)
    print(json.dumps(thresholds, indent=1))
    results = score(predictor, photos, thresholds)
    rows = [('', *results)]
    rows += [(key, *(f'{row[key]:.4f}' for row in results.values()))
             for key in results['at 0.5']]
    print(markdown(rows))
    if args.out:
        save_json(args.out, dict(thresholds=thresholds, dice=results))


if __name__ == '__main__':
    main()
