"""Which loss terms a batch of partially labelled images gives, as weights.

A batch is a list of images; each carries, per task, a plane of ground truth,
of pseudo labels, or none; planes may label only some of the task's classes.
Every loss of the method is a weighted sum of per-image values. The weights are
worked out here for the whole batch, so that the images can then go through the
network in groups of any size.
"""
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mbos.tasks import Task

TRUTH, PSEUDO, ABSENT = 'truth', 'pseudo', 'absent'
SUPERVISED = 'supervised'
FOOL, SOURCE, TARGET = 'fool', 'source', 'target'
Groups = dict[str, list[int]]
"""Images of a batch by dataset name."""


@dataclass
class Term:
    """One named loss of a task: a weighted sum of the values of some images.

    Its role is ``supervised``: against the label plane; ``fool``: the
    discriminator shall take it for source; ``source``, ``target``: the
    discriminator's own verdict.
    """

    name: str  # in the logs, such as loss_truth.vessel
    task: str
    role: str
    rows: list[int]  # of the batch
    weights: Tensor  # of each of them, (len(rows), )
    # those that each plane labels, in the game any dataset; None for all
    classes: list[Sequence[str] | None] | None = None

    def restrict(self, rows: Sequence[int]) -> 'Term':
        """The part of the term that some images give."""
        kept = [i for i, row in enumerate(self.rows) if row in rows]
        return replace(
            self,
            rows=[rows.index(self.rows[i]) for i in kept],
            weights=self.weights[kept],
            classes=self.classes and [self.classes[i] for i in kept])

    def known(self, task: Task, device: torch.device) -> Tensor | None:
        """Which classes the planes label: boolean, (len(rows), C), or None
        where all planes label all classes.
        """
        if self.classes is None:
            return None
        return torch.stack([task.known_mask(c)
                            for c in self.classes]).to(device)


def wanted_rows(terms: list[Term],
                tasks: Sequence[str]) -> dict[str, list[int]]:
    """For each task that a term reads, the images it reads, in order."""
    rows = {task: set() for task in tasks}
    for term in terms:
        rows[term.task].update(term.rows)
    return {task: sorted(wanted) for task, wanted in rows.items() if wanted}


def plane_classes(metas: Sequence[dict], task: str, rows: Sequence[int],
                  key: str) -> list | None:
    """Classes that are ``classes`` or ``learnt`` in the planes of images."""
    classes = [metas[row]['planes'][task].get(key) for row in rows]
    return classes if any(classes) else None


def rows_by_dataset(metas: Sequence[dict], wanted: Callable[[dict],
                                                            bool]) -> Groups:
    """Indices of the images that a condition holds for, by dataset name."""
    groups = {}
    for row, meta in enumerate(metas):
        if wanted(meta):
            groups.setdefault(meta['dataset'], []).append(row)
    return dict(sorted(groups.items()))


def labelled_rows(metas: Sequence[dict], task: str, kind: str) -> Groups:
    """Indices of the images with a plane of a kind, by dataset name."""
    return rows_by_dataset(metas, lambda m: m['planes'][task]['kind'] == kind)


def plane_weights(metas: Sequence[dict], task: str, rows: Sequence[int],
                  counts: Tensor, factor: float) -> Tensor:
    """``factor`` times plane weight, shared by the images that count."""
    planes = counts.new_tensor(
        [metas[row]['planes'][task]['weight'] for row in rows])
    return factor * planes / counts[rows].sum().clamp(min=1)


def truth_terms(metas: Sequence[dict], tasks: Sequence[str],
                counts: dict[str, Tensor]) -> list[Term]:
    """Supervision by ground truth: one term per task, each task counts once.

    A term is the mean over the datasets that label the task of the mean over
    their images. Images without a valid pixel do not count: ``counts`` are by
    task 1.0 for each image whose plane has one, else 0.0, (N, ); the weights
    take their precision from it.
    """
    terms = []
    for task in tasks:
        groups = labelled_rows(metas, task, TRUTH).values()
        rows = sum(groups, [])
        weights = [
            plane_weights(metas, task, group, counts[task], 1 / len(groups))
            for group in groups
        ]
        if rows:
            terms.append(
                Term(f'loss_truth.{task}', task, SUPERVISED, rows,
                     torch.cat(weights),
                     plane_classes(metas, task, rows, 'classes')))
    return terms


def pseudo_terms(metas: Sequence[dict], tasks: Sequence[str],
                 counts: dict[str, Tensor], factor: float) -> list[Term]:
    """Supervision by pseudo labels: one term per dataset and task."""
    return [
        Term(f'loss_pseudo.{task}.on_{dataset}', task, SUPERVISED, rows,
             plane_weights(metas, task, rows, counts[task], factor),
             plane_classes(metas, task, rows, 'classes'))
        for task in tasks
        for dataset, rows in labelled_rows(metas, task, PSEUDO).items()
    ]  # yapf: disable


def side_of(meta: dict, task: str) -> str | None:
    """Whether an image is source or target for a task's discriminator; None
    where it carries pseudo labels.

    The game is about the classes that some dataset labels. A source labels
    all of them; a dataset that labels only some is a target: the network's
    other classes there have no truth to learn from.
    """
    if any(plane['kind'] == PSEUDO for plane in meta['planes'].values()):
        return None
    plane = meta['planes'][task]
    classes, learnt = plane.get('classes'), plane.get('learnt', ())
    whole = not classes or set(classes) == set(learnt)
    return SOURCE if plane['kind'] == TRUTH and whole else TARGET


def adversarial_terms(metas: Sequence[dict], tasks: Sequence[str],
                      like: Tensor) -> list[Term]:
    """The generator's and the discriminators' terms (docs/method.md, section
    6).

    Fooling terms have weight 1 per target dataset; the head's adversarial
    weight multiplies them. A discriminator's terms weigh 0.5 for the mean over
    source datasets and 0.5 for the mean over target datasets. A task without
    either has no adversarial term.
    """

    def even(rows: list[int], total: float) -> Tensor:
        return like.new_full((len(rows), ), total / len(rows))

    terms = []
    for task in tasks:
        source, target = (
            rows_by_dataset(metas, lambda meta: side_of(meta, task) == side)
            for side in (SOURCE, TARGET))
        if not source or not target:
            continue

        def add(name, role, rows, weights):
            classes = plane_classes(metas, task, rows, 'learnt')
            terms.append(Term(name, task, role, rows, weights, classes))

        shares = [even(rows, 0.5 / len(source)) for rows in source.values()]
        add(f'loss_disc_source.{task}', SOURCE, sum(source.values(), []),
            torch.cat(shares))
        for dataset, rows in target.items():
            add(f'loss_adv.{task}.on_{dataset}', FOOL, rows, even(rows, 1.0))
            add(f'loss_disc_target.{task}.on_{dataset}', TARGET, rows,
                even(rows, 0.5 / len(target)))
    return terms
