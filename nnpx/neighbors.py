"""From structures to graphs: periodic neighbour lists by vesin (doi:10.5281/zenodo.14216108), checked before anything is computed."""

import os
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols
from ase.stress import voigt_6_to_full_3x3_stress
from vesin import NeighborList

from nnpx.errors import GeometryError, SpeciesError
from nnpx.graph import AtomicGraph, join

#: atoms closer than this are taken for a broken structure, Å; no two nuclei in matter come so near
TOO_CLOSE: Final = 0.3
#: `info` key of the error bar of a structure's energy, eV
ERROR_BAR: Final = "energy_noise"
#: memory that a pair of neighbours takes, bytes: 48 in the list as it is found, 48 in the graph, about as much in vectors and distances
BYTES_PER_PAIR: Final = 150


def graph_from_atoms(atoms: Atoms, *, numbers: Sequence[int], cutoff: float, where: str) -> AtomicGraph:
    """One structure as a graph in float64, with its labels where the structure carries them.

    Args:
        atoms: the structure; labels are read from the results of its calculator and are never computed here, the error bar of the energy
            (eV) from `info["energy_noise"]`.
        numbers: atomic numbers that the potential knows, in the order of its species index.
        cutoff: radius of the neighbour list, Å.
        where: what to call this structure in an error: `structure 12 of water.xyz`.

    Raises:
        SpeciesError: an element is not among `numbers`.
        GeometryError: positions are not finite, two atoms coincide, a periodic cell has no volume or is left-handed, or the pairs would not
            fit into the memory.
    """
    species = species_index(atoms, numbers=numbers, where=where)
    cell = checked_cell(atoms, where=where)
    _refuse_too_many_pairs(atoms, cell, cutoff, where)
    center, neighbor, shift, distance = neighbor_list(atoms.positions, cell, atoms.pbc, cutoff)
    _refuse_coinciding_atoms(atoms, center, neighbor, distance, where)
    labels = atoms.calc.results if atoms.calc is not None else {}
    stress = np.asarray(labels.get("stress", np.full(6, np.nan)), dtype=float)
    n_atoms = len(atoms)
    return AtomicGraph(
        positions=torch.from_numpy(np.array(atoms.positions, dtype=float)),
        species=species,
        owner=torch.zeros(n_atoms, dtype=torch.long),
        atom_start=torch.tensor([0, n_atoms]),
        edge_start=torch.tensor([0, len(center)]),
        cell=torch.from_numpy(cell)[None],
        volume=torch.tensor([abs(np.linalg.det(cell)) if atoms.pbc.all() else np.nan], dtype=torch.float64),
        center=torch.from_numpy(center),
        neighbor=torch.from_numpy(neighbor),
        slot=torch.from_numpy(np.arange(len(center)) - np.searchsorted(center, center)),
        shift=torch.from_numpy(shift),
        n_structures=1,
        periodic=bool(atoms.pbc.any()),
        energy=torch.tensor([float(labels.get("energy", np.nan))], dtype=torch.float64),
        energy_noise=torch.tensor([float(atoms.info.get(ERROR_BAR, np.nan))], dtype=torch.float64),
        forces=torch.from_numpy(np.array(labels.get("forces", np.full((n_atoms, 3), np.nan)), dtype=float)),
        stress=torch.from_numpy(voigt_6_to_full_3x3_stress(stress) if stress.shape == (6,) else stress.copy())[None],
        features=torch.zeros(n_atoms, 0, dtype=torch.float64),
        row=torch.zeros(1, dtype=torch.long),
        jacobian=torch.zeros(n_atoms, 0, 0, dtype=torch.float64),
    )


def graph_from_list(structures: Sequence[Atoms], *, numbers: Sequence[int], cutoff: float, where: str) -> AtomicGraph:
    """Many structures as one graph; `where` names their file."""
    return join(
        [graph_from_atoms(atoms, numbers=numbers, cutoff=cutoff, where=f"structure {k} of {where}") for k, atoms in enumerate(structures)]
    )


