"""Whether nnpx computes on a GPU what it computes on the processor; the first part of gpu.py."""

import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.io import write
from gpu_systems import Record, guarded, labelled_silicon
from omegaconf import OmegaConf
from speed import displaced, make_update, potential_for

import nnpx
from nnpx import artifact
from nnpx.config import compose, conf_dir, instantiate
from nnpx.descriptor.stored import store
from nnpx.ensemble import Ensemble
from nnpx.fitting import NODES, Task, describe_structures, train_member
from nnpx.graph import AtomicGraph, Prediction
from nnpx.md.batched import BatchedDynamics
from nnpx.md.walker import start_walker
from nnpx.neighbors import graph_from_list
from nnpx.potential import Potential
from nnpx.trainer.gradient import ComputedGradient, RecordedGradient
from nnpx.trainer.loop import fabric_on
from nnpx.trainer.padded import PaddedSet

PROPERTIES = ("energy", "forces", "energy_std", "forces_std")


def relative(found: torch.Tensor, reference: torch.Tensor) -> float:
    """The largest difference in parts of the largest value."""
    found, reference = (one.detach().to("cpu", torch.float64) for one in (found, reference))
    return float((found - reference).abs().max() / reference.abs().max().clamp_min(1e-300))


def differences(found: Prediction, reference: Prediction, names: tuple[str, ...]) -> Record:
    """Of each quantity that exists."""
    pairs = {name: (getattr(found, name), getattr(reference, name)) for name in names}
    return {name: relative(*pair) for name, pair in pairs.items() if not bool(pair[1].isnan().any())}


