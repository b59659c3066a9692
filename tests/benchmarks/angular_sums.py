"""G5 by pairs of neighbours against G5 through moments: time for features and pulls, by number of neighbours and of elements.

    python angular_sums.py [descriptor.angular.zetas=[1,4] …]        overrides go to both

Microseconds per atom, the best of five turns on one core, the two ways in turn, and the median of the ratios of the turns.
"""

import statistics
import sys
import time

import torch

from nnpx.assembly import Parts, build_parts
from nnpx.config import compose
from nnpx.graph import Edges

WAYS = {"pairs": ["descriptor=acsf", "descriptor.kind=wide", "descriptor.angular.zetas=[1,2,4]"], "moments": ["descriptor=acsf_moments"]}
NEIGHBORS = (4, 8, 10, 15, 20, 30, 45, 60, 90)
ELEMENTS = ([6], [1, 6, 8], [1, 6, 7, 8], [1, 6, 7, 8, 9, 15, 16, 17], list(range(1, 17)))


def environments(n_neighbors: int) -> Edges:
    """Centres with so many neighbours each, at random between 1 and 4.4 Å."""
    generator = torch.Generator().manual_seed(1)
    n_atoms = max(4, 2000 // n_neighbors)
    n_edges = n_atoms * n_neighbors
    unit = torch.nn.functional.normalize(torch.randn(n_edges, 3, generator=generator, dtype=torch.float64))
    distance = 1.0 + 3.4 * torch.rand(n_edges, generator=generator, dtype=torch.float64) ** (1 / 3)
    center = torch.arange(n_atoms).repeat_interleave(n_neighbors)
    neighbor = torch.randint(0, n_atoms, (n_edges,), generator=generator)
    return Edges(center, neighbor, torch.zeros_like(unit), unit * distance[:, None], distance, n_atoms)


def seconds(parts: Parts, edges: Edges) -> float:
    """Processor time of the features and of how one energy pulls at the pairs, as an evaluation has them."""
    chemistry = parts.embedding(torch.arange(edges.n_atoms) % len(parts.numbers)).double().detach()
    started = time.process_time()
    features, pull = parts.descriptor.linearised(edges, chemistry)
    pull(torch.ones(1, *features.shape, dtype=features.dtype))
    return time.process_time() - started


def main() -> None:
    torch.set_num_threads(1)
    for numbers in ELEMENTS:
        ways = {way: build_parts(compose([*chosen, *sys.argv[1:]]), numbers=numbers, seed=0) for way, chosen in WAYS.items()}
        for n_neighbors in NEIGHBORS:
            edges = environments(n_neighbors)
            for parts in ways.values():
                seconds(parts, edges)  # loops are compiled, and tables made
            turns = [{way: seconds(parts, edges) for way, parts in ways.items()} for _ in range(5)]
            best = {way: 1e6 * min(turn[way] for turn in turns) / edges.n_atoms for way in WAYS}
            ratio = statistics.median(turn["moments"] / turn["pairs"] for turn in turns)
            times = ", ".join(f"{way} {t:.0f} µs" for way, t in best.items())
            print(f"{len(numbers)} elements, {n_neighbors} neighbours: {times}, moments over pairs {ratio:.2f}", flush=True)


if __name__ == "__main__":
    main()
