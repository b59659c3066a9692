"""The ASE calculator against finite differences of its own energy, and its errors."""

from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress

import nnpx
from nnpx import artifact
from nnpx.assembly import build_parts
from nnpx.calculator import Calculator, _precision
from nnpx.config import compose
from nnpx.configuration.schema import plain
from nnpx.ensemble import Ensemble
from nnpx.errors import ConfigError, GeometryError, SpeciesError
from nnpx.potential import Scales

CONFIG = plain(compose(["network.hidden=[8]"]))


def ensemble(numbers: list[int], members: int) -> Ensemble:
    """Random networks whose features have about unit size."""
    potentials = []
    for seed in range(members):
        parts = build_parts(CONFIG, numbers=numbers, seed=seed)
        shape = (len(numbers), parts.descriptor.n_features)
        scales = Scales(torch.zeros(shape), 0.3 * torch.ones(shape), 1.0, 0.5, torch.arange(len(numbers), dtype=torch.float64))
        potentials.append(parts.potential(scales))
    return Ensemble(potentials)


@pytest.fixture
def ethanol() -> Atoms:
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.05, seed=1)
    return atoms


def test_forces_are_finite_differences_of_the_energy(ethanol: Atoms) -> None:
    ethanol.calc = Calculator(ensemble([1, 6, 8], 2))
    forces = ethanol.get_forces()
    np.testing.assert_allclose(forces, calculate_numerical_forces(ethanol, eps=1e-4), atol=1e-6)
    assert np.abs(forces).max() > 0.01


def test_stress_is_the_finite_difference_in_strain_with_the_sign_of_ase() -> None:
    crystal = bulk("Si", cubic=True)
    crystal.rattle(0.1, seed=2)
    crystal.calc = Calculator(ensemble([14], 1))
    np.testing.assert_allclose(crystal.get_stress(), calculate_numerical_stress(crystal, eps=1e-5), atol=1e-7)


def test_results_have_the_shapes_and_sums_that_ase_expects(ethanol: Atoms) -> None:
    ethanol.calc = Calculator(ensemble([1, 6, 8], 1))
    energy = ethanol.get_potential_energy()
    assert isinstance(energy, float)
    assert ethanol.get_potential_energy(force_consistent=True) == energy
    assert ethanol.get_potential_energies().sum() == pytest.approx(energy)
    assert ethanol.get_forces().dtype == np.float64


def test_a_molecule_has_no_stress(ethanol: Atoms) -> None:
    ethanol.calc = Calculator(ensemble([1, 6, 8], 1))
    ethanol.get_forces()
    with pytest.raises(PropertyNotImplementedError):
        ethanol.get_stress()


def test_the_spread_is_that_of_the_members(ethanol: Atoms) -> None:
    both = ensemble([1, 6, 8], 3)
    calculator = Calculator(both)
    ethanol.calc = calculator
    energies, forces = [], []
    for member in both.members:
        single = ethanol.copy()
        single.calc = Calculator(Ensemble([member]))
        energies.append(single.get_potential_energy())
        forces.append(single.get_forces())
    assert ethanol.get_potential_energy() == pytest.approx(np.mean(energies))
    assert calculator.get_property("energy_std", ethanol) == pytest.approx(np.std(energies, ddof=1))
    assert "forces_std" not in calculator.results
    np.testing.assert_allclose(calculator.get_property("forces_std", ethanol), np.std(forces, axis=0, ddof=1), atol=1e-10)
    always = Calculator(both, spread=True)
    always.calculate(ethanol)
    assert "forces_std" in always.results


def test_one_member_has_no_spread(ethanol: Atoms) -> None:
    calculator = Calculator(ensemble([1, 6, 8], 1))
    with pytest.raises(PropertyNotImplementedError, match=r"energy_std takes a potential that was trained with several members"):
        calculator.get_property("energy_std", ethanol)
    with pytest.raises(PropertyNotImplementedError, match=r"energy_noise takes .*noise=heteroscedastic"):
        calculator.get_property("energy_noise", ethanol)


