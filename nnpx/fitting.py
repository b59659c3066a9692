"""From prepared data to a trained ensemble: members that share one stored description of the training set."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from ase.data import atomic_numbers, chemical_symbols

from nnpx import artifact
from nnpx.assembly import Parts, build_parts
from nnpx.config import fingerprint, instantiate
from nnpx.configuration.targets import trusted_code
from nnpx.data.reader import read
from nnpx.derivatives import forces_and_stress
from nnpx.descriptor.stored import TooLargeError, is_fixed, store
from nnpx.errors import SpeciesError
from nnpx.files import md5, whole
from nnpx.graph import AtomicGraph
from nnpx.locks import alone
from nnpx.neighbors import graph_from_list
from nnpx.prior import Prior
from nnpx.prior.zero import Zero
from nnpx.provenance import code_fingerprint, version
from nnpx.reduce import sum_atoms_to_structures
from nnpx.statistics import measure_scales
from nnpx.trainer.loop import Objective, Trainer
from nnpx.trainer.state import Checkpoint, Epoch

#: the nodes of the configuration that decide what a member becomes, beside how many heads it has
NODES: Final = (
    "cutoff",
    "radial",
    "species_embedding",
    "descriptor",
    "network",
    "prior",
    "noise",
    "loss",
    "optimizer",
    "schedule",
    "trainer",
)


@dataclass(frozen=True)
class Task:
    """What a member is trained from; small, so that a worker process can be given one.

    Attributes:
        config: the nodes of `NODES`, and the ensemble.
        numbers: atomic numbers, in the order of the species index.
        isolated_atoms: energies of isolated atoms (eV) by atomic number; may be empty.
        folder: where the graphs and the checkpoints of this training are kept.
        initial: the file of a potential that has as many members, whose weights and scales these start from; None starts from random
            weights and measures the scales.
        start_counts: see `nnpx.trainer.loop.Trainer.fit`.
    """

    config: Mapping[str, Any]
    numbers: list[int]
    isolated_atoms: dict[int, float]
    folder: Path
    initial: Path | None = None
    start_counts: bool = False


@dataclass(frozen=True)
class Report:
    """One epoch of one member."""

    member: int
    epoch: Epoch
    n_before: int = 0  #: epochs that were made before, where a training goes on


def training_task(
    config: Mapping[str, Any], card: Mapping[str, Any], workspace: Path, initial: Path | None = None, *, start_counts: bool = True
) -> Task:
    """The task that the configuration and the prepared data describe.

    Its folder is named after everything that decides the outcome, nnpx's own code included: an interrupted training is found again, and a
    different one never is.

    Args:
        config: the resolved experiment.
        card: of the prepared data.
        workspace: the folder that holds .nnpx/.
        initial: see `Task`.
        start_counts: whether that potential is kept if no epoch is better on the validation set.

    Raises:
        SpeciesError: the data have an element that the potential to start from does not know.
    """
    nodes = {node: config[node] for node in NODES}
    n_heads = instantiate(config["ensemble"]).n_heads
    made_of = [
        nodes,
        n_heads,
        config["seed"],
        card["md5"],
        card["isolated_atoms"],
        code_fingerprint(),
        trusted_code(),
        torch.__version__,
        version("numba"),
    ]
    key = fingerprint(*made_of, *([] if initial is None else [md5(initial), start_counts]))
    isolated = {atomic_numbers[symbol]: energy for symbol, energy in card["isolated_atoms"].items()}
    ensemble = {"ensemble": config["ensemble"]}
    numbers = list(card["numbers"]) if initial is None else _numbers_of(initial, card["numbers"])
    folder = workspace / ".nnpx" / "training" / key
    return Task({**nodes, **ensemble}, numbers, isolated, folder, initial, start_counts and initial is not None)


def _numbers_of(initial: Path, wanted: Sequence[int]) -> list[int]:
    """The elements that a potential knows, among which those of the data have to be."""
    numbers: list[int] = artifact.read_header(initial)["numbers"]
    if unknown := sorted(set(wanted) - set(numbers)):
        known, new = (", ".join(chemical_symbols[number] for number in some) for some in (numbers, unknown))
        do = "Leave out the structures that have it, or leave initial out and start from random weights."
        raise SpeciesError(initial.name, expected=f"data of the elements that it knows, {known}", found=new, do=do)
    return numbers


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
    fixed = is_fixed(parts.embedding, parts.descriptor)
    stored = _stored_with_derivatives(graphs, parts, trainer) if fixed else None
    graphs = stored or graphs
    for name, graph in graphs.items():
        with whole(_graph_file(task, name)) as file:
            torch.save(graph.cast(trainer.dtype).to_dict(), file)
    n_features, remark = parts.descriptor.n_features, parts.descriptor.remark
    end = f"; {remark}" if remark else ""
    if stored:
        megabytes = sum(graph.features.nbytes + graph.jacobian.nbytes for graph in stored.values()) / 1e6
        return f"{n_features} features and their derivatives stored once for all epochs and members: {megabytes:.0f} MB{end}"
    limit = trainer.stored_descriptor_bytes / 1e6
    why = f"stored they would take more than trainer.stored_descriptor_MB={limit:g}" if fixed else "the descriptor is trained"
    return f"{n_features} features computed in every update: {why}{end}"


@contextmanager
def reserved(task: Task, *, tell: Callable[[str], None]) -> Iterator[None]:
    """Inside the block no other command trains the same; the graphs that were stored in it are gone afterwards.

    Args:
        task: what to train on.
        tell: called with a sentence when another command trains the same, which then finishes first.
    """
    said = "another command trains the same; what it makes is taken when it has ended"
    with alone(task.folder, on="this training", do="Wait for it.", waits=lambda: tell(said)):
        try:
            yield
        finally:
            forget_graphs(task)


def train_member(task: Task, member: int, seed: int, report: Callable[[Report], None]) -> tuple[dict[str, torch.Tensor], list[Epoch]]:
    """Train one member from its seed, or from its checkpoint; returns its weights and learning curve."""
    trainer: Trainer = instantiate(task.config["trainer"])
    parts = build_parts(task.config, numbers=task.numbers, seed=seed)
    train, valid = (without_prior(_load_graph(task, name), parts.prior) for name in ("train", "valid"))
    described = train if train.has_stored_features() else _stored(train, parts, trainer.dtype, derivatives=False)
    scales = measure_scales(described, numbers=task.numbers, isolated_atoms=task.isolated_atoms, feature_floor=trainer.feature_floor)
    potential = parts.potential(scales).to_precision(trainer.dtype)
    if task.initial is not None:
        potential.load_state_dict(artifact.load(task.initial).members[member].state_dict())
    potential.prior = Zero()  # its part has been taken from the labels
    has_bars, has_forces = (bool(torch.isfinite(values).any()) for values in (train.energy_noise, train.forces))
    objective = Objective(
        instantiate(
            task.config["loss"],
            forces_rms=scales.energy_scale,
            numbers=task.numbers,
            knows_energy_std=parts.knows_spread or has_bars,
            knows_forces_std=parts.knows_spread or not has_forces,
        ),
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
        report=lambda epoch, n_before: report(Report(member, epoch, n_before)),
        start_counts=task.start_counts,
    )
    potential.prior = parts.prior
    return {name: value.detach().cpu() for name, value in potential.state_dict().items()}, curve


def without_prior(graph: AtomicGraph, prior: Prior) -> AtomicGraph:
    """The graph with the prior's energy, forces and stress taken from the labels: what is left to learn.

    The prior has no trained parameters, so that this is done once and not in every update.
    """
    wide = graph.with_(**{key: getattr(graph, key).double() for key in ("positions", "cell", "volume", "shift")})
    edges = wide.edges()
    with torch.enable_grad():
        variables = edges.as_variables()
        atomic_energies = prior(variables, graph.species)
        if not atomic_energies.requires_grad:
            return graph
        (pull,) = torch.autograd.grad(atomic_energies.sum(), variables.vector)
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


def _stored(graph: AtomicGraph, parts: Parts, dtype: torch.dtype, *, derivatives: bool, most_bytes: int | float = math.inf) -> AtomicGraph:
    chemistry = parts.embedding(graph.species).detach()
    return store(graph.cast(torch.float64), parts.descriptor, chemistry, dtype, derivatives=derivatives, most_bytes=most_bytes)


def _stored_with_derivatives(graphs: dict[str, AtomicGraph], parts: Parts, trainer: Trainer) -> dict[str, AtomicGraph] | None:
    """None where they take more memory than they may."""
    stored: dict[str, AtomicGraph] = {}
    left = trainer.stored_descriptor_bytes
    try:
        for name, graph in graphs.items():
            stored[name] = _stored(graph, parts, trainer.dtype, derivatives=True, most_bytes=left)
            left -= stored[name].features.nbytes + stored[name].jacobian.nbytes
    except TooLargeError:
        return None
    return stored


def _graph_file(task: Task, name: str) -> Path:
    return task.folder / f"{name}.graph"


def _load_graph(task: Task, name: str) -> AtomicGraph:
    """Mapped into memory, so that members in several processes share one copy."""
    return AtomicGraph(**torch.load(_graph_file(task, name), weights_only=True, mmap=True))


def for_json(epoch: Epoch) -> dict[str, float | int | None]:
    """The row of a learning curve by name, None where it is NaN: JSON has no NaN."""
    return {key: None if math.isnan(value) else value for key, value in asdict(epoch).items()}


def summaries(seeds: Sequence[int], curves: Sequence[Sequence[Epoch]]) -> list[dict[str, Any]]:
    """What `training.json` says of every member; its weights are those of the best epoch, of which 0 is the start."""
    return [
        {
            "seed": seed,
            "epochs": curve[-1].epoch,
            "best_epoch": min(curve, key=lambda row: row.valid_loss).epoch,
            "curve": [for_json(epoch) for epoch in curve],
        }
        for seed, curve in zip(seeds, curves, strict=True)
    ]
