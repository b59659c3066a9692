"""From structures to graphs: their atoms and pairs of neighbours, checked before anything is computed."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols
from ase.stress import voigt_6_to_full_3x3_stress

from nnpx.errors import DataError, GeometryError, SpeciesError
from nnpx.graph import IN_PRECISION, AtomicGraph
from nnpx.memory import ALWAYS_THERE, free_memory
from nnpx.neighbor_search import pairs_within
from nnpx.speed.threads import in_parts
from nnpx.structures import ERROR_BAR, TOO_CLOSE, checked_cell, refuse_no_elements

#: memory that a pair of neighbours takes, bytes: 48 in the list, which the graph shares or, of several structures, has once more, and about
#: as much in vectors and distances
BYTES_PER_PAIR: Final = 150
#: an open structure of so many atoms is taken for one within the cutoff: to estimate its pairs would take as long as to list them
FEW_ATOMS: Final = 32


def graph_from_atoms(atoms: Atoms, *, numbers: Sequence[int], cutoff: float, where: str, dtype: torch.dtype = torch.float64) -> AtomicGraph:
    """One structure as a graph, with its labels where the structure carries them.

    Args:
        atoms: the structure; labels are read from the results of its calculator and are never computed here, the error bar of the energy
            (eV) from `info["energy_noise"]`.
        numbers: atomic numbers that the potential knows, in the order of its species index.
        cutoff: radius of the neighbour list, Å.
        where: what to call this structure in an error: `structure 12 of water.xyz`.
        dtype: as `AtomicGraph.cast`; pairs are sought in float64.

    Raises:
        SpeciesError: an element is not among `numbers`.
        GeometryError: positions are not finite, two atoms coincide, a periodic cell has no volume or is left-handed, or the pairs would not
            fit into the memory.
        DataError: labels have another shape than the structure.
    """
    return _graph([atoms], [where], numbers, cutoff, dtype)


def graph_from_list(
    structures: Sequence[Atoms], *, numbers: Sequence[int], cutoff: float, where: str, dtype: torch.dtype = torch.float64
) -> AtomicGraph:
    """Many structures as one graph; `where` names their file. Otherwise as `graph_from_atoms`."""
    return _graph(structures, [f"structure {k} of {where}" for k in range(len(structures))], numbers, cutoff, dtype)


def _graph(structures: Sequence[Atoms], names: Sequence[str], numbers: Sequence[int], cutoff: float, dtype: torch.dtype) -> AtomicGraph:
    """All structures put together at once: to join the graphs of many small ones would take several times as long as their lists."""
    named = list(zip(structures, names, strict=True))
    species = [species_index(atoms, numbers=numbers, where=name) for atoms, name in named]
    cells = [checked_cell(atoms, where=name) for atoms, name in named]
    _refuse_too_many_pairs(structures, cells, cutoff, names)
    pairs = [_pairs(atoms, cutoff, name) for atoms, name in named]
    center, neighbor, shift = (_joined(part) for part in zip(*pairs, strict=True))
    energies, forces, stresses = zip(*(_labels(atoms, name) for atoms, name in zip(structures, names, strict=True)), strict=True)
    atom_start, edge_start = _starts(species), _starts([centers for centers, _, _ in pairs])
    if len(structures) > 1:
        for index in (center, neighbor):
            index += atom_start[:-1].repeat(np.diff(edge_start))
    arrays = {
        "positions": np.concatenate([atoms.positions for atoms in structures]).astype(float),
        "species": np.concatenate(species),
        "owner": np.arange(len(structures)).repeat(np.diff(atom_start)),
        "atom_start": atom_start,
        "edge_start": edge_start,
        "cell": np.stack(cells),
        "volume": np.array([volume_of(cell, atoms.pbc) for cell, atoms in zip(cells, structures, strict=True)]),
        "center": center,
        "neighbor": neighbor,
        "slot": _slots(center),
        "shift": shift,
        "energy": np.array(energies),
        "energy_noise": np.array([float(atoms.info.get(ERROR_BAR, np.nan)) for atoms in structures]),
        "forces": np.concatenate(forces),
        "stress": np.stack(stresses),
        "features": np.zeros((atom_start[-1], 0)),
        "row": atom_start[:-1].copy(),
        "jacobian": np.zeros((atom_start[-1], 0, 3, 0)),
        "felt": np.zeros((0, 0), dtype=int),
    }
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    tensors |= {name: tensors[name].to(dtype) for name in IN_PRECISION}
    return AtomicGraph(n_structures=len(structures), periodic=any(bool(atoms.pbc.any()) for atoms in structures), **tensors)


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """One after the other; one alone is not copied, unless it lies scattered."""
    return np.concatenate(parts) if len(parts) > 1 else np.ascontiguousarray(parts[0])


def _slots(center: np.ndarray) -> np.ndarray:
    """The place of every pair among those of its centre, from 0."""
    counts = np.bincount(center)
    places: np.ndarray = np.arange(len(center)) - (counts.cumsum() - counts).repeat(counts)
    return places


def _pairs(atoms: Atoms, cutoff: float, where: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pairs i, j, S of a structure, none of them too close."""
    center, neighbor, shift, distance = pairs_within(atoms, cutoff, in_parts=in_parts)
    _refuse_coinciding_atoms(atoms, center, neighbor, distance, where)
    return center, neighbor, shift


