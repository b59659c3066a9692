"""How fast nnpx is on this machine, one JSON line per measurement.

python speed.py                                       `single` and `train`
python speed.py single --system ethanol|water192|si512|…|si97336  energy + forces through the ASE calculator, neighbour list included, which
                                                      lasts as in dynamics; --skin 0 makes one in every evaluation
python speed.py conformers [--unrecorded | --compiled]  energies + forces of 1,000 ethanols in batches of 100, with all there is to find
python speed.py md --system ethanol|water192|… [--unrecorded | --compiled]  steps of velocity Verlet; not recorded, or as C++
python speed.py train --batch 8|32 [--live]           one update with forces in the loss, 27-atom molecules; as in a training, a descriptor
                                                      that is fixed is read from what was stored; --live computes it in every update, too

--beside N             while so many other processes compute, each in a session of its own, as in another terminal

Memory is by how much the evaluation raised the most that the process ever held: measure one case at a time.
Weights are random and labels made up: neither changes the time. Medians over about four seconds after a warm-up, by the clock on the
wall or, with --processor-time, of what the process and its threads took: on a machine that others use.
"""

import argparse
import functools
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.md.verlet import VelocityVerlet

import nnpx
from nnpx.assembly import build_parts
from nnpx.calculator import SKIN
from nnpx.config import compose, instantiate
from nnpx.descriptor.stored import is_fixed, store
from nnpx.ensemble import Ensemble
from nnpx.graph import AtomicGraph
from nnpx.neighbors import graph_from_list
from nnpx.potential import Potential
from nnpx.speed.threads import for_loops
from nnpx.statistics import measure_scales
from nnpx.trainer.gradient import ComputedGradient, Gradient, RecordedGradient
from nnpx.trainer.loop import fabric_on, threads_of_torch
from nnpx.trainer.padded import PaddedSet

#: ethanols that are evaluated, and how many of them together
N_CONFORMERS, CONFORMERS_AT_A_TIME = 1000, 100
#: of dynamics that are timed together
STEPS = 10


