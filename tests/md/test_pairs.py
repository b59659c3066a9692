"""Distances and displacements against arrangements whose answer is known."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from md_systems import sampled

from nnpx.figures import svg
from nnpx.md import figures
from nnpx.md.pairs import diffusion, displacements, radial_distributions
from nnpx.report import with_error


def test_an_ideal_gas_has_no_structure_whatever_its_cell() -> None:
    """g = 1 within its errors, for equal and for unequal elements."""
    random = np.random.default_rng(0)
    cell = np.array([[9.0, 0.0, 0.0], [2.0, 8.0, 0.0], [-1.0, 3.0, 10.0]])
    gas = Atoms("H20O10", random.random((30, 3)) @ cell, cell=cell, pbc=True)
    found = radial_distributions(sampled(gas, random.random((500, 30, 3)) @ cell))
    assert [one.pair for one in found] == ["H-H", "H-O", "O-O"]
    deviations = []
    for one in found:
        far = one.distance > 1.5
        assert one.value[far].mean() == pytest.approx(1.0, abs=0.01)
        deviations.append((one.value[far] - 1.0) / one.error[far])
        assert one.distance[-1] < 0.5 / np.linalg.norm(np.linalg.inv(cell), axis=0).max()
    assert np.median(np.abs(deviations)) == pytest.approx(0.74, abs=0.25)  # of Student's t with four degrees of freedom


def test_an_atom_of_a_close_packed_crystal_has_12_neighbours() -> None:
    crystal = bulk("Cu", cubic=True) * (3, 3, 3)
    shaken = crystal.positions + 0.05 * np.random.default_rng(1).standard_normal((40, len(crystal), 3))
    (found,) = radial_distributions(sampled(crystal, shaken))
    near = found.distance < 3.0
    shells = 4 / 3 * np.pi * np.diff((np.arange(len(found.distance) + 1) * 0.05) ** 3)
    count = (found.value * shells)[near].sum() * (len(crystal) - 1) / crystal.get_volume()
    assert count == pytest.approx(12.0, abs=1e-9)


def test_distances_in_a_molecule_are_normalised() -> None:
    water = molecule("H2O")
    frames = water.positions + 0.03 * np.random.default_rng(2).standard_normal((200, 3, 3))
    found = {one.pair: one for one in radial_distributions(sampled(water, frames))}
    assert list(found) == ["H-H", "H-O"]
    for pair, length in (("H-H", water.get_distance(1, 2)), ("H-O", water.get_distance(0, 1))):
        assert found[pair].value.sum() * 0.05 == pytest.approx(1.0)
        assert (found[pair].distance * found[pair].value).sum() * 0.05 == pytest.approx(length, abs=0.02)
    assert svg(figures.distances(list(found.values()), list(found.values())[:1]))


def test_an_atom_that_flew_away_leaves_the_distribution() -> None:
    """The bins do not follow it for a tenth of a millimetre; what is lacking says for how long it was away."""
    water = molecule("H2O")
    frames = np.repeat(water.positions[None], 4, axis=0)
    frames[3, 2] += 1e6
    bond, other = radial_distributions(sampled(water, frames))[::-1]
    assert bond.distance[-1] == other.distance[-1] == pytest.approx(100.0, abs=0.1)
    assert (bond.pair, bond.value.sum() * 0.05) == ("H-O", pytest.approx((3 * 2 + 1) / 8))
    assert (other.pair, other.value.sum() * 0.05) == ("H-H", pytest.approx(3 / 4))


@pytest.mark.parametrize("length", [0.75, 1.0, 3.0, 150.0])
def test_a_rigid_molecule_has_its_one_distance_however_long(length: float) -> None:
    rigid = Atoms("H2", [[0.0, 0.0, 0.0], [0.0, 0.0, length]])
    (found,) = radial_distributions(sampled(rigid, np.repeat(rigid.positions[None], 3, axis=0)))
    assert found.distance[found.value > 0] == pytest.approx([length], abs=0.05)
    assert found.value.sum() * 0.05 == pytest.approx(1.0)


def test_a_slab_has_no_radial_distribution() -> None:
    slab = bulk("Cu", cubic=True)
    slab.pbc = (True, True, False)
    assert radial_distributions(sampled(slab, slab.positions[None])) == []


def test_a_random_walk_diffuses_with_its_coefficient() -> None:
    """D = ⟨Δx²⟩/(2Δt) for each element; a drift of the whole is no diffusion."""
    random = np.random.default_rng(3)
    width = np.repeat([0.02, 0.05], 40)[:, None]
    steps = width * random.standard_normal((2000, 80, 3)) + [0.01, 0.0, 0.0]
    gas = Atoms("H40O40", np.zeros((80, 3)), masses=[1.0] * 80, cell=[10.0] * 3, pbc=True)
    found = diffusion(sampled(gas, steps.cumsum(0)))
    for symbol, of_step in (("H", 0.02), ("O", 0.05)):
        expected = of_step**2 / (2 * 0.01)
        # the centre of mass of 80 atoms takes some of the motion away, and lends that of the other element
        assert found[symbol].value == pytest.approx(expected, abs=4 * found[symbol].error + 0.05 * expected)
        assert found[symbol].error < 0.15 * expected


def test_squared_displacements_of_a_random_walk_lie_on_the_line_of_their_diffusion() -> None:
    """⟨Δr²⟩ = 6 D τ without an offset; the figure states D."""
    steps = 0.05 * np.random.default_rng(5).standard_normal((2000, 400, 3))
    gas = Atoms("O400", np.zeros((400, 3)), cell=[10.0] * 3, pbc=True)
    (found,) = displacements(sampled(gas, steps.cumsum(0)))
    assert found.square == pytest.approx(3 * 0.05**2 * found.lag_ps / 0.01, rel=0.03)
    assert abs(found.offset) < 0.02 * found.square[-1]
    assert found.line.value == pytest.approx(3 * 0.05**2 / 0.01, rel=0.05)
    assert f"{with_error(found.line.value / 6.0, found.line.error / 6.0)} Å²/ps" in svg(figures.displacements([found], [found]))


def test_a_solid_does_not_diffuse_and_a_short_trajectory_says_nothing() -> None:
    crystal = bulk("Cu", cubic=True)
    shaken = crystal.positions + 0.1 * np.random.default_rng(4).standard_normal((500, 4, 3))
    found = diffusion(sampled(crystal, shaken))["Cu"]
    assert abs(found.value) < 4 * found.error + 1e-12
    assert np.isnan(diffusion(sampled(crystal, shaken[:3]))["Cu"].value)


@pytest.mark.parametrize("period_ps", [0.05, 0.3, 1.0])
def test_vibrations_are_no_diffusion(period_ps: float) -> None:
    """Atoms that swing about their places, faster than the lags or in some of them, go nowhere within the error."""
    random, time = np.random.default_rng(3), 0.01 * np.arange(1000)
    phase = 2.0 * np.pi * (time[:, None, None] / period_ps + random.random((1, 50, 3)))
    solid = Atoms("Cu50", np.zeros((50, 3)), cell=[10.0] * 3, pbc=True)
    (found,) = diffusion(sampled(solid, 0.1 * np.sin(phase))).values()
    assert abs(found.value) < 2.5 * found.error
