"""Small potentials and labelled structures for tests of training, ensembles and files."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator

from nnpx.assembly import build_parts
from nnpx.descriptor import pulls
from nnpx.descriptor.invariants import Invariants
from nnpx.descriptor.neighbor_sums import NeighborSums
from nnpx.descriptor.stored import store
from nnpx.graph import AtomicGraph
from nnpx.neighbors import graph_from_list
from nnpx.potential import Potential
from nnpx.statistics import measure_scales

NUMBERS = [1, 6, 8]
CUTOFF = 4.0

CONFIG = {
    "cutoff": {"_target_": "nnpx.cutoff.polynomial.Polynomial", "radius": CUTOFF, "power": 6},
    "radial": {"_target_": "nnpx.radial.bessel.Bessel", "n_functions": 4, "smoothness": 1.0},
    "species_embedding": {"_target_": "nnpx.species_embedding.onehot.OneHot"},
    "descriptor": {
        "_target_": "nnpx.descriptor.acsf.ACSF",
        "angular_radius": 3.5,
        "kind": "wide",
        "angular": {
            "_target_": "nnpx.descriptor.angular.ShiftedGrid",
            "r_min": 0.8,
            "n_shells": 2,
            "zetas": [1.0, 4.0],
            "lambdas": [-1.0, 1.0],
        },
        "functions": None,
    },
    "network": {"_target_": "nnpx.network.per_species.PerSpecies", "hidden": [8, 8], "activation": "tanh", "output_scale": 1.0},
    "prior": {"_target_": "nnpx.prior.zero.Zero"},
    "noise": {"_target_": "nnpx.noise.none.NoNoise"},
    "loss": {
        "_target_": "nnpx.loss.energy_forces.EnergyForces",
        "energy_weight": 0.1,
        "forces_weight": 1.0,
        "stress_weight": 0.1,
        "element_weights": None,
    },
    "optimizer": {
        "_target_": "nnpx.optimizer.adamw.AdamW",
        "learning_rate": 0.01,
        "beta1": 0.9,
        "beta2": 0.99,
        "weight_decay": 1e-6,
        "amsgrad": False,
    },
    "schedule": {"_target_": "nnpx.schedule.warmup_cosine.WarmupCosine", "warmup_steps": 2, "final_fraction": 0.1},
    "trainer": {
        "_target_": "nnpx.trainer.loop.Trainer",
        "accelerator": "cpu",
        "devices": 1,
        "strategy": "auto",
        "precision": "float32",
        "max_epochs": 4,
        "batch_size": 3,
        "validation_atoms": 40,
        "ema_decay": 0.9,
        "gradient_clip": 10.0,
        "patience_epochs": 100,
        "stored_descriptor_MB": 100.0,
        "feature_floor": 1e-3,
    },
}


def ethanols(n: int, seed: int = 0, displacement: float = 0.05) -> list[Atoms]:
    """Displaced ethanol molecules, labelled by springs (1 eV/Å²) between all atoms at the distances of the relaxed molecule."""
    random = np.random.default_rng(seed)
    rest, structures = molecule("CH3CH2OH"), []
    relaxed = rest.get_all_distances()
    for _ in range(n):
        moved = rest.copy()
        moved.positions += displacement * random.normal(size=(len(rest), 3))
        stretch = moved.get_all_distances() - relaxed
        away = -moved.get_all_distances(vector=True) / (moved.get_all_distances() + np.eye(len(rest)))[:, :, None]
        moved.calc = SinglePointCalculator(moved, energy=float((stretch**2).sum()) / 4 - 100.0, forces=-(stretch[:, :, None] * away).sum(1))
        structures.append(moved)
    return structures


def carbons(n: int, seed: int = 0) -> list[Atoms]:
    """Strained and displaced fcc cells of "carbon", labelled by a Lennard-Jones potential, with stress."""
    random = np.random.default_rng(seed)
    structures = []
    for _ in range(n):
        cell = bulk("C", "fcc", a=3.6, cubic=True)
        cell.set_cell(cell.cell.array @ (np.eye(3) + 0.03 * random.normal(size=(3, 3))), scale_atoms=True)
        cell.positions += 0.05 * random.normal(size=(len(cell), 3))
        cell.calc = LennardJones(sigma=2.2, epsilon=0.3, rc=CUTOFF, smooth=True)
        results = {name: cell.calc.get_property(name, cell) for name in ("energy", "forces", "stress")}
        cell.calc = SinglePointCalculator(cell, **results)
        structures.append(cell)
    return structures


def graph_of(structures: Sequence[Atoms]) -> AtomicGraph:
    """The structures as one graph in float64."""
    return graph_from_list(structures, numbers=NUMBERS, cutoff=CUTOFF, where="test")


def potential_for(graph: AtomicGraph, seed: int = 0, config: dict | None = None) -> Potential:
    """A potential with random weights and the scales of the graph, in float64."""
    parts = build_parts(config or CONFIG, numbers=NUMBERS, seed=seed)
    with torch.no_grad():
        described = store(graph, parts.descriptor, parts.embedding(graph.species), torch.float64, derivatives=False)
    return parts.potential(measure_scales(described, numbers=NUMBERS, isolated_atoms={}, feature_floor=1e-3))


def stored(graph: AtomicGraph, potential: Potential, dtype: torch.dtype = torch.float64) -> AtomicGraph:
    """The graph with the potential's features and their derivatives."""
    with torch.no_grad():
        chemistry = potential.embedding(graph.species)
    return store(graph, potential.descriptor, chemistry, dtype, derivatives=True).cast(dtype)


def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is computed in another way on a GPU is computed so."""
    monkeypatch.setattr(pulls, "pulls_one_by_one", pulls.pulls_at_once)
    monkeypatch.setattr(pulls, "slopes_one_by_one", pulls.slopes_at_once)
    monkeypatch.setattr(Invariants, "forward", Invariants.as_matrices)
    monkeypatch.setattr(NeighborSums, "expanded", lambda *_: None)
