"""What is computed once for all members is what each of them would have computed."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from members_of_ensembles import N_HEADS, heads_of, member, seen_by
from small import CONFIG, NUMBERS, carbons, ethanols, graph_of, potential_for

from nnpx.ensemble import Ensemble
from nnpx.errors import SpeciesError
from nnpx.graph import AtomicGraph
from nnpx.potential import Potential

ZBL = {**CONFIG, "prior": {"_target_": "nnpx.prior.zbl.ZBL", "reach_factor": 1.2, "power": 6}}


def angles_of(**changed: Any) -> dict[str, Any]:
    """The configuration with other angular functions, as many of them."""
    descriptor: dict[str, Any] = CONFIG["descriptor"]
    return {**CONFIG, "descriptor": {**descriptor, "angular": {**descriptor["angular"], **changed}}}


def require_the_mean(members: list[Potential], graph: AtomicGraph) -> None:
    """Energies, forces and their spreads of the ensemble are those of its members one by one."""
    each = [one(graph) for one in members]
    for spread in (True, False):
        found = Ensemble(members)(graph, spread=spread)
        for name in ("energy", "forces", "stress"):
            expected = torch.stack([getattr(one, name) for one in each]).mean(0)
            torch.testing.assert_close(getattr(found, name), expected, rtol=1e-10, atol=1e-10, equal_nan=True)
        torch.testing.assert_close(found.energy_std, torch.stack([one.energy for one in each]).std(0), rtol=1e-8, atol=1e-10)
        if spread:
            torch.testing.assert_close(found.forces_std, torch.stack([one.forces for one in each]).std(0), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("structures", [ethanols(2), carbons(2)], ids=["ethanol", "carbon"])
def test_members_may_begin_from_different_energies(structures):
    graph = graph_of(structures)
    members = [potential_for(graph, 0).eval(), potential_for(graph, 1, config=ZBL).eval(), potential_for(graph, 2).eval()]
    members[2].reference_energies.add_(torch.tensor([0.1, -2.0, 3.0]))
    assert not Ensemble(members).shares_given
    assert Ensemble(members[:1]).shares_given
    require_the_mean(members, graph)


def test_heads_of_members_that_begin_differently_are_members():
    graph = graph_of(carbons(2))
    shallow = {"_target_": "nnpx.ensemble.shallow.Shallow", "n_heads": N_HEADS}
    configs = [{**config, "ensemble": shallow} for config in (CONFIG, ZBL)]
    members = [potential_for(graph, seed, config=config).eval() for seed, config in enumerate(configs)]
    heads = [head for one, config in zip(members, configs, strict=True) for head in heads_of(one, graph, config)]
    found, expected = Ensemble(members)(graph), Ensemble(heads)(graph)
    assert Ensemble(members).n_members == len(heads) == 2 * N_HEADS
    for name in ("energy", "forces", "stress", "atomic_energies", "energy_std", "forces_std"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=1e-9, atol=1e-10)


def test_the_same_symmetry_functions_are_shared_though_one_has_been_used():
    graph = graph_of(ethanols(2))
    members = [potential_for(graph, seed).eval() for seed in range(2)]
    members[0](graph)
    assert Ensemble(members).shares_descriptor


def test_other_symmetry_functions_as_many_are_not_shared():
    graph = graph_of(ethanols(2))
    members = [potential_for(graph, 0).eval(), potential_for(graph, 1, config=angles_of(r_min=1.1)).eval()]
    assert members[0].descriptor.n_features == members[1].descriptor.n_features
    assert not Ensemble(members).shares_descriptor
    require_the_mean(members, graph)


def test_what_was_learned_and_frozen_is_not_shared():
    structures = ethanols(2)
    members = [member(structures, "moments", seed).requires_grad_(requires_grad=False) for seed in range(2)]
    assert not Ensemble(members).shares_descriptor
    require_the_mean(members, seen_by(structures, members[0].cutoff_radius))


def test_an_ensemble_sees_as_far_as_the_member_that_sees_farthest():
    structures = ethanols(2)
    members = [member(structures, "moments", 0, "cutoff.radius=4"), member(structures, "moments", 1)]
    assert Ensemble(members).cutoff_radius == members[1].cutoff_radius
    require_the_mean(members, seen_by(structures, members[1].cutoff_radius))


def test_members_for_other_elements_are_refused():
    graph = graph_of(ethanols(1))
    one, other = potential_for(graph, 0), potential_for(graph, 1)
    other.numbers = [*NUMBERS[:-1], 16]
    with pytest.raises(SpeciesError, match="expected a potential for H, C, O, as member 0 is, found one for H, C, S"):
        Ensemble([one, other])


@dataclass(frozen=True)
class Reach:
    """What a prior of one's own may hold."""

    factor: float


@pytest.mark.parametrize(("one", "other"), [(Reach(1.0), Reach(2.0)), ({1, 2}, {1, 3}), (np.float32(1.0), np.float32(2.0)), (max, min)])
def test_whatever_else_a_module_holds_is_compared(one, other):
    def zero(held: object) -> Potential:
        potential = potential_for(graph_of(ethanols(1))).eval()
        potential.prior.held = held
        return potential

    assert Ensemble([zero(one), zero(one)]).shares_given
    assert not Ensemble([zero(one), zero(other)]).shares_given
