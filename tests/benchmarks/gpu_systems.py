"""What the measurements on a GPU share: systems, and an update of a potential."""

import json
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from speed import displaced, potential_for

from nnpx.assembly import build_parts
from nnpx.config import compose, instantiate
from nnpx.descriptor.stored import store
from nnpx.graph import AtomicGraph
from nnpx.potential import Potential

Record = dict[str, Any]


def tell(record: Record) -> str:
    """Print a finding as a line of JSON, which is returned."""
    rounded = {key: float(f"{value:.5g}") if isinstance(value, float) else value for key, value in record.items()}
    line = json.dumps(rounded, ensure_ascii=False)
    print(line, flush=True)
    return line


def guarded(case: Record, work: Callable[[], Iterator[Record]]) -> Iterator[Record]:
    """The findings of a case under its name; whatever goes wrong in it is one of them, so that the other cases go on."""
    try:
        for found in work():
            yield {**case, **found}
    except Exception:  # noqa: BLE001  # a benchmark without a GPU at hand cannot know what a GPU will say
        yield {**case, "failed": traceback.format_exc()}


def silicon(n: int) -> Atoms:
    """n³ cubic cells, displaced."""
    atoms = bulk("Si", "diamond", a=5.431, cubic=True) * (n, n, n)
    atoms.rattle(0.05, seed=0)
    return atoms


def labelled_silicon() -> list[Atoms]:
    """Three crystals of eight atoms with made-up labels, stress among them."""
    structures = []
    for seed in range(3):
        atoms, random = silicon(1), np.random.default_rng(seed)
        atoms.calc = SinglePointCalculator(
            atoms, energy=-5.0 * len(atoms), forces=random.normal(size=(len(atoms), 3)), stress=0.01 * random.normal(size=6)
        )
        structures.append(atoms)
    return structures


def make_update(batch: int, live: bool, overrides: list[str], device: str) -> tuple[Callable[[], None], Potential, AtomicGraph]:
    """One update on a batch of 64 molecules: selection, energy, forces, loss, gradients, clipping, AdamW, as the peers do."""
    config, structures = compose(["optimizer=adamw", *overrides]), displaced("mol27", 64)
    potential, graph = potential_for(structures, overrides)
    if not live:
        parts = build_parts(config, numbers=potential.numbers, seed=0)
        graph = store(graph, parts.descriptor, parts.embedding(graph.species), torch.float32, derivatives=True)
    graph, potential = graph.cast(torch.float32).to(device), potential.to(device)
    known = {"knows_energy_std": potential.n_heads > 1, "knows_forces_std": potential.n_heads > 1}
    loss = instantiate(config.loss, forces_rms=float(potential.energy_scale), numbers=potential.numbers, **known).to(device)
    weights = list(potential.parameters())
    optimizer = instantiate(config.optimizer).build(weights)

    def step() -> None:
        potential.train()
        some = graph.select(torch.randint(graph.n_structures, (batch,)).to(device))
        optimizer.zero_grad(set_to_none=True)
        loss(potential(some), some, progress=0.0).backward(inputs=weights)
        torch.nn.utils.clip_grad_norm_(weights, 10.0)
        optimizer.step()

    return step, potential, graph
