"""Energies that lie far from those of the same elements are named; broad and mixed sets are not."""

import numpy as np
import pytest
from ase import Atoms

from nnpx.data.consistency import outside
from nnpx.data.frames import attach

E0 = {"Cu": -3.5, "Au": -3.8}


def alloys(n: int, off: dict[int, float], spread: float = 0.02) -> list[Atoms]:
    """Mixed cells of different sizes: the sum over elements, a positive rest per atom, and what was added to some."""
    random, found = np.random.default_rng(0), []
    for index in range(n):
        symbols = random.choice(list(E0), size=random.integers(4, 30))
        atoms = Atoms(symbols, positions=9.0 * random.random((len(symbols), 3)))
        energy = sum(E0[symbol] for symbol in symbols) + spread * len(symbols) * random.standard_exponential() + off.get(index, 0.0)
        found.append(attach(atoms, energy=float(energy), forces=np.zeros((len(atoms), 3)), stress=None))
    return found


@pytest.mark.parametrize("spread", [0.0, 0.02])
def test_a_slip_is_named(spread: float) -> None:
    (said,) = outside(alloys(60, {11: 500.0}, spread))
    assert said.startswith("the energy of structure 11 (+")
    (said,) = outside(alloys(500, {3: 500.0, 400: -300.0}, spread))
    assert "structure 400 (-" in said or ", 400 (-" in said
    assert "3 (+" in said


@pytest.mark.parametrize("n", [0, 3, 60, 500])
def test_what_varies_is_no_slip(n: int) -> None:
    assert outside(alloys(n, {})) == []
    assert outside(alloys(n, {}, spread=0.0)) == []


def test_a_part_of_the_data_elsewhere_is_no_slip() -> None:
    """Of 100 cells 10 are 2 eV per atom higher, as surfaces and defects may be."""
    assert outside(alloys(100, {index: 60.0 for index in range(10)})) == []


def test_structures_without_energies_are_passed_over() -> None:
    structures = alloys(60, {11: 500.0})
    structures[0].calc = None
    assert len(outside(structures)) == 1
