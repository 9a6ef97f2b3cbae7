"""Weights of every loss term, worked out by hand."""
import pytest
import torch

from mbos.models.supervision import (adversarial_terms, pseudo_terms,
                                     truth_terms)
from tests.utils import TASKS, make_meta

LIKE = torch.ones((), dtype=torch.float64)


def all_valid(metas, tasks=TASKS):
    return {t: torch.ones(len(metas)) for t in tasks}


def by_name(terms):
    return {
        t.name: dict(zip(t.rows,
                         t.weights.double().tolist()))
        for t in terms
    }


def approx(weights):
    return pytest.approx(weights, abs=1e-7)


# Five datasets, three tasks: two with vessels, one of them with lesions too;
# one with disc and cup; one with nothing.
METAS = [
    make_meta('drive', truth=['vessel']),
    make_meta('drive', truth=['vessel']),
    make_meta('idrid', truth=['vessel', 'lesion']),
    make_meta('ddr', truth=['lesion']),
    make_meta('refuge', truth=['odoc']),
    make_meta('kaggle'),
]


def test_truth_is_a_mean_of_means():
    """Over the datasets of a task, then over the images of each."""
    terms = by_name(truth_terms(METAS, TASKS, all_valid(METAS)))
    assert set(terms) == {f'loss_truth.{t}' for t in TASKS}
    assert terms['loss_truth.vessel'] == approx({0: .25, 1: .25, 2: .5})
    assert terms['loss_truth.lesion'] == approx({2: .5, 3: .5})
    assert terms['loss_truth.odoc'] == approx({4: 1.0})


def test_images_without_valid_pixel_do_not_count():
    counts = all_valid(METAS)
    counts['vessel'][1] = 0
    counts['odoc'][4] = 0
    terms = by_name(truth_terms(METAS, TASKS, counts))
    # their loss is 0, the other image of the dataset carries all its weight
    assert terms['loss_truth.vessel'] == approx({0: .5, 1: .5, 2: .5})
    assert terms['loss_truth.odoc'] == approx({4: 1.0})


def test_pseudo_labels_weigh_per_dataset_and_task():
    metas = METAS + [
        make_meta(
            'drive', pseudo=['lesion', 'odoc'], weights=dict(lesion=2.0)),
        make_meta(
            'drive', pseudo=['lesion', 'odoc'], weights=dict(lesion=2.0)),
        make_meta('refuge', pseudo=['vessel']),
    ]
    terms = by_name(pseudo_terms(metas, TASKS, all_valid(metas), 0.05))
    assert terms == {
        'loss_pseudo.lesion.on_drive': approx({6: .05, 7: .05}),
        'loss_pseudo.odoc.on_drive': approx({6: .025, 7: .025}),
        'loss_pseudo.vessel.on_refuge': approx({8: .05})
    }  # yapf: disable


def test_game_with_more_datasets_than_tasks():
    """Half the mean over sources, half the mean over targets."""
    metas = METAS + [make_meta('refuge', pseudo=['vessel'])]
    terms = by_name(adversarial_terms(metas, TASKS, LIKE))
    # vessel: sources drive and idrid, targets ddr, refuge and kaggle
    sources = {0: .125, 1: .125, 2: .25}
    assert terms['loss_disc_source.vessel'] == approx(sources)
    for dataset, row in dict(ddr=3, refuge=4, kaggle=5).items():
        assert terms[f'loss_disc_target.vessel.on_{dataset}'] == approx(
            {row: .5 / 3})
        assert terms[f'loss_adv.vessel.on_{dataset}'] == approx({row: 1.0})
    # odoc: one source, four targets; two images of drive share one place
    assert terms['loss_disc_source.odoc'] == approx({4: .5})
    halves = {0: .0625, 1: .0625}
    assert terms['loss_disc_target.odoc.on_drive'] == approx(halves)
    assert terms['loss_adv.odoc.on_drive'] == approx({0: .5, 1: .5})
    # pseudo-labelled images take no part
    assert not any(6 in rows for rows in terms.values())


@pytest.mark.parametrize('truth', [('vessel', 'odoc'), ('odoc', )])
def test_no_game_where_all_or_none_are_labelled(truth):
    metas = [make_meta('a', truth=['vessel']), make_meta('b', truth=truth)]
    terms = by_name(adversarial_terms(metas, TASKS, LIKE))
    tasks = {name.split('.')[1] for name in terms}
    # every dataset labels vessels, or just one; none labels lesions
    assert tasks == ({'odoc'} if 'vessel' in truth else {'vessel', 'odoc'})


def test_planes_of_some_classes():
    """They count as planes of their task, and as targets of its game."""
    metas = METAS + [
        make_meta('idrid_od', truth=['odoc'], classes=dict(odoc=['disc'])),
        make_meta('idrid_od', pseudo=['odoc'], classes=dict(odoc=['disc'])),
    ]
    counts = all_valid(metas)
    term, = [t for t in truth_terms(metas, TASKS, counts) if t.task == 'odoc']
    assert by_name([term])['loss_truth.odoc'] == approx({4: .5, 6: .5})
    assert dict(zip(term.rows, term.classes)) == {4: None, 6: ('disc', )}
    assert term.restrict([6, 2]).classes == [('disc', )]
    term, = pseudo_terms(metas, TASKS, counts, 0.05)
    assert term.rows == [7] and term.classes == [('disc', )]
    terms = by_name(adversarial_terms(metas, TASKS, LIKE))
    assert terms['loss_disc_source.odoc'] == approx({4: .5})
    assert terms['loss_adv.odoc.on_idrid_od'] == approx({6: 1.0})
    # five targets: drive, idrid, ddr, kaggle and idrid_od
    assert terms['loss_disc_target.odoc.on_idrid_od'] == approx({6: .1})


def test_game_about_the_classes_that_have_truth():
    """Nobody labels cups: who labels discs labels all there is."""
    learnt = dict(odoc=('disc', ))
    metas = [
        make_meta('discs', truth=['odoc'], classes=learnt),
        make_meta('ddr', truth=['lesion']),
    ]
    for meta in metas:
        meta['planes']['odoc']['learnt'] = ('disc', )
    terms = [
        t for t in adversarial_terms(metas, TASKS, LIKE) if t.task == 'odoc'
    ]
    assert by_name(terms) == {
        'loss_disc_source.odoc': approx({0: .5}),
        'loss_adv.odoc.on_ddr': approx({1: 1.0}),
        'loss_disc_target.odoc.on_ddr': approx({1: .5}),
    }
    assert all(term.classes == [('disc', )] for term in terms)
