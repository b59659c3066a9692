"""From prepared data to a trained ensemble: members that share one stored description of the training set."""

import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from multiprocessing.queues import Queue
from pathlib import Path
from queue import Empty
from typing import Any, Final

import torch
from ase.data import atomic_numbers

from nnpx import __version__
from nnpx.assembly import Parts, build_parts
from nnpx.config import fingerprint, instantiate
from nnpx.data.reader import read
from nnpx.descriptor.stored import is_fixed, store, stored_bytes
from nnpx.graph import AtomicGraph
from nnpx.neighbors import graph_from_list
from nnpx.potential import Potential, forces_and_stress
from nnpx.prior import Prior
from nnpx.prior.zero import Zero
from nnpx.reduce import sum_atoms_to_structures
from nnpx.statistics import measure_scales
from nnpx.trainer.loop import Objective, Trainer
from nnpx.trainer.state import Checkpoint, Epoch

#: the nodes of the configuration that decide what a member becomes
NODES: Final = ("cutoff", "radial", "species_embedding", "descriptor", "network", "prior", "loss", "optimizer", "schedule", "trainer")
#: seconds between two looks at the members' reports
POLL_S: Final = 0.2


@dataclass(frozen=True)
class Task:
    """What a member is trained from; small, so that a worker process can be given one.

    Attributes:
        config: the nodes of `NODES`.
        numbers: atomic numbers, in the order of the species index.
        isolated_atoms: energies of isolated atoms (eV) by atomic number; may be empty.
        folder: where the graphs and the checkpoints of this training are kept.
    """

    config: Mapping[str, Any]
    numbers: list[int]
    isolated_atoms: dict[int, float]
    folder: Path


@dataclass(frozen=True)
class Report:
    """One epoch of one member."""

    member: int
    epoch: Epoch


def training_task(config: Mapping[str, Any], card: Mapping[str, Any], workspace: Path) -> Task:
    """The task that the configuration and the prepared data describe.

    Its folder is named after everything that decides the outcome, so an interrupted training is found again and a different one never is.
    """
    nodes = {node: config[node] for node in NODES}
    key = fingerprint(nodes, config["seed"], card["md5"], card["isolated_atoms"], __version__, torch.__version__)
    isolated = {atomic_numbers[symbol]: energy for symbol, energy in card["isolated_atoms"].items()}
    return Task(nodes, list(card["numbers"]), isolated, workspace / ".nnpx" / "training" / key)


def describe_structures(task: Task, prepared: Path) -> str:
    """Build the graphs of the training and validation sets, with stored features where the descriptor is fixed, and keep them.

    Returns:
        One sentence for the user: what was stored, or why not.
    """
    trainer: Trainer = instantiate(task.config["trainer"])
    parts = build_parts(task.config, numbers=task.numbers, seed=0)
    graphs = {
        name: graph_from_list(read(prepared / f"{name}.extxyz"), numbers=task.numbers, cutoff=parts.cutoff_radius, where=f"{name}.extxyz")
        for name in ("train", "valid")
    }
    megabytes = sum(stored_bytes(graph, parts.descriptor, trainer.dtype) for graph in graphs.values()) / 1e6
    fixed = is_fixed(parts.embedding, parts.descriptor)
    fits = megabytes * 1e6 <= trainer.stored_descriptor_bytes
    if fixed and fits:
        graphs = {name: _stored(graph, parts, trainer.dtype, derivatives=True) for name, graph in graphs.items()}
    for name, graph in graphs.items():
        _graph_file(task, name).parent.mkdir(parents=True, exist_ok=True)
        torch.save(graph.cast(trainer.dtype).to_dict(), _graph_file(task, name))
    n_features = parts.descriptor.n_features
    if fixed and fits:
        return f"{n_features} features and their derivatives stored once for all epochs and members: {megabytes:.0f} MB"
    why = f"{megabytes:.0f} MB exceed trainer.stored_descriptor_MB" if fixed else "the descriptor is trained"
    return f"{n_features} features computed in every update: {why}"


def train_members(
    task: Task, seeds: list[int], *, n_processes: int, report: Callable[[Report], None]
) -> tuple[list[Potential], list[list[Epoch]]]:
    """Train one member per seed, several at a time; returns the potentials and their learning curves.

    Args:
        task: what to train on; its graphs have been stored.
        seeds: one per member.
        n_processes: members that train at the same time, each in a process of its own; 1 trains in this process.
        report: called after every epoch of every member, in this process.
    """
    if n_processes == 1 or len(seeds) == 1:
        trained = [train_member(task, member, seed, report) for member, seed in enumerate(seeds)]
    else:
        trained = _train_in_processes(task, seeds, n_processes, report)
    potentials, curves = [], []
    for (weights, curve), seed in zip(trained, seeds, strict=True):
        potential = build_parts(task.config, numbers=task.numbers, seed=seed).unscaled_potential().to_precision(_dtype(task))
        potential.load_state_dict(weights)
        potentials.append(potential.eval())
        curves.append(curve)
    return potentials, curves