def water(n_molecules: int) -> Atoms:
    """Molecules on a grid at 1 g/cm³, turned at random."""
    random = np.random.default_rng(0)
    length = (n_molecules * 29.915) ** (1 / 3)
    per_side = int(np.ceil(n_molecules ** (1 / 3)))
    box = Atoms(cell=[length] * 3, pbc=True)
    for k in range(n_molecules):
        one = molecule("H2O")
        one.euler_rotate(*random.uniform(0, 360, 3))
        one.translate((np.array([k // per_side**2, k // per_side % per_side, k % per_side]) + 0.5) * length / per_side)
        box += one
    return box


def silicon(n: int) -> Atoms:
    """So many cubic cells in every direction."""
    return bulk("Si", "diamond", a=5.431, cubic=True) * (n, n, n)


def molecule_of_27_atoms() -> Atoms:
    """Benzene, ethanol and ethylene side by side, with two carbons made nitrogen: four elements, 27 atoms."""
    parts = molecule("C6H6"), molecule("CH3CH2OH"), molecule("C2H4")
    parts[1].translate([0.0, 0.0, 4.0])
    parts[2].translate([4.2, 0.0, 2.0])
    joined = parts[0] + parts[1] + parts[2]
    joined.numbers[np.flatnonzero(joined.numbers == 6)[:2]] = 7
    return joined


SYSTEMS: dict[str, Callable[[], Atoms]] = {
    "ethanol": lambda: molecule("CH3CH2OH"),
    "water192": lambda: water(64),
    **{f"si{8 * n**3}": functools.partial(silicon, n) for n in (4, 8, 16, 23)},
    "mol27": molecule_of_27_atoms,
}


def displaced(system: str, n: int) -> list[Atoms]:
    """Copies with random displacements and harmonic labels."""
    random = np.random.default_rng(1)
    rest, structures = SYSTEMS[system](), []
    for _ in range(n):
        atoms, shift = rest.copy(), random.normal(scale=0.05, size=(len(rest), 3))
        atoms.positions += shift
        atoms.calc = SinglePointCalculator(atoms, energy=2.0 * float((shift**2).sum()), forces=-4.0 * shift)
        structures.append(atoms)
    return structures


def potential_for(
    structures: list[Atoms], overrides: list[str], dtype: torch.dtype = torch.float32, seed: int = 0
) -> tuple[Potential, AtomicGraph]:
    """The configured potential with random weights, and the graph of the structures, which is in float64."""
    config, numbers = compose(overrides), sorted({int(z) for atoms in structures for z in atoms.numbers})
    parts = build_parts(config, numbers=numbers, seed=seed)
    graph = graph_from_list(structures, numbers=numbers, cutoff=parts.cutoff_radius, where="benchmark")
    described = store(graph, parts.descriptor, parts.embedding(graph.species), dtype, derivatives=False)
    scales = measure_scales(described, numbers=numbers, isolated_atoms={}, feature_floor=1e-3)
    return parts.potential(scales).to_precision(dtype), graph


def prepared(system: str, overrides: list[str], *, n_members: int = 1, **settings: Any) -> tuple[Atoms, nnpx.Calculator]:
    """A structure, and a calculator with some settings; what is recorded is so at once."""
    small = displaced("si512" if system.startswith("si") else system, 1)
    members = [potential_for(small, overrides, seed=seed)[0].eval() for seed in range(n_members)]
    atoms = displaced(system, 1)[0].copy()
    atoms.calc = nnpx.Calculator(Ensemble(members), **{"dtype": "float32", "record_after": 0, **settings})
    return atoms, atoms.calc


def single(system: str, overrides: list[str], **settings: Any) -> Callable[[], None]:
    """One evaluation of energy and forces through the ASE calculator, at new positions each time."""
    atoms, _ = prepared(system, overrides, **settings)
    random, rest = np.random.default_rng(3), atoms.positions.copy()

    def evaluate() -> None:
        atoms.positions = rest + random.uniform(-0.01, 0.01, rest.shape)
        atoms.get_potential_energy()
        atoms.get_forces()

    return evaluate


def conformers(overrides: list[str], **settings: Any) -> Callable[[], None]:
    """Energies and forces of many ethanols in batches."""
    structures = displaced("ethanol", N_CONFORMERS)
    _, calculator = prepared("ethanol", overrides, **settings)
    ensemble, recordings = calculator.ensemble, calculator.recordings

    def evaluate() -> None:
        for first in range(0, N_CONFORMERS, CONFORMERS_AT_A_TIME):
            some = structures[first : first + CONFORMERS_AT_A_TIME]
            if recordings.predict(some, np.concatenate([atoms.positions for atoms in some]), spread=False):
                continue
            graph = graph_from_list(some, numbers=ensemble.numbers, cutoff=ensemble.cutoff_radius, where="benchmark")
            ensemble(graph.cast(ensemble.dtype), spread=False)

    return evaluate


def dynamics(system: str, overrides: list[str], **settings: Any) -> Callable[[], None]:
    """Some steps at constant energy from the same start every time, with next to no forces: those of random weights are wild."""
    atoms, calculator = prepared(system, overrides, **settings)
    for member in calculator.ensemble.members:
        member.energy_scale *= 1e-6
    verlet = VelocityVerlet(atoms, timestep=0.25 * units.fs)
    start, momenta = atoms.positions.copy(), 0.1 * np.random.default_rng(0).normal(size=atoms.positions.shape)

    def move() -> None:
        atoms.positions = start
        atoms.set_momenta(momenta)
        verlet.run(STEPS)

    return move


def make_update(
    batch: int,
    live: bool,
    overrides: list[str],
    device: str = "cpu",
    *,
    recorded: bool = True,
    system: str = "mol27",
    n_structures: int = 64,
) -> tuple[Callable[[], None], Potential, AtomicGraph]:
    """One update on a batch: selection, energy, forces, loss, gradients, clipping, AdamW, as the peers do; what it trains, and on what."""
    config, structures = compose(["optimizer=adamw", *overrides]), displaced(system, max(n_structures, batch))
    potential, graph = potential_for(structures, overrides)
    parts = build_parts(config, numbers=potential.numbers, seed=0)  # in float64, as what is stored is computed
    if not live and is_fixed(parts.embedding, parts.descriptor):
        graph = store(graph, parts.descriptor, parts.embedding(graph.species), torch.float32, derivatives=True)
    graph = graph.cast(torch.float32).to(device)
    known = {"knows_energy_std": potential.n_heads > 1, "knows_forces_std": potential.n_heads > 1}
    loss = instantiate(config.loss, forces_rms=float(potential.energy_scale), numbers=potential.numbers, **known)
    optimizer = instantiate(config.optimizer).build(potential.parameters())
    computed = ComputedGradient(fabric_on(torch.device(device).type), potential, loss, optimizer, train=graph, clip=10.0)
    gradient: Gradient = computed
    if recorded and device != "cpu":
        padded = PaddedSet(graph, cutoff_radius=potential.cutoff_radius, batch_size=batch)
        gradient = RecordedGradient(computed, potential, loss, train=padded, clip=10.0)

    threads = threads_of_torch(potential, graph, batch)

    def update() -> None:
        potential.train()
        with for_loops(threads):
            computed.optimizer.step(functools.partial(gradient, torch.randperm(graph.n_structures)[:batch], 0.0))
        if isinstance(gradient, RecordedGradient) and gradient.obstacle is not None:
            raise RuntimeError(gradient.obstacle)

    return update, potential, graph


def median_seconds(work: Callable[[], None], budget: float, clock: Callable[[], float] = time.perf_counter) -> float:
    """Median duration by the clock, over the budget (s), after three calls that do not count."""
    for _ in range(3):
        work()
    durations, begin = [], time.perf_counter()
    while time.perf_counter() - begin < budget or len(durations) < 3:
        started = clock()
        work()
        durations.append(clock() - started)
    return statistics.median(durations)


def cases(asked: argparse.Namespace) -> Iterator[tuple[dict[str, object], Callable[[], Callable[[], None]]]]:
    """What is asked for, each with what to say of it and how to prepare it."""
    systems, overrides = [asked.system] if asked.system else ["ethanol", "water192", "si512"], asked.overrides
    settings = {"record_after": sys.maxsize if asked.unrecorded else 0, "compiled": asked.compiled, "skin": asked.skin}
    if asked.measure in (None, "single"):
        for system in systems:
            yield {"measure": "single", "system": system}, lambda system=system: single(system, overrides, **settings)
    if asked.measure in (None, "train"):
        for batch in [asked.batch] if asked.batch else [8, 32]:
            case = {"measure": "train", "system": "mol27", "batch": batch, "live": asked.live}
            yield case, lambda batch=batch: make_update(batch, asked.live, overrides)[0]
    if asked.measure == "conformers":
        yield {"measure": "conformers", "system": "ethanol"}, lambda: conformers(overrides, **settings)
    if asked.measure == "md":
        for system in systems[:2]:
            yield {"measure": "md", "system": system}, lambda system=system: dynamics(system, overrides, **settings)


def rate(case: dict[str, object], seconds: float) -> dict[str, float]:
    """What the seconds mean."""
    if case["measure"] == "single":
        return {"us_per_atom": round(1e6 * seconds / len(SYSTEMS[str(case["system"])]()), 2)}
    if case["measure"] == "md":
        return {"steps_per_s": round(STEPS / seconds, 1)}
    return {"structures_per_s": round((case["batch"] if case["measure"] == "train" else N_CONFORMERS) / seconds, 1)}


@contextmanager
def others(n: int) -> Iterator[None]:
    """So many other processes compute meanwhile."""
    work = f"import os\nwhile os.getppid() == {os.getpid()}: pass"  # ends with this process, whatever ends that
    processes = [subprocess.Popen([sys.executable, "-c", work], start_new_session=True) for _ in range(n)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def peak_memory() -> float:
    """The most that the process has held, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measure", nargs="?", choices=["single", "train", "conformers", "md"])
    parser.add_argument("--system", choices=[name for name in SYSTEMS if name != "mol27"])
    parser.add_argument("--batch", type=int)
    parser.add_argument("--live", action="store_true")
    parser.add_argument("--unrecorded", action="store_true")
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--skin", type=float, default=SKIN, help="of neighbour lists, Å; with 0 they are made in every evaluation")
    parser.add_argument("--processor-time", action="store_true")
    parser.add_argument("--budget", type=float, default=4.0)
    parser.add_argument("--beside", type=int, default=0)
    parser.add_argument("overrides", nargs="*", help="of the configuration, as for nnpx")
    asked = parser.parse_intermixed_args()
    for case, make in cases(asked):
        work = make()
        before = peak_memory()
        with others(asked.beside):
            seconds = median_seconds(work, asked.budget, time.process_time if asked.processor_time else time.perf_counter)
        machine = {"memory_MB": round(peak_memory() - before, 1), "threads": torch.get_num_threads(), "cpus": os.cpu_count()}
        print(json.dumps({**case, **rate(case, seconds), "median_ms": round(1e3 * seconds, 3), **machine}), flush=True)


if __name__ == "__main__":
    main()
