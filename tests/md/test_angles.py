"""Angles between neighbours against structures whose angles are known."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from md_systems import sampled
from scipy.stats import norm

from nnpx.figures import svg
from nnpx.md import figures
from nnpx.md.angles import AngularDistribution, angular_distributions

TETRAHEDRAL = float(np.degrees(np.arccos(-1.0 / 3.0)))


def at_rest(atoms: Atoms, bond_factor: float = 1.25) -> list[AngularDistribution]:
    return angular_distributions(sampled(atoms, np.repeat(atoms.positions[None], 3, axis=0)), bond_factor)


def peaks(one: AngularDistribution) -> list[float]:
    """The middle of every bin that has angles, and their share."""
    width = one.angle[1] - one.angle[0]
    return [number for angle, value in zip(one.angle, one.value, strict=True) if value > 0 for number in (angle, value * width)]


@pytest.mark.parametrize("atoms", [bulk("Si"), bulk("Si", cubic=True)], ids=["primitive", "cubic"])
def test_neighbours_in_diamond_are_at_the_corners_of_a_tetrahedron(atoms: Atoms) -> None:
    """Also where all of them are images of one atom."""
    (found,) = at_rest(atoms)
    assert found.triple == "Si-Si-Si"
    assert peaks(found) == [pytest.approx(TETRAHEDRAL, abs=1.0), pytest.approx(1.0)]
    assert found.error.max() == 0.0


def test_twelve_neighbours_of_a_close_packed_crystal_have_66_angles() -> None:
    """24 of 60°, 12 of 90°, 24 of 120° and 6 of 180°; a bin on whose edge they lie shares with its neighbour."""
    (found,) = at_rest(bulk("Cu", cubic=True))
    near = [found.value[np.abs(found.angle - angle) < 3.0].sum() * 2.0 for angle in (60.0, 90.0, 120.0, 180.0)]
    assert near == pytest.approx([24 / 66, 12 / 66, 24 / 66, 6 / 66])


def test_water_has_one_angle_and_its_names_are_those_of_elements() -> None:
    water = molecule("H2O")
    (found,) = at_rest(water)
    assert found.triple == "H-O-H"
    assert peaks(found) == [pytest.approx(water.get_angle(1, 0, 2), abs=1.0), pytest.approx(1.0)]
    assert [one.triple for one in at_rest(molecule("CH3CH2OH"))] == ["C-C-H", "C-C-O", "C-O-H", "H-C-H", "H-C-O"]


def test_neighbours_are_those_of_the_time() -> None:
    """An atom that leaves takes its angle along, and one that comes brings another."""
    straight = Atoms("OH3", [[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.96, 0.0, 0.0], [0.0, 5.0, 0.0]])
    frames = np.repeat(straight.positions[None], 4, axis=0)
    frames[2:, 2:] = [[-5.0, 0.0, 0.0], [0.0, 0.96, 0.0]]
    (found,) = angular_distributions(sampled(straight, frames), 1.25)
    assert peaks(found) == [pytest.approx(90.0, abs=1.0), pytest.approx(0.5), pytest.approx(180.0, abs=1.0), pytest.approx(0.5)]
    assert angular_distributions(sampled(straight, frames), 0.5) == []


def test_how_often_there_is_an_angle_is_no_error_of_what_it_is() -> None:
    water = molecule("H2O")
    frames = np.repeat(water.positions[None], 50, axis=0)
    frames[10:33, 2] += 5.0
    (found,) = angular_distributions(sampled(water, frames), 1.25)
    assert found.error.max() == pytest.approx(0.0, abs=1e-12)


def test_errors_cover_what_a_bent_molecule_has_in_the_mean() -> None:
    """The angle is normally distributed with a width of 6°."""
    random = np.random.default_rng(0)
    ratios = []
    for _ in range(60):
        bend = np.radians(105.0 + 6.0 * random.standard_normal(500))
        frames = np.zeros((500, 3, 3))
        frames[:, 1, 0], frames[:, 2] = 0.96, 0.96 * np.stack([np.cos(bend), np.sin(bend), 0.0 * bend], 1)
        (found,) = angular_distributions(sampled(Atoms("OH2", frames[0]), frames), 1.25)
        core = np.abs(found.angle - 105.0) < 6.0
        exact = np.diff(norm.cdf(np.arange(0.0, 182.0, 2.0), 105.0, 6.0)) / 2.0
        ratios.append((found.value - exact)[core] / found.error[core])
    assert np.median(np.abs(np.concatenate(ratios))) == pytest.approx(0.74, abs=0.15)  # of Student's t with four degrees of freedom
    assert "H-O-H (°)" in svg(figures.angles([found], [found]))
