"""Errors are those that one would compute by hand, and missing labels count for nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator

from nnpx import evaluation
from nnpx.errors import DataError
from nnpx.evaluation import Comparison, compare, partition, predict
from nnpx.graph import AtomicGraph, Prediction
from nnpx.metrics import measured, metrics, statistics
from nnpx.neighbors import graph_from_list

NUMBERS = [1, 8]


def waters(count: int) -> list[Atoms]:
    generator = np.random.default_rng(0)
    structures = []
    for _ in range(count):
        atoms = molecule("H2O")
        atoms.positions += 0.05 * generator.normal(size=(3, 3))
        atoms.calc = SinglePointCalculator(atoms, energy=float(generator.normal()), forces=generator.normal(size=(3, 3)))
        structures.append(atoms)
    return structures


def answer(graph: AtomicGraph) -> Prediction:
    """A potential that is wrong by 0.3 eV per structure and by 0.1 eV/Å in x."""
    return Prediction(
        energy=torch.nan_to_num(graph.energy) + 0.3,
        forces=torch.nan_to_num(graph.forces) + torch.tensor([0.1, 0.0, 0.0], dtype=torch.float64),
        stress=torch.full((graph.n_structures, 3, 3), torch.nan, dtype=torch.float64),
        atomic_energies=torch.zeros(graph.n_atoms, dtype=torch.float64),
        energy_std=torch.full((graph.n_structures,), torch.nan, dtype=torch.float64),
        energy_std_slope=torch.full((graph.n_atoms, 3), torch.nan, dtype=torch.float64),
        forces_std=torch.full((graph.n_atoms, 3), torch.nan, dtype=torch.float64),
        energy_noise=torch.full((graph.n_structures,), torch.nan, dtype=torch.float64),
        forces_noise=torch.full((graph.n_atoms, 3), torch.nan, dtype=torch.float64),
    )


def comparison(structures: list[Atoms], groups: list[str]) -> Comparison:
    graph = graph_from_list(structures, numbers=NUMBERS, cutoff=3.0, where="test")
    return compare(graph, predict(answer, [graph]), NUMBERS, groups)


def test_errors_are_those_put_in() -> None:
    found = metrics(comparison(waters(4), ["", "", "", ""]))
    assert found["energy"] == pytest.approx({"mae": 0.3, "rmse": 0.3, "max": 0.3, "count": 4})
    assert found["energy_per_atom"]["mae"] == pytest.approx(0.1)
    assert found["forces"] == pytest.approx({"mae": 0.1 / 3, "rmse": 0.1 / np.sqrt(3), "max": 0.1, "count": 36})
    assert found["forces_by_element"]["H"]["count"] == 24
    assert found["forces_by_element"]["O"]["count"] == 12
    assert (found["structures"], found["atoms"]) == (4, 12)
    assert not {"stress", "uncertainty", "by_group"} & set(found)


def test_labels_that_are_missing_are_skipped() -> None:
    structures = waters(3)
    structures[1].calc.results.pop("energy")
    structures[2].calc.results.pop("forces")
    found = metrics(comparison(structures, ["", "", ""]))
    assert found["energy"]["count"] == 2
    assert found["forces"]["count"] == 18
    assert found["energy"]["max"] == pytest.approx(0.3)


def test_groups_are_counted_apart() -> None:
    found = metrics(comparison(waters(3), ["300 K", "300 K", "1000 K"]))["by_group"]
    assert {name: group["structures"] for name, group in found.items()} == {"300 K": 2, "1000 K": 1}
    assert found["1000 K"]["energy"]["count"] == 1


def test_stress_counts_its_six_independent_components() -> None:
    atoms = bulk("Ne", "fcc", a=4.5)
    atoms.calc = LennardJones(sigma=2.8, epsilon=0.003, rc=8.0)
    stress = atoms.get_stress(voigt=False)
    atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=np.zeros((1, 3)), stress=atoms.get_stress())
    graph = graph_from_list([atoms], numbers=[10], cutoff=3.0, where="test")
    shifted = Prediction(**{**answer(graph).__dict__, "stress": torch.from_numpy(stress + 0.01 * np.eye(3))[None]})
    found = metrics(compare(graph, shifted, [10], [""]))["stress"]
    assert found["count"] == 6
    assert found["mae"] == pytest.approx(0.005)


def test_batches_cover_every_structure_once_and_stay_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "WORK_PER_BATCH", 60)
    graph = graph_from_list(waters(11), numbers=NUMBERS, cutoff=3.0, where="test")
    pieces = [graph.select(structures) for structures in partition(graph)]
    assert len(pieces) == 3  # 3 · (2² + 1) = 15 for one water
    assert sum(piece.n_structures for piece in pieces) == 11
    torch.testing.assert_close(torch.cat([piece.energy for piece in pieces]), graph.energy)
    torch.testing.assert_close(predict(answer, pieces).forces, predict(answer, [graph]).forces)


def test_the_prediction_of_other_structures_is_refused() -> None:
    graph = graph_from_list(waters(2), numbers=NUMBERS, cutoff=3.0, where="test")
    with pytest.raises(DataError, match="expected 2 structures, found 2 energies, 3 groups"):
        compare(graph, answer(graph), NUMBERS, ["", "", ""])


def test_a_prediction_that_is_not_finite_is_not_skipped() -> None:
    graph = graph_from_list(waters(3), numbers=NUMBERS, cutoff=3.0, where="test")
    prediction = answer(graph)
    prediction.forces[4, 0] = torch.nan
    with pytest.raises(DataError, match="NaN or infinity for structure 1 and 0 others"):
        compare(graph, prediction, NUMBERS, ["", "", ""])


def test_no_differences_have_no_statistics() -> None:
    assert statistics(np.full(3, np.nan)) == {}


def test_a_spread_that_sorts_the_atoms_by_their_error_has_rank_correlation_one_and_a_useless_one_none() -> None:
    generator = np.random.default_rng(1)
    one, error = comparison(waters(400), [""] * 400), generator.normal(size=(1200, 3))
    wrong = replace(one, forces=one.forces_label + error)
    aware = metrics(replace(wrong, forces_std=3 * np.abs(error)))["uncertainty"]["forces"]
    assert (aware["spearman"], aware["spearman_by_atom"]) == pytest.approx((1.0, 1.0))
    ignorant = metrics(replace(wrong, forces_std=generator.uniform(0.1, 1.0, (1200, 3))))["uncertainty"]["forces"]
    assert abs(ignorant["spearman_by_atom"]) < 0.1


def test_hot_frames_are_told_from_the_familiar_by_their_largest_force_spread():
    """Every hot frame has one atom with a larger spread than any atom that is familiar; the cold ones are like those."""
    cold, mixed = comparison(waters(4), [""] * 4), comparison(waters(6), ["hot", "cold"] * 3)
    spread = np.full((18, 3), 0.1)
    spread[::6] = 0.5  # the first atom of frames 0, 2, 4
    found = measured({"test": replace(mixed, forces_std=spread), "valid": replace(cold, forces_std=np.full((12, 3), 0.1))})
    assert found["test"]["told_apart"] == {"spread": {"cold": 0.5, "hot": 1.0}}


def test_what_is_not_known_and_what_cannot_be_known_are_told_apart_from_their_sum():
    one = replace(comparison(waters(4), [""] * 4), forces_std=np.full((12, 3), 0.3), forces_noise=np.full((12, 3), 0.4))
    found = metrics(one)["uncertainty"]["forces"]
    assert (found["epistemic"], found["aleatoric"], found["sharpness"]) == pytest.approx((0.3, 0.4, 0.5))
    alone = metrics(replace(one, forces_noise=np.full((12, 3), np.nan)))["uncertainty"]["forces"]
    assert alone["sharpness"] == pytest.approx(0.3)
    assert "aleatoric" not in alone


def test_the_error_bar_of_a_label_adds_to_a_predicted_noise() -> None:
    structures = waters(3)
    structures[1].info["energy_noise"] = 0.4
    structures[2].info["energy_noise"] = 0.4
    graph = graph_from_list(structures, numbers=NUMBERS, cutoff=3.0, where="test")
    predicted = replace(answer(graph), energy_noise=torch.tensor([torch.nan, torch.nan, 0.3], dtype=torch.float64))
    noise = compare(graph, predicted, NUMBERS, [""] * 3).energy_noise
    assert np.isnan(noise[0])
    assert noise[1:] == pytest.approx([0.4, 0.5])


def test_everything_is_an_array_in_a_file_that_needs_no_pickle(tmp_path):
    made = replace(comparison(waters(2), ["a", ""]), novelty={"mahalanobis": np.arange(6.0)})
    np.savez(tmp_path / "predictions.npz", **made.arrays())
    with np.load(tmp_path / "predictions.npz", allow_pickle=False) as kept:
        assert kept["groups"].tolist() == ["a", ""]
        np.testing.assert_array_equal(kept["novelty_mahalanobis"], np.arange(6.0))
        np.testing.assert_array_equal(kept["forces"], made.forces)
        assert {len(kept[name]) for name in kept} == {2, 6}