def _labels(atoms: Atoms, where: str) -> tuple[float, np.ndarray, np.ndarray]:
    """Energy, forces and stress (as a matrix) that a structure carries, NaN where there is none; no stress unless it is a crystal.

    Raises:
        DataError: forces or stress have another shape.
    """
    known = atoms.calc.results if atoms.calc is not None else {}
    forces = np.array(known.get("forces", np.full((len(atoms), 3), np.nan)), dtype=float)
    stress = np.array(known["stress"] if "stress" in known and atoms.pbc.all() else np.full(6, np.nan), dtype=float)
    for name, found, shapes in (("forces", forces, [(len(atoms), 3)]), ("stress", stress, [(6,), (3, 3)])):
        if found.shape not in shapes:
            expected = f"{name} of shape {' or '.join(map(str, shapes))}"
            raise DataError(where, expected=expected, found=str(found.shape), do="Correct or remove the label.")
    return float(known.get("energy", np.nan)), forces, stress if stress.shape == (3, 3) else voigt_6_to_full_3x3_stress(stress)


def _starts(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Where each part begins when they are put together, and the total."""
    return np.cumsum([0, *(len(part) for part in parts)])


def species_index(atoms: Atoms, *, numbers: Sequence[int], where: str) -> np.ndarray:
    """Index of each atom's element among the elements that the potential knows.

    Raises:
        SpeciesError: an element is not among them, or an atomic number is that of none.
    """
    lookup = np.full(len(chemical_symbols) + 1, -1, dtype=np.int64)  # neither X, the first, nor what is beyond the last is an element
    lookup[list(numbers)] = np.arange(len(numbers))
    species: np.ndarray = lookup.take(atoms.numbers, mode="clip")
    if (species < 0).any():
        refuse_no_elements(atoms, where)
        known = [chemical_symbols[z] for z in numbers]
        unknown = sorted({chemical_symbols[z] for z in atoms.numbers[species < 0]})
        raise SpeciesError(
            where,
            expected=f"elements among {', '.join(known)}",
            found=", ".join(unknown),
            do=f"Retrain on data that contain {', '.join(unknown)}, or remove the structure.",
        )
    return species


def volume_of(cell: np.ndarray, pbc: np.ndarray) -> float:
    """Å³; NaN unless the structure is periodic in all three directions."""
    return float(abs(np.linalg.det(cell))) if pbc.all() else np.nan


def _refuse_too_many_pairs(structures: Sequence[Atoms], cells: Sequence[np.ndarray], cutoff: float, names: Sequence[str]) -> None:
    """All structures together are listed before the first is used, so that their pairs have to be in memory together."""
    pairs = [_n_pairs(atoms, cell, cutoff) for atoms, cell in zip(structures, cells, strict=True)]
    taken = sum(pairs) * BYTES_PER_PAIR
    if taken > ALWAYS_THERE and taken > (free := free_memory()):
        raise GeometryError(
            names[0] if len(names) == 1 else f"{names[0]} and the {len(names) - 1} after it",
            expected=f"neighbours that fit into the memory that is free, {free / 1e9:.1f} GB",
            found=f"about {sum(pairs):.1e} pairs within {cutoff:g} Å, which take {taken / 1e9:.0f} GB",
            do="Lower cutoff.radius, or take fewer or smaller structures.",
        )


def _n_pairs(atoms: Atoms, cell: np.ndarray, cutoff: float) -> float:
    """That of a homogeneous structure, about: an atom sees those of a sphere, of an open structure at most all others."""
    if not atoms.pbc.any() and len(atoms) <= FEW_ATOMS:
        return len(atoms) * (len(atoms) - 1.0)
    frame, extent = cell if atoms.pbc.any() else np.eye(3), np.ones(3)
    if not atoms.pbc.all():
        extent = np.where(atoms.pbc, 1.0, np.ptp(atoms.positions @ np.linalg.inv(frame), axis=0) + 2.0 * TOO_CLOSE)
    density = len(atoms) / (abs(np.linalg.det(frame)) * extent.prod())
    in_sphere = density * 4.0 / 3.0 * np.pi * cutoff**3
    return len(atoms) * float(in_sphere if atoms.pbc.any() else min(len(atoms) - 1.0, in_sphere))


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
