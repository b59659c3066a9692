"""The least time that an evaluation and an update could take on this machine, beside what they take.

    python floor.py            one table, and where the time goes; a few minutes

For every part of the work the operations that its formula needs and the bytes that have to pass the memory are counted, from the sizes and
term lists of the potential as it is built. The floor of a part is the longer of the two times at this machine's peak, those of the parts
are added. Peaks are measured in the same run: single precision in a product of large matrices, bandwidth in a sum of large vectors.

Counted: a multiplication or addition as one operation, an exponential, root or division as `COSTLY`. Bytes: single precision, every array
between two parts written once and read once, and what lasts (pairs, stored derivatives, weights) read wherever it is needed; what one part
makes for itself stays in its cache. Not counted: the search for neighbours, and a padding of whatever kind. One thread.
"""

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from speed import displaced, make_update, potential_for, single
from torch.profiler import ProfilerActivity, profile

from nnpx.descriptor.acsf import ACSF
from nnpx.descriptor.moments import Moments
from nnpx.graph import AtomicGraph
from nnpx.potential import Potential

CASES = {"moments": ["experiment=moments"], "acsf": ["descriptor=acsf"]}
SYSTEMS = ("si512", "water192")
#: operations of an exponential, a root or a division
COSTLY = 10
#: operations for a pair's vector, distance and direction, and for its part of the forces
GEOMETRY = 3 * COSTLY + 20
#: bytes of a pair's centre, neighbour and shift; of its vector, distance and pull, each written and read twice
LIST, PAIR = 28, 2 * 2 * 28
NUMBER = 4
#: times that everything is measured, in turn
ROUNDS = 7


@dataclass(frozen=True)
class Part:
    """What a part of the work needs per atom."""

    operations: float
    bytes: float

    def microseconds(self, peak: "Peak") -> float:
        """The longer of two times."""
        return max(self.operations / peak.operations, self.bytes / peak.bandwidth) * 1e6


@dataclass(frozen=True)
class Peak:
    """Of one core: operations and bytes per second."""

    operations: float
    bandwidth: float


@dataclass(frozen=True)
class Work:
    """What is measured, and what it needs."""

    name: str
    call: Callable[[], None]
    parts: dict[str, Part]
    n_atoms: int


def seconds(work: Callable[[], object]) -> float:
    """Processor time of one call: others use the machine, too."""
    started = time.process_time()
    work()
    return time.process_time() - started


def peak() -> Peak:
    """The best of some calls: others on the machine only slow it."""
    n, long = 1024, 2**25
    left, right, product = torch.randn(n, n), torch.randn(n, n), torch.empty(n, n)
    a, b, c = torch.randn(long), torch.randn(long), torch.empty(long)
    multiply = min(seconds(lambda: torch.mm(left, right, out=product)) for _ in range(10))
    add = min(seconds(lambda: torch.add(a, b, alpha=2.0, out=c)) for _ in range(5))
    return Peak(2 * n**3 / multiply, 3 * NUMBER * long / add)


def network(potential: Potential, *, training: bool) -> Part:
    """Layers, forward and back to the slopes; in training the change of these, and of both ways the gradients of the weights."""
    layers = [one.shape[-2:] for name, one in potential.network.named_parameters() if one.dim() > 1 and "bias" not in name]
    products, widths = sum(2 * a * b for a, b in layers), sum(b for _, b in layers)
    return Part((5 if training else 2) * products + 2 * COSTLY * widths, 4 * NUMBER * (potential.descriptor.n_features + 2 * widths))


def optimizer(potential: Potential, n_atoms: int) -> Part:
    """AdamW: gradient, two means and weight, of which three are written."""
    n_weights = sum(one.numel() for one in potential.parameters()) / n_atoms
    return Part((10 + 2 * COSTLY) * n_weights, 8 * NUMBER * n_weights)


def of_moments(moments: Moments, n_pairs: float, n_channels: int, *, training: bool) -> dict[str, Part]:
    """Densities B of the pairs, A from B by the coefficients of the atom's element, invariants of A, and all ways back."""
    terms, _, n_kinds = moments.invariants._in_loops()
    n_terms = len(terms[1]) + len(terms[3])
    n_components, n_waves = len(moments.density.coefficients) ** 2, moments.expansion.radial.n_functions
    expanded, learned = n_waves * n_channels, moments.n_densities
    basis = 20 * n_waves + 4 * n_components + GEOMETRY  # fifth-degree polynomials with slopes, monomials
    sums, pulls = 2 * n_components * n_waves, 4 * n_components * n_waves
    pairs = 2 * basis + sums + pulls + ((basis + 2 * sums) if training else 0)
    product = 2 * n_components * expanded * learned
    invariants = (3 + 3 + 6) * n_terms + ((3 + 5 + 4 * 3) * n_terms if training else 0)
    between = 4 * NUMBER * n_components
    more = 2 if training else 1
    return {
        "pairs": Part(n_pairs * pairs, n_pairs * (more * LIST + PAIR)),
        "learned densities": Part((5 if training else 2) * product, more * between * (expanded + learned)),
        "invariants": Part(invariants * learned, more * 4 * NUMBER * (n_kinds + 1) * learned),
    }