def test_an_unknown_element_is_named_with_what_to_do(ethanol: Atoms) -> None:
    ethanol.calc = Calculator(ensemble([1, 6], 1))
    with pytest.raises(SpeciesError, match=r"structure C2OH6: expected elements among H, C, found O. Retrain"):
        ethanol.get_potential_energy()


@pytest.mark.parametrize("number", [119, -1])
def test_an_atomic_number_of_no_element_is_told(ethanol: Atoms, number: int) -> None:
    ethanol.calc = Calculator(ensemble([1, 6, 8], 1))
    ethanol.numbers[2] = number
    with pytest.raises(SpeciesError, match=rf"found an atom of no element \(Z = {number}\)"):
        ethanol.get_potential_energy()


def test_atoms_on_top_of_each_other_are_refused(ethanol: Atoms) -> None:
    ethanol.calc = Calculator(ensemble([1, 6, 8], 1))
    ethanol.positions[4] = ethanol.positions[3] + 0.1
    with pytest.raises(GeometryError, match="atoms 3"):
        ethanol.get_forces()


def test_atomic_numbers_of_any_kind_are_read(ethanol: Atoms) -> None:
    """As other libraries leave them."""
    ethanol.calc = Calculator(ensemble([1, 6, 8], 1))
    expected = ethanol.get_potential_energy()
    other = ethanol.copy()
    other.arrays["numbers"] = ethanol.numbers.astype(np.int32)
    other.calc = ethanol.calc
    assert other.get_potential_energy() == expected
    other.positions[1] = other.positions[0]
    with pytest.raises(GeometryError, match="C2OH6"):
        other.get_potential_energy()


@pytest.mark.parametrize("change", ["positions", "numbers", "cell", "pbc"])
def test_a_change_of_the_structure_is_noticed_and_nothing_else(change: str) -> None:
    crystal = bulk("Si", cubic=True)
    crystal.calc = Calculator(ensemble([6, 14], 1))
    before = crystal.get_potential_energy()
    assert crystal.calc.check_state(crystal) == []
    match change:
        case "positions":
            crystal.positions[0, 0] += 0.1
        case "numbers":
            crystal.numbers[0] = 6
        case "cell":
            crystal.set_cell(crystal.cell * 1.01)
        case "pbc":
            crystal.pbc = [True, True, False]
    assert crystal.calc.check_state(crystal) == [change]
    assert crystal.get_potential_energy() != before


def test_the_file_and_the_potential_in_memory_agree(ethanol: Atoms, tmp_path: Path) -> None:
    both = ensemble([1, 6, 8], 2)
    artifact.save(tmp_path / "p.nnpx", both, config=CONFIG, card={}, provenance={}, training={})
    ethanol.calc = nnpx.Calculator(tmp_path / "p.nnpx")
    forces = ethanol.get_forces()
    ethanol.calc = Calculator(both)
    np.testing.assert_array_equal(forces, ethanol.get_forces())
    assert all(weight.requires_grad for weight in both.parameters())


def test_single_precision_is_close_and_leaves_the_potential_alone(ethanol: Atoms) -> None:
    both = ensemble([1, 6, 8], 1)
    ethanol.calc = Calculator(both)
    exact = ethanol.get_forces()
    ethanol.calc = Calculator(both, dtype="float32")
    np.testing.assert_allclose(ethanol.get_forces(), exact, atol=1e-4)
    assert both.dtype == torch.float64


def test_results_are_written_and_read_by_ase(ethanol: Atoms, tmp_path: Path) -> None:
    from ase.io import read, write

    ethanol.calc = Calculator(ensemble([1, 6, 8], 2))
    energy = ethanol.get_potential_energy()
    write(tmp_path / "out.extxyz", ethanol)
    assert read(tmp_path / "out.extxyz").get_potential_energy() == pytest.approx(energy)


def test_a_device_or_precision_that_there_is_not_is_told() -> None:
    with pytest.raises(ConfigError, match="device: expected cpu"):
        Calculator(ensemble([1, 6, 8], 1), device="cuda:77")
    with pytest.raises(ConfigError, match="dtype: expected float32 or float64, found float16"):
        _precision("float16")
