"""The three things that flow through a potential: the graph, its edges, the prediction."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch_geometric.data import Data


@dataclass(frozen=True)
class Edges:
    """Pairs closer than the cutoff, each seen from its centre: r_ij = r_j + S·cell − r_i."""

    center: Int[Tensor, " edge"]  #: index of atom i; sorted
    neighbor: Int[Tensor, " edge"]  #: index of atom j
    vector: Float[Tensor, "edge 3"]  #: r_ij from centre to neighbour, Å
    distance: Float[Tensor, " edge"]  #: |r_ij|, Å
    n_atoms: int  #: number of atoms, isolated ones included

    def within(self, cutoff: float) -> "Edges":
        """The edges shorter than `cutoff` (Å)."""
        return self.where(self.distance < cutoff)

    def where(self, chosen: Bool[Tensor, " edge"]) -> "Edges":
        """The edges marked in `chosen`."""
        return replace(
            self,
            center=self.center[chosen],
            neighbor=self.neighbor[chosen],
            vector=self.vector[chosen],
            distance=self.distance[chosen],
        )


@dataclass(frozen=True)
class Prediction:
    """What a potential says about a batch of structures. What does not exist is NaN."""

    energy: Float[Tensor, " structure"]  #: V, eV, float64
    forces: Float[Tensor, "atom 3"]  #: −∂V/∂r, eV/Å
    stress: Float[Tensor, "structure 3 3"]  #: (1/volume) ∂V/∂strain, eV/Å³, ASE's sign; NaN without a cell
    atomic_energies: Float[Tensor, " atom"]  #: E_i, eV, float64
    energy_std: Float[Tensor, " structure"]  #: spread of the members' energies, eV
    forces_std: Float[Tensor, "atom 3"]  #: spread of the members' forces, eV/Å


class AtomicGraph(Data):
    """One or more structures as a single disconnected graph: atoms are nodes, pairs within the cutoff are edges.

    A data set, a batch and a molecule are all an `AtomicGraph`; `select` takes structures out, `join` puts graphs together.

    Attributes:
        positions (atom 3): Å.
        species (atom): index into the potential's list of elements.
        owner (atom): the structure an atom belongs to; sorted.
        cell (structure 3 3): rows are the lattice vectors, Å; zero where there is none.
        center, neighbor (edge): the pair i, j; sorted by centre.
        shift (edge 3): S, the periodic image of j in units of the cell.
        n_structures: a plain int, so that nothing has to be read back from a device.
        energy (structure), forces (atom 3), stress (structure 3 3): labels in eV, eV/Å, eV/Å³; NaN where there is none.
        features (atom feature), jacobian (edge 3 feature): a stored descriptor and its derivative (see `nnpx.descriptor.stored`);
            zero features wide where nothing is stored.
    """

    positions: Tensor
    species: Tensor
    owner: Tensor
    cell: Tensor
    center: Tensor
    neighbor: Tensor
    shift: Tensor
    n_structures: int
    energy: Tensor
    forces: Tensor
    stress: Tensor
    features: Tensor
    jacobian: Tensor

    @property
    def n_atoms(self) -> int:
        """Number of atoms in all structures."""
        return int(self.positions.shape[0])

    def edges(self) -> Edges:
        """r_ij = r_j + S·cell − r_i for every pair, differentiable in positions and cell."""
        offset = (self.shift[:, None, :] @ self.cell[self.owner[self.center]])[:, 0, :]
        vector = self.positions[self.neighbor] - self.positions[self.center] + offset
        return Edges(self.center, self.neighbor, vector, torch.linalg.vector_norm(vector, dim=-1), self.n_atoms)

    def atoms_per_structure(self) -> Int[Tensor, " structure"]:
        """Number of atoms of each structure."""
        return torch.bincount(self.owner, minlength=self.n_structures)

    def has_stored_features(self) -> bool:
        """Whether a descriptor was stored with the geometry."""
        return bool(self.features.shape[1] > 0)

    def cast(self, dtype: torch.dtype) -> "AtomicGraph":
        """Geometry, forces and features in `dtype`; the energies stay in float64, from which reference energies are subtracted."""
        changed = {
            key: getattr(self, key).to(dtype)
            for key in ("positions", "cell", "shift", "forces", "stress", "features", "jacobian")
        }
        return self.with_(**changed)

    def with_(self, **changed: Tensor) -> "AtomicGraph":
        """The same graph with some tensors replaced."""
        return AtomicGraph(**{**self.to_dict(), **changed})

    def select(self, structures: Int[Tensor, " chosen"]) -> "AtomicGraph":
        """The chosen structures, in the order given, as a graph of their own."""
        atoms, atom_counts = _ranges(self.owner, structures, self.n_structures)
        edges, edge_counts = _ranges(self.owner[self.center], structures, self.n_structures)
        starts = torch.cumsum(torch.bincount(self.owner, minlength=self.n_structures), 0) - torch.bincount(
            self.owner, minlength=self.n_structures
        )
        move = (torch.cumsum(atom_counts, 0) - atom_counts - starts[structures]).repeat_interleave(edge_counts)
        return AtomicGraph(
            positions=self.positions[atoms],
            species=self.species[atoms],
            owner=torch.arange(len(structures), device=self.owner.device).repeat_interleave(atom_counts),
            cell=self.cell[structures],
            center=self.center[edges] + move,
            neighbor=self.neighbor[edges] + move,
            shift=self.shift[edges],
            n_structures=len(structures),
            energy=self.energy[structures],
            forces=self.forces[atoms],
            stress=self.stress[structures],
            features=self.features[atoms],
            jacobian=self.jacobian[edges],
        )


def join(graphs: list[AtomicGraph]) -> AtomicGraph:
    """Several graphs as one; no edge connects them."""
    atoms = [graph.n_atoms for graph in graphs]
    first_atom = [sum(atoms[:k]) for k in range(len(graphs))]
    structures = [graph.n_structures for graph in graphs]
    first_structure = [sum(structures[:k]) for k in range(len(graphs))]
    joined = {
        key: torch.cat([getattr(graph, key) for graph in graphs])
        for key in ("positions", "species", "cell", "shift", "energy", "forces", "stress", "features", "jacobian")
    }
    return AtomicGraph(
        owner=torch.cat([graph.owner + first for graph, first in zip(graphs, first_structure, strict=True)]),
        center=torch.cat([graph.center + first for graph, first in zip(graphs, first_atom, strict=True)]),
        neighbor=torch.cat([graph.neighbor + first for graph, first in zip(graphs, first_atom, strict=True)]),
        n_structures=sum(structures),
        **joined,
    )


def _ranges(
    owner: Int[Tensor, " row"], structures: Int[Tensor, " chosen"], n_structures: int
) -> tuple[Int[Tensor, " chosen_row"], Int[Tensor, " chosen"]]:
    """Rows that belong to the chosen structures (rows are sorted by structure), and how many each has."""
    counts = torch.bincount(owner, minlength=n_structures)
    starts = torch.cumsum(counts, 0) - counts
    chosen = counts[structures]
    first = torch.cumsum(chosen, 0) - chosen
    rows = torch.arange(int(chosen.sum()), device=owner.device)
    return rows + (starts[structures] - first).repeat_interleave(chosen), chosen
