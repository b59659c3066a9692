"""Heat baths of many replicas against statistical mechanics."""

import numpy as np
import pytest
from ase import Atoms
from small import carbons

from nnpx import units
from nnpx.ensemble import Ensemble
from nnpx.md.batched import BatchedDynamics
from nnpx.md.walker import start_walker


def test_every_replica_of_a_crystal_has_its_own_temperature(repulsion: Ensemble) -> None:
    """⟨E_kin⟩ = 3/2 N k T and var(E_kin) = 3/2 N (k T)² at 200 and at 600 K, side by side."""
    targets = [200.0] * 10 + [600.0] * 10
    walkers = [start_walker(carbons(1)[0], temperature_K=target, seed=[1, k]) for k, target in enumerate(targets)]
    engine = BatchedDynamics(repulsion, walkers, timestep_fs=4.0, friction_per_fs=0.05, skin=0.5)
    engine.advance(40)
    kinetic = engine.advance(150, stride=6).kinetic / (np.array(targets) * units.K)
    for replicas in (kinetic[:, :10], kinetic[:, 10:]):
        means = replicas.mean(0)
        error = means.std(ddof=1) / np.sqrt(len(means))
        assert error < 0.4
        assert means.mean() == pytest.approx(6.0, abs=4 * error)
        assert replicas.var() == pytest.approx(6.0, rel=0.3)


def test_a_bias_lowers_the_energy_by_what_the_members_disagree_about(repulsions: Ensemble) -> None:
    """Without a bath V − τ σ_V is conserved, and V is not; with one the members disagree more than without a bias."""
    disagreement = {}
    for bias, friction in ((4.0, 0.0), (4.0, 0.05), (0.0, 0.05)):
        walkers = [start_walker(carbons(1)[0], temperature_K=600.0, seed=[1, k]) for k in range(6)]
        course = BatchedDynamics(repulsions, walkers, timestep_fs=1.0, friction_per_fs=friction, skin=0.5, bias=bias).advance(150, stride=1)
        total = course.potential + course.kinetic
        if not friction:
            assert (np.ptp(total - bias * course.energy_std, axis=0) < 0.02 * np.ptp(total, axis=0)).all()
        disagreement[bias] = course.energy_std[50:].mean()
    assert disagreement[4.0] > 1.1 * disagreement[0.0]


def test_free_atoms_diffuse_as_einstein_says(repulsion: Ensemble) -> None:
    """⟨r²⟩ = 6 k T/(m γ) t, after the first 1/γ."""
    far_apart = Atoms("C120", 5.0 * np.arange(360.0).reshape(120, 3), masses=[12.0] * 120)
    walker = start_walker(far_apart, temperature_K=300.0, seed=2)
    walker.atoms.set_momenta(np.zeros((120, 3)))
    engine = BatchedDynamics(repulsion, [walker], timestep_fs=5.0, friction_per_fs=0.1, skin=6.0)
    engine.advance(20)
    squares = []
    for _ in range(2):
        before = walker.atoms.get_positions()
        engine.advance(100)
        squares.append(((walker.atoms.positions - before) ** 2).sum(1))
    diffusion = 300.0 * units.K / (12.0 * 0.1 / units.fs)
    # the memory of the start, ⟨r²⟩ = 6 D (t − 1/γ), and the discrete bath: a velocity lives for Δt/2 coth(γΔt/2) instead of 1/γ
    lived = 500.0 * units.fs * 0.25 / np.tanh(0.25)
    assert np.mean(squares) == pytest.approx(6.0 * diffusion * (lived - 10.0 * units.fs), rel=4 * np.sqrt(2 / 3 / 240))