def neighbor_list(
    positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """All ordered pairs within the cutoff, sorted by centre: i, j, the image S of j in units of the cell, and the distance (Å)."""
    if not pbc.any():  # nothing is farther apart than the corners of a box around all; a search grows with the cube of the radius
        cutoff = min(cutoff, 1.0 + float(np.linalg.norm(np.ptp(positions, axis=0))))
    search = NeighborList(cutoff=cutoff, full_list=True, sorted=True)
    i, j, shift, distance = search.compute(points=positions, box=cell, periodic=pbc, quantities="ijSd")
    return i.astype(np.int64), j.astype(np.int64), shift.astype(float), distance


def species_index(atoms: Atoms, *, numbers: Sequence[int], where: str) -> torch.Tensor:
    """Index of each atom's element among the elements that the potential knows.

    Raises:
        SpeciesError: an element is not among them.
    """
    lookup = np.full(len(chemical_symbols), -1, dtype=np.int64)
    lookup[list(numbers)] = np.arange(len(numbers))
    species = lookup[atoms.numbers]
    if (species < 0).any():
        known = [chemical_symbols[z] for z in numbers]
        unknown = sorted({chemical_symbols[z] for z in atoms.numbers[species < 0]})
        raise SpeciesError(
            where,
            expected=f"elements among {', '.join(known)}",
            found=", ".join(unknown),
            do=f"Retrain on data that contain {', '.join(unknown)}, or remove the structure.",
        )
    return torch.from_numpy(species)


def checked_cell(atoms: Atoms, *, where: str) -> np.ndarray:
    """The cell (rows, Å) where the structure is periodic, completed in the other directions; zero where nothing is periodic.

    Raises:
        GeometryError: positions or cell are not finite, or the cell has no volume or is left-handed.
    """
    if len(atoms) == 0 or not np.isfinite(atoms.positions).all() or not np.isfinite(atoms.cell.array).all():
        found = "no atoms" if len(atoms) == 0 else "NaN or infinity"
        raise GeometryError(where, expected="finite positions and cell", found=found, do="Remove the structure.")
    if not atoms.pbc.any():
        return np.zeros((3, 3))
    periodic_rows = atoms.cell.array[atoms.pbc]
    if np.linalg.matrix_rank(periodic_rows) < len(periodic_rows):
        found = f"pbc {atoms.pbc.tolist()} with cell {atoms.cell.array.round(3).tolist()}, which has no volume"
        raise GeometryError(
            where, expected="independent lattice vectors where pbc is true", found=found, do="Set the cell, or pbc to false."
        )
    cell = atoms.cell.complete().array
    if np.linalg.det(cell) < 0:
        raise GeometryError(
            where,
            expected="a right-handed cell",
            found=f"a left-handed one (determinant {np.linalg.det(cell):.3f} Å³)",
            do="Exchange two lattice vectors; positions and energies stay the same.",
        )
    return np.array(cell, dtype=float)


def _refuse_too_many_pairs(atoms: Atoms, cell: np.ndarray, cutoff: float, where: str) -> None:
    """The number of pairs is that of a homogeneous structure: an atom sees those of a sphere, of an open structure at most all others."""
    frame = cell if atoms.pbc.any() else np.eye(3)
    extent = np.where(atoms.pbc, 1.0, np.ptp(atoms.positions @ np.linalg.inv(frame), axis=0) + 2.0 * TOO_CLOSE)
    density = len(atoms) / (abs(np.linalg.det(frame)) * extent.prod())
    in_sphere = density * 4.0 / 3.0 * np.pi * cutoff**3
    pairs = len(atoms) * (in_sphere if atoms.pbc.any() else min(len(atoms) - 1.0, in_sphere))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if pairs * BYTES_PER_PAIR > memory:
        raise GeometryError(
            where,
            expected=f"neighbours that fit into the memory of {memory / 1e9:.0f} GB",
            found=f"about {pairs:.1e} pairs within {cutoff:g} Å, which take {pairs * BYTES_PER_PAIR / 1e9:.0f} GB",
            do="Lower cutoff.radius, or evaluate a smaller structure.",
        )


def _refuse_coinciding_atoms(atoms: Atoms, center: np.ndarray, neighbor: np.ndarray, distance: np.ndarray, where: str) -> None:
    if len(distance) == 0 or distance.min() >= TOO_CLOSE:
        return
    k = int(distance.argmin())
    i, j = int(center[k]), int(neighbor[k])
    raise GeometryError(
        where,
        expected=f"atoms at least {TOO_CLOSE} Å apart",
        found=f"atoms {i} ({atoms.symbols[i]}) and {j} ({atoms.symbols[j]}) {distance[k]:.3f} Å apart",
        do="Remove or correct the structure.",
    )
