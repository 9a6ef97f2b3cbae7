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

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.common import markdown
from mbos.apis import Prediction, load_config, load_model, predict
from mbos.checkpoints.settings import Postprocessing, PredictionSettings
from mbos.commands.options import FLAG, make_parser
from mbos.datasets.scoring import build_val_set
from mbos.inference.label_maps import Postprocessor
from mbos.tasks import Task

INSIDE = ('vessel', )
"""tuple[str]: Tasks that are scored inside the field of view only, as the
collections of vessels do."""


def rules_of(task: Task) -> dict[str, Postprocessing]:
    """Rules by their name in the table; the same specks of every class."""
    rules = {'as it is': Postprocessing()}
    for share in ('0', '0.0025', '0.005', '0.01'):
        rules[f'rim {share}'] = Postprocessing(rim=float(share))
    rules['one object'] = Postprocessing(one_object=['odoc'])
    for share in ('3e-6', '1e-5', '3e-5', '1e-4'):
        rules[f'specks {share}'] = Postprocessing(
            specks={task.name: float(share)})
    return rules


def label_maps(
        task: Task, found: Prediction,
        settings: PredictionSettings) -> Iterator[tuple[str, np.ndarray]]:
    """Label maps (H, W) of a photograph by every rule."""
    prob, own = found.probabilities[task.name], settings.threshold(task.name)
    ways = {
        'own settings': (own, settings.postprocessing),
        'at 0.5': (0.5, Postprocessing()),
        **{
            name: (own, rules)
            for name, rules in rules_of(task).items()
        }
    }
    for name, (threshold, rules) in ways.items():
        labels = task.decode(torch.from_numpy(prob), threshold).numpy()
        Postprocessor(found.field_of_view, rules)(task, labels, prob)
        yield name, labels


def score(model, cfg, flip: bool) -> dict[str, dict[str, float]]:
    """Dice over all pixels, by rule and '<set>.<task>.<class>'."""
    sums: dict = defaultdict(lambda: defaultdict(lambda: np.zeros(2)))
    for dataset in build_val_set(cfg).datasets:
        tasks = [task for task in dataset.tasks if task.name in dataset.truth]
        for index in tqdm(range(len(dataset)), dataset.name, disable=None):
            path = dataset.image_path(index)
            photo = predict(model, path, flip=flip, postprocess=False)
            for task in tasks:
                plane = dataset.get_gt_plane(index, task.name)
                known = task.known_mask(dataset.truth[task.name].classes)
                target, valid = task.encode(
                    torch.from_numpy(plane).long(), known=known)
                valid = valid.numpy() & known[:, None, None].numpy()
                if task.name in INSIDE:
                    valid &= photo.field_of_view.mask > 0
                target = target.numpy() & valid
                for rule, labels in label_maps(task, photo, model.settings):
                    found, _ = task.encode(torch.from_numpy(labels))
                    found = found.numpy() & valid
                    for name, a, b in zip(task.classes, found, target):
                        sums[rule][f'{dataset.name}.{task.name}.{name}'] += (
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
    results = score(model, load_config(args.config), args.flip)
    rows = [('', *results)]
    rows += [(key, *(f'{row[key]:.4f}' for row in results.values()))
             for key in results['at 0.5']]
    print(markdown(rows))


if __name__ == '__main__':
    main()
