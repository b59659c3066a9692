"""What a trajectory begins with: few atoms, fixed atoms, magnetic atoms."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.constraints import FixAtoms
from ase.io import write
from md_systems import Pairs, Springs, settings, watchdog
from small import carbons

from nnpx.config import compose, conf_dir, instantiate
from nnpx.ensemble import Ensemble
from nnpx.errors import ConfigError, GeometryError, SpeciesError
from nnpx.md import Simulation, study
from nnpx.md.identity import identity
from nnpx.md.labelled_by import is_foreign
from nnpx.md.langevin import Langevin
from nnpx.md.nve import NVE
from nnpx.md.study import Study
from nnpx.md.trajectory import Trajectory
from nnpx.md.walker import read_walker, start_walker
from nnpx.reference.emt import EMT
from nnpx.reference.lj import LennardJones

Run = Callable[..., Trajectory]


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_the_bath_that_equilibrates_two_atoms_does_not_alarm_the_watchdog(run: Run, seed: int) -> None:
    """It drives all six momenta, of which Newton's equations leave one free afterwards."""
    dimer = Atoms("Ar2", [[0.0, 0.0, 0.0], [0.0, 0.0, 3.8]])
    bounds = watchdog(max_temperature_ratio=10.0)
    found = run(NVE, dimer, Pairs(), seed=seed, temperature_K=10.0, timestep_fs=4.0, equilibration_ps=40.0, watchdog=bounds)
    assert found.steps == 10250


def test_one_atom_has_a_temperature_and_no_distances(run: Run) -> None:
    atom = Atoms("Ar")
    one, two = (run(Langevin, atom, Springs(atom, 1.0), seed=seed) for seed in (0, 1))
    found = Study("langevin", Langevin(**settings()), one, two, "")
    assert found.metrics()["temperature_K"] > 0
    assert "distance_distribution_mae" not in found.metrics()
    assert "langevin_temperature" in found.pictures()


def start(simulation: Simulation, atoms: Atoms, potential: Ensemble, folder: Path) -> None:
    """Simulations that begin with a structure."""
    write(folder / "start.traj", atoms)
    engine = LennardJones(epsilon=0.01, sigma=3.4, onset=6.0, cutoff=8.0)
    words: dict[str, Any] = {"labelled_by": "", "seed": 0, "start": folder / "start.traj", "workspace": folder, "trusted": ""}
    more = {"file": folder / "frames.extxyz", "potential": "", "watch": lambda name, timestep: lambda done, of: None}
    study.run_all(simulation, Springs(atoms, 1.0), potential, engine, **words, **more)


@pytest.mark.parametrize("kind", [NVE, Langevin])
def test_what_is_fixed_is_not_moved(kind: type[NVE] | type[Langevin], repulsion: Ensemble, tmp_path: Path) -> None:
    atoms = carbons(1)[0]
    atoms.set_constraint(FixAtoms([0]))
    with pytest.raises(ConfigError, match=r"without constraints.*FixAtoms"):
        start(kind(**settings()), atoms, repulsion, tmp_path)


@pytest.mark.parametrize("option", [path.stem for path in sorted((conf_dir() / "md").glob("*.yaml"))])
def test_no_trajectory_begins_with_a_structure_that_makes_no_sense(option: str, repulsion: Ensemble, tmp_path: Path) -> None:
    simulation = instantiate(compose([f"md={option}"]).md)
    nowhere, crowded, strange = (carbons(1)[0] for _ in range(3))
    nowhere.positions[1, 2] = np.nan
    crowded.positions[1] = crowded.positions[0] + 0.1
    strange.numbers[1] = 0
    for atoms, found in ((nowhere, "nan or infinity"), (crowded, r"C0 and C1 at 0\.1732 Å"), (strange, "an atom of no element")):
        with pytest.raises((GeometryError, SpeciesError), match=rf"structure 0 of .*start\.traj: .*found {found}"):
            start(simulation, atoms, repulsion, tmp_path)


def test_where_the_data_say_nothing_an_engine_that_finds_their_forces_is_the_one_that_labelled_them(tmp_path: Path) -> None:
    still = EMT().label(bulk("Cu", cubic=True))
    atoms = still.copy()
    atoms.positions += 0.05 * np.random.default_rng(0).standard_normal((4, 3))
    for name, one in (("test.extxyz", EMT().label(atoms)), ("still.extxyz", still)):
        write(tmp_path / name, one)
    another = LennardJones(epsilon=0.4, sigma=2.3, onset=4.0, cutoff=5.0)
    asked = {
        (engine, name): is_foreign(engine, "not stated", tmp_path / name, tmp_path / "kept")
        for engine in (EMT(), another)
        for name in ("test.extxyz", "still.extxyz", "missing.extxyz")
    }
    assert [name for (_, name), reason in asked.items() if not reason] == ["test.extxyz"]
    assert "the data do not say what labelled them, and Lennard-Jones" in asked[another, "test.extxyz"]
    assert len(list((tmp_path / "kept").iterdir())) == 2  # answers of two engines
    said = is_foreign(EMT(), "PBE", tmp_path / "test.extxyz", tmp_path / "kept")
    assert said.startswith("the data were labelled by PBE, the engine is effective medium theory")


def test_a_walker_keeps_the_spin_state_that_a_reference_engine_would_compute(tmp_path: Path) -> None:
    singlet, triplet = molecule("O2"), molecule("O2")
    singlet.set_initial_magnetic_moments([0.0, 0.0])
    triplet.set_initial_magnetic_moments([1.0, 1.0])
    walker = start_walker(triplet, temperature_K=300.0, seed=0)
    walker.write(tmp_path / "walker.npz")
    np.testing.assert_array_equal(read_walker(tmp_path / "walker.npz").atoms.get_initial_magnetic_moments(), [1.0, 1.0])
    names = {identity("engine", NVE(**settings()), one, 0, trusted="") for one in (singlet, triplet)}
    assert len(names) == 2
