"""An ensemble is the mean of its members, and its spread is theirs."""

import pytest
import torch
from small import CONFIG, carbons, ethanols, graph_of, potential_for, stored

from nnpx.config import compose
from nnpx.ensemble import Ensemble
from nnpx.ensemble.deep import Deep
from nnpx.ensemble.single import Single
from nnpx.errors import ConfigError
from nnpx.uncertainty import Calibration, Curve


def test_one_member_is_that_potential():
    graph = graph_of(ethanols(2))
    potential = potential_for(graph).eval()
    alone, ensemble = potential(graph), Ensemble([potential])(graph)
    assert torch.equal(alone.energy, ensemble.energy)
    torch.testing.assert_close(alone.forces, ensemble.forces, rtol=0, atol=1e-13)
    assert ensemble.energy_std.isnan().all()
    assert ensemble.forces_std.isnan().all()


def test_mean_and_spread_are_those_of_the_members():
    for structures in (ethanols(2), carbons(2)):
        graph = graph_of(structures)
        members = [potential_for(graph, seed).eval() for seed in range(3)]
        members[2].feature_mean.add_(0.1)
        members[2].feature_std.mul_(1.5)
        assert not Ensemble(members).shares_scales
        each, ensemble = [member(graph) for member in members], Ensemble(members)(graph)
        for name in ("energy", "forces", "stress"):
            torch.testing.assert_close(
                getattr(ensemble, name), torch.stack([getattr(one, name) for one in each]).mean(0), rtol=1e-10, atol=1e-10, equal_nan=True
            )
        torch.testing.assert_close(ensemble.energy_std, torch.stack([one.energy for one in each]).std(0))
        torch.testing.assert_close(ensemble.forces_std, torch.stack([one.forces for one in each]).std(0), rtol=1e-8, atol=1e-10)


def test_the_slope_of_the_spread_is_that_of_finite_differences_and_is_not_calibrated():
    structures, step = ethanols(2), 1e-6
    graph = graph_of(structures)
    members = [potential_for(graph, seed).eval() for seed in range(3)]
    ensemble, calibrated = Ensemble(members), Ensemble(members, Calibration({"energy": Curve.factor(2.0)}))
    slope = ensemble(graph).energy_std_slope
    assert torch.equal(calibrated(graph).energy_std_slope, slope)
    direction = torch.randn(slope.shape, generator=torch.Generator().manual_seed(1), dtype=slope.dtype)
    ahead, behind = (ensemble(graph.with_(positions=graph.positions + sign * step * direction)).energy_std for sign in (1, -1))
    expected = [float((slope * direction)[graph.owner == k].sum()) for k in range(2)]
    torch.testing.assert_close((ahead - behind) / (2 * step), torch.tensor(expected, dtype=torch.float64), rtol=1e-4, atol=1e-6)
    assert not Ensemble([members[0], members[0]])(graph).energy_std_slope.any()
    assert ensemble(graph, spread=False).energy_std_slope.isnan().all()


def test_forces_do_not_depend_on_whether_their_spread_is_asked_for():
    graph = graph_of(ethanols(2))
    ensemble = Ensemble([potential_for(graph, seed).eval() for seed in range(3)])
    torch.testing.assert_close(ensemble(graph, spread=True).forces, ensemble(graph, spread=False).forces, rtol=0, atol=1e-12)


@pytest.mark.parametrize("descriptor", ["acsf", "moments", "nep", "soap"])
def test_forces_are_right_where_no_gradients_are_recorded_and_refused_where_none_can_be(descriptor):
    structures = ethanols(2)
    structures[0].positions *= 0.6  # where the prior counts
    graph = graph_of(structures)
    potential = potential_for(graph, config=compose([f"descriptor={descriptor}"])).eval()
    assert float(potential.prior(graph.edges(), graph.species).sum()) > 1.0
    for evaluated in (potential, Ensemble([potential])):
        expected = evaluated(graph)
        with torch.no_grad():
            torch.testing.assert_close(evaluated(graph).forces, expected.forces, rtol=0, atol=1e-13)
        with torch.inference_mode(), pytest.raises(ConfigError, match=r"expected no inference mode, found torch\.inference_mode"):
            evaluated(graph)


def test_stored_features_give_the_same_spread():
    graph = graph_of(ethanols(2))
    members = [potential_for(graph, seed).eval() for seed in range(3)]
    ensemble = Ensemble(members)
    torch.testing.assert_close(ensemble(stored(graph, members[0])).forces_std, ensemble(graph).forces_std, rtol=1e-8, atol=1e-11)


def test_blocks_of_centres_give_what_all_together_give(monkeypatch):
    """Several structures and blocks that end in the middle of one; with and without a cell."""
    for structures in (ethanols(3), carbons(3)):
        graph = graph_of(structures)
        ensemble = Ensemble([potential_for(graph, seed).eval() for seed in range(2)])
        whole = ensemble(graph)
        monkeypatch.setattr("nnpx.ensemble.ATOMS_AT_A_TIME", {"cpu": 4})
        parts = ensemble(graph)
        monkeypatch.undo()
        for name in ("energy", "forces", "stress", "atomic_energies", "energy_std", "forces_std"):
            torch.testing.assert_close(getattr(parts, name), getattr(whole, name), rtol=1e-11, atol=1e-12, equal_nan=True)


def test_first_member_grows_from_the_seed_of_the_single_potential():
    assert Deep(n_members=4, n_processes=2).seeds(7)[0] == Single().seeds(7)[0]
    assert len(set(Deep(n_members=4, n_processes=2).seeds(7))) == 4


def test_atoms_that_tell_each_other_what_they_see_are_not_torn_apart(monkeypatch):
    """With messages an energy depends on the edges of the neighbours, too: a structure stays whole, however small the blocks."""
    sizes = {"n_densities": 3, "n_messages": 4, "l_max": 2, "max_body_order": 3}
    descriptor = {"_target_": "nnpx.descriptor.moments_with_messages.MomentsWithMessages", **sizes}
    graph = graph_of(ethanols(2))
    ensemble = Ensemble([potential_for(graph, config={**CONFIG, "descriptor": descriptor}).eval()])
    whole = ensemble(graph)
    monkeypatch.setattr("nnpx.ensemble.ATOMS_AT_A_TIME", {"cpu": 4})
    assert torch.equal(ensemble(graph).forces, whole.forces)
