"""Replicas in one batch against ASE, against themselves alone, and against statistical mechanics."""

from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.md.langevinbaoab import LangevinBAOAB
from ase.md.verlet import VelocityVerlet
from ase.units import kB
from small import CUTOFF, NUMBERS, carbons, ethanols, graph_of, potential_for

from nnpx import units
from nnpx.calculator import Calculator
from nnpx.ensemble import Ensemble
from nnpx.errors import GeometryError
from nnpx.md.batched import BatchedDynamics
from nnpx.md.walker import Walker, read_walker, start_walker
from nnpx.neighbors import graph_from_list
from nnpx.skin import SkinList


@pytest.fixture(scope="module")
def ensemble() -> Ensemble:
    """Two random potentials whose forces are of the size of real ones, without training."""
    graph = graph_of([*ethanols(6), *carbons(3)])
    members = [potential_for(graph, seed=seed) for seed in (0, 1)]
    return Ensemble(members).requires_grad_(requires_grad=False)


def replicas(n: int, temperature_K: float = 100.0) -> list[Walker]:
    return [start_walker(atoms, temperature_K=temperature_K, seed=[7, k]) for k, atoms in enumerate(ethanols(n))]


def engine(ensemble: Ensemble, walkers: list[Walker], friction_per_fs: float = 0.0, skin: float = 0.4) -> BatchedDynamics:
    return BatchedDynamics(ensemble, walkers, timestep_fs=0.5, friction_per_fs=friction_per_fs, skin=skin)


def assert_same(one: Walker, two: Walker) -> None:
    """To the last bit."""
    np.testing.assert_array_equal(one.atoms.positions, two.atoms.positions)
    np.testing.assert_array_equal(one.atoms.get_momenta(), two.atoms.get_momenta())
    np.testing.assert_array_equal(one.forces, two.forces)
    assert (one.step, one.energy, one.energy_std, one.temperature_K) == (two.step, two.energy, two.energy_std, two.temperature_K)
    assert one.random.bit_generator.state == two.random.bit_generator.state


def test_without_friction_the_trajectory_is_that_of_ases_velocity_verlet(ensemble: Ensemble) -> None:
    walkers = replicas(3)
    by_ase = [walker.atoms.copy() for walker in walkers]
    for atoms in by_ase:
        atoms.calc = Calculator(ensemble)
        VelocityVerlet(atoms, timestep=0.5 * units.fs).run(40)
    engine(ensemble, walkers).advance(40)
    for walker, atoms in zip(walkers, by_ase, strict=True):
        np.testing.assert_allclose(walker.atoms.positions, atoms.positions, rtol=0, atol=1e-10)
        np.testing.assert_allclose(walker.atoms.get_momenta(), atoms.get_momenta(), rtol=0, atol=1e-10)
        assert walker.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-10)


def test_with_friction_and_the_same_noise_the_trajectory_is_that_of_ases_baoab(ensemble: Ensemble) -> None:
    (walker,) = replicas(1)
    atoms = walker.atoms.copy()
    atoms.calc = Calculator(ensemble)
    random = np.random.default_rng([7, 0])
    random.standard_normal((9, 3))  # the momenta of the start
    target_K = 100.0 * units.K / kB  # ASE's Boltzmann constant is of CODATA 2014
    bath = LangevinBAOAB(atoms, timestep=0.5 * units.fs, temperature_K=target_K, T_tau=units.fs / 0.02, hydrostatic=True, rng=random)
    bath.run(20)
    engine(ensemble, [walker], friction_per_fs=0.02).advance(20)
    np.testing.assert_allclose(walker.atoms.positions, atoms.positions, rtol=0, atol=1e-10)
    np.testing.assert_allclose(walker.atoms.get_momenta(), atoms.get_momenta(), rtol=0, atol=1e-10)


