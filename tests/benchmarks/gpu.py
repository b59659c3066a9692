"""What nnpx is worth on a GPU, one JSON line per finding; what fails is one of them and the rest goes on.

python gpu.py                              all parts on cuda, printed and appended to gpu.jsonl
python gpu.py descriptors infer train      some of them
python gpu.py --device cpu --quick         a trial without a GPU, on small systems

descriptors, stored, training, ensemble    every descriptor, one update with forces in the loss, training and resuming, an ensemble, the
                                           calculator and dynamics, beside the same on the processor: the largest difference in parts of the
                                           largest value
recorded   updates that were recorded beside the same that are computed, on the GPU
waiting    the lines that wait for the GPU
molecules  dynamics of one molecule in ASE, evaluated from a CUDA graph and not, beside the processor
infer      energy and forces in float32, the neighbour list apart: µs per atom and memory per atom
train      updates on 27-atom molecules: structures per second, kernels per update and the share of the time in which the GPU computes;
           TorchANI's on the same molecules where it is installed

Weights are random and labels made up: neither changes the time. TF32 is never used.
"""

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from ase import Atoms
from gpu_correct import correct_descriptors, correct_ensemble, correct_recorded, correct_stored, correct_training, correct_waiting
from gpu_systems import Record, guarded, labelled_silicon, silicon, tell
from gpu_torchani import make_update_of_torchani
from speed import STEPS, displaced, dynamics, make_update, potential_for, water

from nnpx.ensemble import Ensemble
from nnpx.neighbors import graph_from_atoms

#: the potentials whose speed is measured
POTENTIALS = {
    "acsf": [],
    "moments": ["experiment=moments"],
    "nep": ["experiment=nep", "cutoff.radius=6", "descriptor.angular_radius=5"],
}


def infer(device: str, quick: bool) -> Iterator[Record]:
    """µs per atom for energy and forces of crystals and water."""
    sizes: dict[str, Callable[[], Atoms]] = {f"Si {8 * n**3}": partial(silicon, n) for n in ((2,) if quick else (5, 11, 23))}
    sizes |= {f"water {3 * n}": partial(water, n) for n in ((20,) if quick else (333, 3333))}
    for size, make in sizes.items():
        atoms = make()
        for name, overrides in POTENTIALS.items():
            yield from guarded({"infer": name, "system": size}, partial(_one_size, atoms, overrides, device, 0.5 if quick else 1.5))


def _one_size(atoms: Atoms, overrides: list[str], device: str, budget: float) -> Iterator[Record]:
    potential, _ = potential_for(labelled_silicon() if atoms.numbers[0] == 14 else displaced("water192", 2), overrides)
    ensemble = Ensemble([potential.to(device).eval()]).requires_grad_(requires_grad=False)
    started = time.perf_counter()
    graph = graph_from_atoms(atoms, numbers=potential.numbers, cutoff=potential.cutoff_radius, where="benchmark").cast(torch.float32)
    listed = time.perf_counter()
    there = graph.to(device)
    _wait(device)
    moved = time.perf_counter()
    seconds, memory = measure(partial(ensemble, there, spread=False), device, budget)
    yield {
        "us_per_atom": 1e6 * seconds / len(atoms),
        "ms": 1e3 * seconds,
        "neighbors_us_per_atom": 1e6 * (listed - started) / len(atoms),
        "transfer_us_per_atom": 1e6 * (moved - listed) / len(atoms),
        "peak_bytes_per_atom": memory / len(atoms),
        "pairs_per_atom": len(graph.center) / len(atoms),
    }


def train(device: str, quick: bool) -> Iterator[Record]:
    """Structures per second."""
    for batch in (8,) if quick else (8, 32, 256):
        cases: dict[str, Callable[[], Callable[[], None]]] = {
            "TorchANI": lambda batch=batch: make_update_of_torchani(displaced("mol27", max(64, batch)), batch, device)
        }
        for name, (live, overrides) in {"acsf, stored": (False, []), "acsf": (True, []), "moments": (True, ["experiment=moments"])}.items():
            made = partial(make_update, batch, live, overrides, device)
            cases[name] = lambda made=made: made(recorded=False)[0]
            if name != "acsf":  # seeks its triplets in every update
                cases[f"{name}, recorded"] = lambda made=made: made()[0]
        for name, make in cases.items():
            yield from guarded({"train": name, "batch": batch}, partial(_one_batch, make, batch, device, 0.5 if quick else 2.0))


