"""Selections against brute force, numpy's singular vectors, and what linear regression makes of the chosen functions."""

import itertools

import numpy as np
import pytest
import torch
from small import CONFIG, NUMBERS, ethanols, graph_of

from nnpx.assembly import build_parts
from nnpx.config import compose
from nnpx.configuration.overrides import groups_in
from nnpx.configuration.resolvers import conf_dir
from nnpx.configuration.schema import check_node, plain
from nnpx.selection.cur import CUR, leverage
from nnpx.selection.farthest_point import FarthestPoint
from nnpx.selection.pruning import Pruning, explained, overlaps

KINDS = {"cur": CUR, "farthest_point": FarthestPoint}
OPTIONS = groups_in([conf_dir()])["selection"]


def pruning(min_range=1e-3, max_correlation=0.99):
    return Pruning(min_range=min_range, max_correlation=max_correlation)


def standardised(features, species):
    """X: each element's features with mean 0 and variance 1, divided so that XᵀX is the mean of the elements' correlations."""
    blocks = [features[species == element].numpy() for element in species.unique()]
    scaled = [(own - own.mean(0)) / np.where(np.ptp(own, 0) < 1e-3, np.inf, own.std(0)) for own in blocks]
    return np.concatenate([own / np.sqrt(len(own) * len(blocks)) for own in scaled])


@pytest.fixture
def columns(generator):
    """Thirty columns of twelve atoms of two elements: mixtures of eight, with some noise."""
    draws = torch.randn(12, 8, generator=generator, dtype=torch.float64)
    mixed = draws @ torch.randn(8, 30, generator=generator, dtype=torch.float64)
    noise = torch.randn(12, 30, generator=generator, dtype=torch.float64)
    return mixed + 0.1 * noise, torch.arange(12) % 2


@pytest.fixture(scope="module")
def functions():
    """Values of 256 symmetry functions in ethanol, and the element of every environment; all functions, and those that were pruned."""
    angular = {**CONFIG["descriptor"]["angular"], "n_shells": 5, "zetas": [1.0, 4.0]}
    config = {**CONFIG, "descriptor": {**CONFIG["descriptor"], "angular": angular}}
    parts = build_parts(config, numbers=NUMBERS, seed=0)
    graph = graph_of(ethanols(60))
    with torch.no_grad():
        features = parts.descriptor(graph.edges(), parts.embedding(graph.species))
    return parts.descriptor.names(), features, graph.species


@pytest.mark.parametrize("option", OPTIONS)
def test_a_shipped_selection_fits_its_signature(option):
    node = plain(compose([f"+selection={option}"]).selection)
    assert node["_target_"].startswith("nnpx.selection.")
    assert check_node(node, "selection", ())[1] == []
    assert (conf_dir() / "selection" / f"{option}.yaml").read_text().startswith("# ")


def test_overlaps_are_products_of_standardised_columns(columns):
    x = standardised(*columns)
    np.testing.assert_allclose(overlaps(*columns, min_range=1e-3).numpy(), x.T @ x, atol=1e-13)


def test_functions_that_do_not_vary_are_left_out(columns):
    features, species = columns
    features[:, 3] = 5.0
    features[:, 4] *= 0.9e-3 / (features[:, 4].max() - features[:, 4].min())
    features[:, 5] = 7.0 * species  # differs between elements only, which the network knows already
    features[:, 6] *= species  # varies in the second element only
    pruned, overlap = pruning(max_correlation=1.0).prune(features, species)
    assert pruned.constant == [3, 4, 5]
    assert pruned.kept == [k for k in range(30) if k not in (3, 4, 5)]
    assert overlap.shape == (27, 27)
    assert float(overlap[pruned.kept.index(6), pruned.kept.index(6)]) == pytest.approx(0.5)


def test_of_functions_that_say_the_same_the_first_is_kept(columns):
    features, species = columns
    features[:, 10], features[:, 20], features[:, 25] = 3.0 * features[:, 2], 1.0 - features[:, 2], features[:, 7] + 1e-3 * features[:, 8]
    pruned, _ = pruning().prune(features, species)
    assert pruned.redundant == [10, 20, 25]
    correlation = np.abs(np.corrcoef(standardised(features, species)[:, pruned.kept].T))
    assert (correlation - np.eye(len(correlation))).max() <= 0.99