def of_symmetry_functions(acsf: ACSF, n_pairs: float, n_triplets: float) -> dict[str, Part]:
    """Radial functions, and of every triplet the products of shells and cones, and back; triplets stay in the cache."""
    n_shells, n_cones, n_radial = len(acsf.grid.eta), len(acsf.grid.lam), acsf.radial.n_functions
    factors = GEOMETRY + n_shells * (COSTLY + 5) + 2 * n_cones
    slopes = 3 * 5 * n_shells + 2 * n_cones + 2 * (3 * n_shells + n_cones) + 40
    products = 2 * n_shells * n_cones
    return {
        "pairs": Part(n_pairs * (GEOMETRY + n_radial * (COSTLY + 10)), n_pairs * (LIST + PAIR)),
        "triplets": Part(n_triplets * (factors + slopes + 3 * products), 4 * NUMBER * acsf.n_features),
    }


def of_stored(graph: AtomicGraph) -> dict[str, Part]:
    """Stored derivatives, read for the forces and for what the loss says of these."""
    n = graph.jacobian.numel() / graph.n_atoms
    return {"stored derivatives": Part(2 * 2 * n, 2 * NUMBER * n)}


def parts(name: str, potential: Potential, graph: AtomicGraph, *, training: bool) -> dict[str, Part]:
    """All the work on the graph, by part."""
    descriptor = potential.descriptor
    n_pairs = len(graph.center) / graph.n_atoms
    found = {"network": network(potential, training=training)}
    if training:
        found["optimiser"] = optimizer(potential, graph.n_atoms)
    if isinstance(descriptor, Moments):
        return found | of_moments(descriptor, n_pairs, len(potential.numbers), training=training)
    if not isinstance(descriptor, ACSF):
        raise TypeError(f"{name} is neither moments nor symmetry functions")
    if training:
        return found | of_stored(graph)
    with torch.no_grad():
        three, _ = descriptor.weighted_triplets(graph.edges(), potential.embedding(graph.species).to(graph.positions.dtype))
    return found | of_symmetry_functions(descriptor, n_pairs, len(three.first) / graph.n_atoms)


def where(work: Callable[[], None]) -> str:
    """Which operations of torch take most of the time, by what they are called."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        for _ in range(ROUNDS):
            work()
    spent: Counter[str] = Counter()
    for one in profiled.key_averages():
        # the optimiser calls the update: its own time is that of Python between the operations
        spent["Python" if one.key.startswith("Optimizer") else one.key.rpartition("::")[2]] += one.self_cpu_time_total
    total = sum(spent.values())
    return ", ".join(f"{key} {100 * t / total:.0f} %" for key, t in spent.most_common(6))


def works(name: str, system: str) -> Iterator[Work]:
    """An evaluation and an update."""
    overrides = CASES[name]
    potential, graph = potential_for(displaced(system, 1), overrides)
    needs = parts(name, potential, graph.cast(torch.float32), training=False)
    yield Work(f"{name}, {system}, evaluation", single(system, overrides), needs, graph.n_atoms)
    update, potential, graphs = make_update(1, name != "acsf", overrides, system=system, n_structures=2)
    yield Work(f"{name}, {system}, update", update, parts(name, potential, graphs.select(torch.tensor([0])), training=True), graph.n_atoms)


def main() -> None:
    """Counts, measures, prints."""
    torch.set_num_threads(1)
    rows = [work for name in CASES for system in SYSTEMS for work in works(name, system)]
    for _ in range(3):
        for row in rows:
            row.call()
    peaks, took = [peak()], []
    for _ in range(ROUNDS):
        took.append([seconds(row.call) for row in rows])
        peaks.append(peak())
    best = Peak(max(one.operations for one in peaks), max(one.bandwidth for one in peaks))
    print(f"peak of one core: {best.operations / 1e9:.0f} GFLOP/s, {best.bandwidth / 1e9:.1f} GB/s\n")
    print("| per atom | thousand operations | kB | floor (µs), by part | took (µs) | over the floor | what takes it |")
    print("|---|---|---|---|---|---|---|")
    for row, times in zip(rows, zip(*took, strict=True), strict=True):
        spent = 1e6 * statistics.median(times) / row.n_atoms
        least = {part: need.microseconds(best) for part, need in row.parts.items()}
        floor = sum(least.values())
        operations, moved = (sum(getattr(need, what) for need in row.parts.values()) / 1e3 for what in ("operations", "bytes"))
        by_part = ", ".join(f"{part} {t:.2f}" for part, t in sorted(least.items(), key=lambda one: -one[1]))
        counted = f"{operations:.0f} | {moved:.1f} | **{floor:.2f}**: {by_part} | {spent:.1f} | {spent / floor:.0f}"
        print(f"| {row.name} | {counted} | {where(row.call)} |", flush=True)


if __name__ == "__main__":
    main()
