"""Members that have learned different things from the same expanded densities expand them once."""

import copy
from typing import Any

import pytest
import torch
from ase import Atoms
from members_of_ensembles import member, seen_by
from small import carbons, ethanols

from nnpx.descriptor import neighbor_sums, triplet_sums
from nnpx.descriptor.tabulated import tabulate
from nnpx.ensemble import Ensemble
from nnpx.ensemble.recorded import Recorded
from nnpx.speed.compiled import without_loops


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passes over the pairs, as they happen."""
    passes: list[str] = []

    def counting(name: str, operation: Any) -> Any:
        return lambda *words: (passes.append(name), operation(*words))[1]

    for name in ("SUMS", "PULLS"):
        monkeypatch.setattr(neighbor_sums, name, counting(name, getattr(neighbor_sums, name)))
    return passes


@pytest.mark.parametrize("option", ["moments", "nep"])
@pytest.mark.parametrize("spread", [True, False])
@pytest.mark.parametrize("structures", [ethanols(2), carbons(2)], ids=["ethanol", "carbon"])
def test_what_is_shared_changes_nothing(option: str, spread: bool, structures: list[Atoms], counted: list[str]) -> None:
    members = [member(structures, option, seed) for seed in range(3)]
    ensemble = Ensemble(members)
    graph = seen_by(structures, ensemble.cutoff_radius)
    assert ensemble.shares_expansion
    found = ensemble(graph, spread=spread)
    n_densities = 1 if option == "moments" else 2
    assert [counted.count(name) for name in ("SUMS", "PULLS")] == [n_densities, n_densities]
    with without_loops():
        expected = ensemble(graph, spread=spread)
    for name in ("energy", "forces", "stress", "energy_std", "forces_std"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=1e-9, atol=1e-10, equal_nan=True)
    alone = torch.stack([Ensemble([one])(graph).forces for one in members])
    torch.testing.assert_close(found.forces, alone.mean(0), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    "changed",
    ["radial.n_functions=5", "cutoff.radius=4.5", "descriptor.l_max=2", "species_embedding=learned", "cutoff=cosine", "experiment=nep"],
)
def test_members_that_expand_differently_share_nothing(changed: str) -> None:
    structures = ethanols(2)
    option, words = ("nep", []) if changed.startswith("experiment") else ("moments", [changed])
    members = [member(structures, "moments", 0, *(words if "embedding" in changed else [])), member(structures, option, 1, *words)]
    ensemble = Ensemble(members)
    assert not ensemble.shares_expansion
    graph = seen_by(structures, max(one.cutoff_radius for one in members))
    alone = torch.stack([Ensemble([one])(graph).forces for one in members])
    torch.testing.assert_close(ensemble(graph).forces, alone.mean(0), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    ("words", "changed"),
    [
        (["descriptor=aev"], "descriptor.zeta=8"),
        (["descriptor=aev"], "descriptor.eta=4"),
        (["descriptor=acsf_set51", "descriptor.angular_radius=5"], "descriptor.angular_radius=3"),
        (["descriptor=acsf_moments", "descriptor.angular_radius=3.5"], "cutoff.radius=4.5"),
    ],
)
def test_functions_of_the_same_name_that_differ_are_not_shared(words: list[str], changed: str) -> None:
    structures, common = ethanols(2), ["cutoff=cosine", "cutoff.radius=5", *words]
    members = [member(structures, "ani_2x", 0, *common), member(structures, "ani_2x", 1, *common, changed)]
    assert members[0].descriptor.names() == members[1].descriptor.names()
    graph = seen_by(structures, 5.0)
    alone = torch.stack([Ensemble([one])(graph).forces for one in members])
    torch.testing.assert_close(Ensemble(members)(graph).forces, alone.mean(0), rtol=1e-9, atol=1e-11)


def test_tables_are_made_once_for_all_members(monkeypatch: pytest.MonkeyPatch) -> None:
    structures, made = ethanols(2), []
    for module in (neighbor_sums, triplet_sums):
        monkeypatch.setattr(module, "tabulate", lambda *words: (made.append(words), tabulate(*words))[1])
    given = Ensemble([member(structures, "ani_2x", seed) for seed in range(3)])
    copied = copy.deepcopy(given)  # as a calculator does; its own tables are those of other numbers
    made.clear()
    assert copied.has_loops()
    copied(seen_by(structures, copied.cutoff_radius))
    assert len(made) == 4  # of one neighbour, and for each of the three arguments of two


def test_blocks_of_centres_and_single_precision_share_too(monkeypatch: pytest.MonkeyPatch) -> None:
    structures = carbons(3)
    ensemble = Ensemble([member(structures, "moments", seed) for seed in range(2)])
    graph = seen_by(structures, ensemble.cutoff_radius)
    whole = ensemble(graph)
    monkeypatch.setattr("nnpx.ensemble.ATOMS_AT_A_TIME", {"cpu": 5})
    torch.testing.assert_close(ensemble(graph).forces, whole.forces, rtol=1e-11, atol=1e-12)
    for one in ensemble.members:
        one.to_precision(torch.float32)
    torch.testing.assert_close(ensemble(graph.cast(torch.float32)).forces.double(), whole.forces, rtol=1e-3, atol=1e-3)


def test_a_recording_shares_too(counted: list[str]) -> None:
    structures = ethanols(1)
    ensemble = Ensemble([member(structures, "moments", seed) for seed in range(2)])
    recorded = Recorded(ensemble, structures, spread=True)
    counted.clear()
    ensemble(seen_by(structures, ensemble.cutoff_radius), spread=True)
    assert counted == ["SUMS", "PULLS"]
    found = recorded(torch.from_numpy(structures[0].positions))
    expected = ensemble(seen_by(structures, ensemble.cutoff_radius), spread=True)
    assert found is not None
    torch.testing.assert_close(found.forces, expected.forces, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(found.forces_std, expected.forces_std, rtol=1e-8, atol=1e-10)