def train_member(task: Task, member: int, seed: int, report: Callable[[Report], None]) -> tuple[dict[str, torch.Tensor], list[Epoch]]:
    """Train one member from its seed, or from its checkpoint; returns its weights and learning curve."""
    trainer: Trainer = instantiate(task.config["trainer"])
    parts = build_parts(task.config, numbers=task.numbers, seed=seed)
    train, valid = (without_prior(_load_graph(task, name), parts.prior) for name in ("train", "valid"))
    described = train if train.has_stored_features() else _stored(train, parts, trainer.dtype, derivatives=False)
    scales = measure_scales(described, numbers=task.numbers, isolated_atoms=task.isolated_atoms, feature_floor=trainer.feature_floor)
    potential = parts.potential(scales).to_precision(trainer.dtype)
    potential.prior = Zero()  # its part has been taken from the labels
    objective = Objective(
        instantiate(task.config["loss"], forces_rms=scales.energy_scale),
        instantiate(task.config["optimizer"]),
        instantiate(task.config["schedule"]),
    )
    curve = trainer.fit(
        potential,
        train=train,
        valid=valid,
        objective=objective,
        seed=seed,
        checkpoint=Checkpoint(task.folder / f"member-{seed}.checkpoint"),
        report=lambda epoch: report(Report(member, epoch)),
    )
    potential.prior = parts.prior
    return {name: value.detach().cpu() for name, value in potential.state_dict().items()}, curve


def without_prior(graph: AtomicGraph, prior: Prior) -> AtomicGraph:
    """The graph with the prior's energy, forces and stress taken from the labels: what is left to learn.

    The prior has no trained parameters, so that this is done once and not in every update.
    """
    with torch.enable_grad():
        wide = graph.cast(torch.float64)
        edges = wide.edges().as_variables()
        atomic_energies = prior(edges, graph.species)
        if not atomic_energies.requires_grad:
            return graph
        (pull,) = torch.autograd.grad(atomic_energies.sum(), edges.vector)
    forces, stress = forces_and_stress(wide, edges, pull)
    energy = sum_atoms_to_structures(atomic_energies.detach(), graph.owner, graph.n_structures)
    return graph.with_(
        energy=graph.energy - energy,
        forces=graph.forces - forces.to(graph.forces.dtype),
        stress=graph.stress - stress.to(graph.stress.dtype),
    )


def forget_graphs(task: Task) -> None:
    """Remove the stored graphs, which may be large; the checkpoints stay."""
    for name in ("train", "valid"):
        _graph_file(task, name).unlink(missing_ok=True)


def _train_in_processes(
    task: Task, seeds: list[int], n_processes: int, report: Callable[[Report], None]
) -> list[tuple[dict[str, torch.Tensor], list[Epoch]]]:
    context = get_context("spawn")
    reports: Queue[Report] = context.Queue()
    threads = max(1, (os.cpu_count() or 1) // n_processes)
    with ProcessPoolExecutor(n_processes, context, initializer=_start_worker, initargs=(reports, threads, os.getpid())) as pool:
        futures = [pool.submit(_train_in_worker, task, member, seed) for member, seed in enumerate(seeds)]
        try:
            for received in _until_done(futures, reports):
                report(received)
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in (pool._processes or {}).values():  # a member that trains for hours must not outlive an error or Ctrl-C
                process.terminate()
            raise


def _until_done(futures: list["Future[Any]"], reports: "Queue[Report]") -> Iterator[Report]:
    """The members' reports as they come, until all have finished or one has failed."""
    while True:
        done = all(future.done() for future in futures) or any(future.done() and future.exception() for future in futures)
        try:
            while True:
                yield reports.get(timeout=0 if done else POLL_S)
        except Empty:
            if done:
                return


_worker: dict[str, Any] = {}


def _start_worker(reports: "Queue[Report]", threads: int, parent: int) -> None:
    torch.set_num_threads(threads)
    _worker.update(reports=reports, parent=parent)


def _train_in_worker(task: Task, member: int, seed: int) -> tuple[dict[str, torch.Tensor], list[Epoch]]:
    def report(row: Report) -> None:
        if os.getppid() != _worker["parent"]:
            sys.exit("the training that started this member has ended")
        _worker["reports"].put(row)

    return train_member(task, member, seed, report)


def _stored(graph: AtomicGraph, parts: Parts, dtype: torch.dtype, *, derivatives: bool) -> AtomicGraph:
    wide = graph.cast(torch.float64)
    with torch.no_grad():
        chemistry = parts.embedding(graph.species)
    return store(wide, parts.descriptor, chemistry, dtype, derivatives=derivatives)


def _graph_file(task: Task, name: str) -> Path:
    return task.folder / f"{name}.graph"


def _load_graph(task: Task, name: str) -> AtomicGraph:
    """Mapped into memory, so that members in several processes share one copy."""
    return AtomicGraph(**torch.load(_graph_file(task, name), weights_only=True, mmap=True))


def _dtype(task: Task) -> torch.dtype:
    trainer: Trainer = instantiate(task.config["trainer"])
    return trainer.dtype


def for_json(epoch: Epoch) -> dict[str, float | None]:
    """The row of a learning curve by name, None where it is NaN: JSON has no NaN."""
    return {key: None if math.isnan(value) else value for key, value in asdict(epoch).items()}