def test_farthest_points_are_those_of_brute_force(columns):
    x = standardised(*columns)
    x /= np.linalg.norm(x, axis=0)
    lines = [{"to": [1.0 - (x[:, k] @ x[:, other]) ** 2 for other in range(30)]} for k in range(30)]
    chosen = [min(range(30), key=lambda k: sum(lines[k]["to"]))]
    while len(chosen) < 9:
        rest = [k for k in range(30) if k not in chosen]
        chosen.append(max(rest, key=lambda k: min(lines[k]["to"][other] for other in chosen)))
    selection = FarthestPoint(n_selected=9, pruning=pruning())
    assert selection.order(overlaps(*columns, min_range=1e-3)) == chosen


def test_leverage_is_that_of_numpys_singular_vectors(columns):
    x = standardised(*columns)
    np.testing.assert_allclose(leverage(torch.from_numpy(x.T @ x)).numpy(), np.linalg.svd(x)[2][0] ** 2, atol=1e-12)


def test_cur_is_the_decomposition_of_the_matrix_itself(columns):
    """By singular vectors of X, whose columns are made orthogonal to each chosen one."""
    x, chosen = standardised(*columns), []
    for _ in range(8):
        chosen.append(int(np.argmax(np.linalg.svd(x)[2][0] ** 2)))
        along = x[:, chosen[-1]] / np.linalg.norm(x[:, chosen[-1]])
        x = x - np.outer(along, along @ x)
    assert CUR(n_selected=8, pruning=pruning()).order(overlaps(*columns, min_range=1e-3)) == chosen


def test_cur_ends_where_the_rest_follows_from_the_chosen(generator):
    few = torch.randn(40, 3, generator=generator, dtype=torch.float64)
    features = few @ torch.randn(3, 12, generator=generator, dtype=torch.float64)
    overlap = overlaps(features, torch.zeros(40, dtype=torch.long), min_range=1e-3)
    order = CUR(n_selected=10, pruning=pruning()).order(overlap)
    assert len(order) == 3
    assert explained(overlap, order) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_no_function_is_chosen_twice_and_no_more_than_there_are(columns, kind):
    overlap = overlaps(*columns, min_range=1e-3)
    order = KINDS[kind](n_selected=100, pruning=pruning()).order(overlap)
    assert len(set(order)) == len(order) <= 30
    assert KINDS[kind](n_selected=5, pruning=pruning()).order(overlap) == order[:5]


@pytest.mark.parametrize("kind", KINDS)
def test_chosen_functions_explain_the_others_better_than_a_random_choice(functions, kind):
    """R² of a linear regression of the functions left out, for half of the structures after fitting to the other half."""
    _, features, species = functions
    pruned, overlap = pruning().prune(features, species)
    x = standardised(features, species)[:, pruned.kept]
    order = KINDS[kind](n_selected=16, pruning=pruning()).order(overlap)
    random = np.random.default_rng(0)
    by_chance = [r_squared(x, random.permutation(len(pruned.kept))[:16].tolist()) for _ in range(20)]
    assert r_squared(x, order) > max(by_chance)


def r_squared(x, chosen):
    rest = [k for k in range(x.shape[1]) if k not in chosen]
    weights = np.linalg.lstsq(x[::2][:, chosen], x[::2][:, rest], rcond=1e-10)[0]
    return 1.0 - np.square(x[1::2][:, rest] - x[1::2][:, chosen] @ weights).sum() / np.square(x[1::2][:, rest]).sum()


def test_the_variance_explained_is_that_of_a_regression(functions):
    _, features, species = functions
    x, chosen = standardised(features, species), list(range(0, 40, 4))
    rest = [k for k in range(x.shape[1]) if k not in chosen]
    residual = x[:, rest] - x[:, chosen] @ np.linalg.lstsq(x[:, chosen], x[:, rest], rcond=1e-12)[0]
    expected = 1.0 - np.square(residual).sum() / np.square(x[:, rest]).sum()
    assert explained(torch.from_numpy(x.T @ x), chosen) == pytest.approx(expected, abs=1e-6)


def test_pairs_of_channels_that_never_meet_are_left_out(functions):
    """Ethanol has one oxygen atom: no environment has a pair of them."""
    names, features, species = functions
    pruned, _ = pruning().prune(features, species)
    assert {k for k, name in enumerate(names) if name.endswith("channels 2-2")} <= set(pruned.constant)
    assert not set(pruned.constant) & set(pruned.kept)
    parts = (pruned.kept, pruned.constant, pruned.redundant)
    assert sorted(itertools.chain(*parts)) == list(range(len(names)))