def _one_batch(make: Callable[[], Callable[[], None]], batch: int, device: str, budget: float) -> Iterator[Record]:
    step = make()
    seconds, memory = measure(step, device, budget)
    yield {"structures_per_s": batch / seconds, "ms": 1e3 * seconds, "peak_MB": memory / 1e6}
    if device != "cpu":
        yield _kernels(step, seconds)


def _kernels(step: Callable[[], None], seconds: float) -> Record:
    """How many kernels an update starts, and in which share of its time they run."""
    activities, n = [torch.profiler.ProfilerActivity.CUDA], 3
    with torch.profiler.profile(activities=activities) as profile:
        for _ in range(n):
            step()
        torch.cuda.synchronize()
    kernels = [one for one in profile.events() if one.device_type == torch.autograd.DeviceType.CUDA]
    busy = sum(one.time_range.elapsed_us() for one in kernels) * 1e-6 / n
    return {"kernels": len(kernels) / n, "busy_share": busy / seconds}


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def measure(work: Callable[[], object], device: str, budget: float) -> tuple[float, float]:
    """Median duration over the budget (s) after three calls that do not count, and the largest memory beyond what was held (bytes)."""
    for _ in range(3):
        work()
    _wait(device)
    held = torch.cuda.memory_allocated() if device != "cpu" else 0
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    durations, begin = [], time.perf_counter()
    while time.perf_counter() - begin < budget or len(durations) < 5:
        started = time.perf_counter()
        work()
        _wait(device)
        durations.append(time.perf_counter() - started)
    return statistics.median(durations), float(torch.cuda.max_memory_allocated() - held) if device != "cpu" else float("nan")


def molecules(device: str, quick: bool) -> Iterator[Record]:
    """Steps per second of the dynamics of one ethanol in ASE, evaluated from a recording and not."""
    for name in ("acsf", "moments"):
        for where, record_after in ((device, 0), (device, sys.maxsize), ("cpu", 0)):
            case = {"molecules": name, "on": where, "recorded": record_after == 0}
            yield from guarded(case, partial(_one_molecule, POTENTIALS[name], where, record_after, 0.5 if quick else 2.0))


def _one_molecule(overrides: list[str], device: str, record_after: int, budget: float) -> Iterator[Record]:
    seconds, _ = measure(dynamics("ethanol", overrides, record_after=record_after, device=device), device, budget)
    yield {"steps_per_s": STEPS / seconds}


PARTS = {
    "descriptors": correct_descriptors,
    "stored": correct_stored,
    "recorded": correct_recorded,
    "training": correct_training,
    "ensemble": correct_ensemble,
    "waiting": correct_waiting,
    "molecules": molecules,
    "infer": infer,
    "train": train,
}


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all of them if none is named")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="small systems, short measurements")
    parser.add_argument("--out", type=Path, default=Path("gpu.jsonl"))
    asked = parser.parse_args()
    where = torch.cuda.get_device_name() if asked.device != "cpu" else platform.processor()
    _tell(asked.out, {"device": where, "torch": torch.__version__, "tf32": torch.backends.cuda.matmul.allow_tf32})
    for part in asked.parts or PARTS:
        started = time.perf_counter()
        for record in guarded({}, partial(PARTS[part], asked.device, asked.quick)):
            _tell(asked.out, record)
        _tell(asked.out, {"done": part, "s": time.perf_counter() - started})


def _tell(path: Path, record: Record) -> None:
    """Print a finding and write it down at once."""
    with path.open("a", encoding="utf-8") as file:
        file.write(tell(record) + "\n")


if __name__ == "__main__":
    main()