def test_a_replica_does_not_notice_the_others_apart_from_rounding(ensemble: Ensemble) -> None:
    together, alone = replicas(5), replicas(5)
    engine(ensemble, together, 0.02).advance(20)
    for k in (0, 4):
        engine(ensemble, [alone[k]], 0.02).advance(20)
        np.testing.assert_allclose(together[k].atoms.positions, alone[k].atoms.positions, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(together[k].forces, alone[k].forces, rtol=1e-10, atol=1e-10)
        assert together[k].random.bit_generator.state == alone[k].random.bit_generator.state


@pytest.mark.parametrize("structures", [ethanols(3), carbons(2)], ids=["molecules", "crystals"])
def test_the_skin_changes_no_bit(ensemble: Ensemble, structures: list[Atoms]) -> None:
    """A skin so thin that lists are made at every step, against one that lasts."""
    thin, thick = ([start_walker(atoms, temperature_K=300.0, seed=3) for atoms in structures] for _ in range(2))
    engine(ensemble, thin, skin=1e-9).advance(30)
    engine(ensemble, thick, skin=0.2).advance(30)
    for one, two in zip(thin, thick, strict=True):
        assert_same(one, two)


def test_a_list_with_a_skin_gives_the_forces_of_a_fresh_one(ensemble: Ensemble) -> None:
    """Including pairs that have crossed the cutoff in both directions."""
    before = [bulk("C", "fcc", a=3.3, cubic=True) * (2, 1, 1)]
    kept = SkinList(numbers=NUMBERS, cutoff=CUTOFF, skin=1.0)
    kept.graph({"carbon": before[0]}, before[0].positions)
    after = before[0].copy()
    after.rattle(0.12, seed=4)
    graph, edges = kept.graph({"carbon": before[0]}, after.positions)
    fresh = graph_from_list([after], numbers=NUMBERS, cutoff=CUTOFF, where="test")
    assert len(graph.center) == len(fresh.center) != len(graph_of(before).center)
    one, two = ensemble(graph, edges), ensemble(fresh)
    for name in ("energy", "forces", "stress", "energy_std", "forces_std"):
        torch.testing.assert_close(getattr(one, name), getattr(two, name), rtol=1e-12, atol=1e-12)


def test_a_pause_changes_no_bit(ensemble: Ensemble) -> None:
    """Walkers that always run in the same company are the same whether or not they stood still meanwhile."""
    straight, paused = replicas(4), replicas(4)
    engine(ensemble, straight, 0.02).advance(20, [0, 1])
    stopping = engine(ensemble, paused, 0.02)
    stopping.advance(10, [0, 1])
    stopping.advance(15, [2, 3])
    stopping.advance(10, [0, 1])
    for k in (0, 1):
        assert_same(straight[k], paused[k])
    assert [walker.step for walker in paused] == [20, 20, 15, 15]


def test_a_restart_from_files_changes_no_bit(ensemble: Ensemble, tmp_path: Path) -> None:
    straight, killed = replicas(3), replicas(3)
    engine(ensemble, straight, 0.02).advance(30)
    engine(ensemble, killed, 0.02).advance(17)
    for k, walker in enumerate(killed):
        walker.write(tmp_path / f"{k}.npz")
    restored = [read_walker(tmp_path / f"{k}.npz") for k in range(3)]
    assert_same(killed[0], restored[0])
    engine(ensemble, restored, 0.02, skin=0.2).advance(13)
    for one, two in zip(straight, restored, strict=True):
        assert_same(one, two)


def test_a_walker_without_forces_yet_can_be_kept(tmp_path: Path) -> None:
    replicas(1)[0].write(tmp_path / "walker.npz")
    walker = read_walker(tmp_path / "walker.npz")
    assert walker.forces is None
    np.testing.assert_array_equal(walker.atoms.get_momenta(), replicas(1)[0].atoms.get_momenta())


def test_samples_are_those_of_the_ensemble_at_the_stride(ensemble: Ensemble) -> None:
    walkers = replicas(2)
    course = engine(ensemble, walkers).advance(10, stride=5, spread=True)
    assert course.step == [5, 10]
    assert course.potential.shape == course.forces_std_max.shape == (2, 2)
    last = ensemble(graph_of([walker.atoms for walker in walkers]))
    np.testing.assert_allclose(course.potential[-1], last.energy, rtol=1e-10)
    np.testing.assert_allclose(course.energy_std[-1], last.energy_std, rtol=1e-8)
    np.testing.assert_allclose(course.kinetic[-1], [walker.atoms.get_kinetic_energy() for walker in walkers], rtol=1e-12)
    largest = [spread.norm(dim=1).max() for spread in last.forces_std.split(9)]
    np.testing.assert_allclose(course.forces_std_max[-1], largest, rtol=1e-8)
    assert np.isnan(engine(ensemble, walkers).advance(1).forces_std_max).all()


def test_a_structure_that_the_potential_refuses_leaves_all_as_they_were(ensemble: Ensemble) -> None:
    walkers, before = replicas(3), replicas(3)
    moving = engine(ensemble, walkers, 0.02)
    walkers[1].atoms.set_momenta(np.full((9, 3), np.inf))
    for walker in before:
        walker.forces = None
    with pytest.raises(GeometryError, match="walker 1"):
        moving.advance(3)
    assert walkers[0].random.bit_generator.state == before[0].random.bit_generator.state
    np.testing.assert_array_equal(walkers[0].atoms.positions, before[0].atoms.positions)
    moving.advance(3, [0, 2])
    assert [walker.step for walker in walkers] == [3, 0, 3]