def update(potential: Potential, graph: AtomicGraph, overrides: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss with forces in it, and its gradient in the weights as one vector."""
    wired = {
        "forces_rms": 1.0,
        "numbers": potential.numbers,
        "knows_energy_std": potential.n_heads > 1,
        "knows_forces_std": potential.n_heads > 1,
    }
    loss = instantiate(compose(overrides).loss, **wired).to(graph.positions.device)
    weights = list(potential.train().parameters())
    value = loss(potential(graph), graph, progress=0.0)
    return value, torch.cat([one.flatten() for one in torch.autograd.grad(value, weights)])


def correct_descriptors(device: str, quick: bool) -> Iterator[Record]:
    """Energy, forces and stress of every descriptor, and one update, in both precisions."""
    for option in sorted(path.stem for path in (conf_dir() / "descriptor").glob("*.yaml"))[: 3 if quick else None]:
        for system, structures in {"ethanol": displaced("ethanol", 3), "silicon": labelled_silicon()}.items():
            yield from guarded({"descriptor": option, "system": system}, partial(_one_descriptor, option, structures, device))


def _one_descriptor(option: str, structures: list[Atoms], device: str) -> Iterator[Record]:
    overrides = [f"descriptor={option}"]
    potential, graph = potential_for(structures, overrides, torch.float64)
    reference, (loss, slope) = potential.eval()(graph), update(potential, graph, overrides)
    for dtype in (torch.float64, torch.float32):
        own, there = potential.to(device).to_precision(dtype), graph.cast(dtype).to(device)
        found, (loss_there, slope_there) = own.eval()(there), update(own, there, overrides)
        errors = differences(found, reference, ("energy", "forces", "stress"))
        yield {"dtype": str(dtype), **errors, "loss": relative(loss_there, loss), "gradient": relative(slope_there, slope)}


def correct_stored(device: str, quick: bool) -> Iterator[Record]:
    """An update that reads a stored descriptor, beside the same on the processor."""
    potential, graph = potential_for(displaced("mol27", 4), [], torch.float64)
    with torch.no_grad():
        kept = store(graph, potential.descriptor, potential.embedding(graph.species), torch.float64, derivatives=True)
    chosen = torch.tensor([2, 0, 3])
    loss, slope = update(potential, kept.select(chosen), [])
    loss_there, slope_there = update(potential.to(device), kept.to(device).select(chosen.to(device)), [])
    yield {"stored": True, "loss": relative(loss_there, loss), "gradient": relative(slope_there, slope)}


def correct_recorded(device: str, quick: bool) -> Iterator[Record]:
    """Updates that were recorded beside the same computed on the GPU, on batches of several shapes with and without cells."""
    if device == "cpu":
        return
    cases = [["descriptor=acsf"], ["descriptor=moments"], ["descriptor=moments_messages"], ["descriptor=nep"]]
    cases += [["descriptor=moments", "loss=two_stage"], ["descriptor=moments", "ensemble=shallow", "loss=crps"]]
    for overrides in cases:
        yield from guarded({"recorded": overrides}, partial(_one_recorded, overrides, device))


def _one_recorded(overrides: list[str], device: str) -> Iterator[Record]:
    structures = [*displaced("ethanol", 7), *displaced("mol27", 6), *(labelled_silicon() if "crps" not in overrides[-1] else [])]
    potential, graph = potential_for(structures, overrides, torch.float64)
    if overrides == ["descriptor=acsf"]:
        graph = store(graph, potential.descriptor, potential.embedding(graph.species), torch.float64, derivatives=True)
    wired = {"forces_rms": 1.0, "numbers": potential.numbers, "knows_energy_std": True, "knows_forces_std": True}
    loss = instantiate(compose(overrides).loss, **wired)
    optimizer, train = torch.optim.SGD(potential.train().parameters(), 0.0), graph.to(device)
    computed = ComputedGradient(fabric_on(torch.device(device).type), potential, loss, optimizer, train=train, clip=10.0)
    padded = PaddedSet(train, cutoff_radius=potential.cutoff_radius, batch_size=5)
    recorded = RecordedGradient(computed, potential, loss, train=padded, clip=10.0)
    weights, worst, random = list(potential.parameters()), 0.0, torch.Generator().manual_seed(0)
    for update in range(24):
        chosen, outcomes = torch.randperm(graph.n_structures, generator=random)[: 5 if update % 3 else 2], []
        for gradient in (recorded, computed):
            value = gradient(chosen, update / 24)
            outcomes.append(torch.cat([value.double()[None], *(weight.grad.double().flatten() for weight in weights)]))
        worst = max(worst, relative(*outcomes))
    yield {"obstacle": recorded.obstacle, "recordings": len(recorded._recordings), "beside_computed": worst}


def correct_training(device: str, quick: bool) -> Iterator[Record]:
    """The option `trainer=gpu`: its learning curve beside that of the processor, and that of a run which was stopped and goes on."""
    for descriptor in ("acsf", "moments"):
        yield from guarded({"trainer": descriptor}, partial(_one_training, descriptor, "cpu" if device == "cpu" else "gpu"))


def _one_training(descriptor: str, trainer: str) -> Iterator[Record]:
    curves = {}
    for name, chosen in {"cpu": "cpu", "device": trainer, "resumed": trainer}.items():
        with tempfile.TemporaryDirectory() as folder:
            for part, n in {"train": 40, "valid": 16}.items():
                write(Path(folder) / f"{part}.extxyz", displaced("ethanol", n))
            words = [f"trainer={chosen}", f"descriptor={descriptor}", "trainer.max_epochs=6", "optimizer.learning_rate=0.001"]
            nodes: Any = OmegaConf.to_container(compose(words), resolve=True)
            task = Task({node: nodes[node] for node in (*NODES, "ensemble")}, [1, 6, 8], {}, Path(folder))
            describe_structures(task, Path(folder))
            if name == "resumed":
                _stopped(task, after=3)
            curves[name] = train_member(task, 0, 0, lambda report: None)[1]
    losses = {name: torch.tensor([row.train_loss for row in curve]) for name, curve in curves.items()}
    yield {
        "epochs": len(curves["device"]),
        "first_and_last_loss": losses["device"][[0, -1]].tolist(),
        "beside_cpu": relative(losses["device"], losses["cpu"]),
        "resumed": relative(losses["resumed"], losses["device"]),
    }


def _stopped(task: Task, after: int) -> None:
    """Training that ends by an error after some epochs."""

    def stop(report: Any) -> None:
        if report.epoch.epoch == after:
            raise InterruptedError

    try:
        train_member(task, 0, 0, stop)
    except InterruptedError:
        return


def correct_ensemble(device: str, quick: bool) -> Iterator[Record]:
    """The spread of four members; from a file through the calculator; and a little dynamics of replicas."""
    for overrides in ([], ["experiment=moments"]):
        structures = displaced("ethanol", 3)
        members = [potential_for(structures, overrides, torch.float64, seed)[0].eval() for seed in range(4)]
        with tempfile.TemporaryDirectory() as folder:
            path, config = Path(folder) / "potential.nnpx", OmegaConf.to_container(compose(overrides), resolve=True)
            artifact.save(path, Ensemble(members), config=config, card={}, provenance={}, training={})
            for name, work in {"ensemble": _one_ensemble, "calculator": _one_calculator, "dynamics": _one_dynamics}.items():
                yield from guarded({name: overrides}, partial(work, path, structures, device))


def _one_ensemble(path: Path, structures: list[Atoms], device: str) -> Iterator[Record]:
    here, there = nnpx.load(path), nnpx.load(path, device=device)
    graph = graph_from_list(structures, numbers=here.numbers, cutoff=here.cutoff_radius, where="benchmark")
    expected = here(graph)  # first: a graph moves as a whole and leaves nothing behind
    yield differences(there(graph.to(device)), expected, PROPERTIES)


def _one_calculator(path: Path, structures: list[Atoms], device: str) -> Iterator[Record]:
    here, there = nnpx.Calculator(path), nnpx.Calculator(path, device=device, record_after=0)
    for atoms in structures:  # the second is evaluated from what was recorded with the first
        values = {name: [torch.as_tensor(one.get_property(name, atoms)) for one in (there, here)] for name in PROPERTIES}
        recorded = [one is not None for one in there.recordings._recorded.values()]
        yield {"recorded": recorded, **{name: relative(*pair) for name, pair in values.items()}}


def _one_dynamics(path: Path, structures: list[Atoms], device: str) -> Iterator[Record]:
    ends = []
    for where in (device, "cpu"):
        walkers = [start_walker(atoms, temperature_K=300.0, seed=k) for k, atoms in enumerate(structures)]
        BatchedDynamics(nnpx.load(path, device=where), walkers, timestep_fs=0.5, friction_per_fs=0.0, skin=0.5).advance(20)
        ends.append(torch.from_numpy(np.concatenate([walker.atoms.positions for walker in walkers])))
    yield {"positions": relative(*ends)}


def correct_waiting(device: str, quick: bool) -> Iterator[Record]:
    """The lines at which an evaluation or an update waits for the GPU."""
    if device == "cpu":
        return
    for overrides in ([], ["experiment=moments"], ["experiment=nep"]):
        yield from guarded({"waits": overrides}, partial(_one_wait, overrides, device))


def _one_wait(overrides: list[str], device: str) -> Iterator[Record]:
    update_once, potential, graph = make_update(16, True, overrides, device, recorded=False)
    yield {"in": "update", "lines": _waits(update_once)}
    yield {"in": "evaluation", "lines": _waits(partial(Ensemble([potential.eval()]), graph, spread=False))}


def _waits(work: Callable[[], object]) -> Counter[str]:
    """The lines that wait, and how often."""
    work()
    torch.cuda.set_sync_debug_mode("warn")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        work()
    torch.cuda.set_sync_debug_mode("default")
    return Counter(f"{Path(one.filename).name}:{one.lineno}" for one in caught)
