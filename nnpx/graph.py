"""The three things that flow through a potential: the graph, its edges, the prediction."""

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Final, final

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch_geometric.data import Data

from nnpx.speed import pair_loops


@dataclass(frozen=True)
class Edges:
    """Pairs closer than the cutoff, or all there are, each seen from its centre: r_ij = r_j + S·cell − r_i."""

    center: Int[Tensor, " edge"]  #: index of atom i; sorted
    neighbor: Int[Tensor, " edge"]  #: index of atom j
    shift: Float[Tensor, "edge 3"]  #: S, the periodic image of j in units of the cell
    vector: Float[Tensor, "edge 3"]  #: r_ij from centre to neighbour, Å
    distance: Float[Tensor, " edge"]  #: |r_ij|, Å
    n_atoms: int  #: number of atoms, isolated ones included
    complete: bool = False  #: whether all pairs are listed, however far apart: which there are depends on no position
    filled: bool = False  #: whether every centre has equally many, one after the other; see `nnpx.descriptor.density.slots`

    @property
    def slot(self) -> Int[Tensor, " edge"]:
        """The place of every edge among those of its centre, from 0."""
        return torch.arange(len(self.center), device=self.center.device) - torch.searchsorted(self.center, self.center)

    def moved(self, vector: Float[Tensor, "edge 3"]) -> "Edges":
        """The same pairs at other vectors (Å)."""
        return replace(self, vector=vector, distance=torch.linalg.vector_norm(vector, dim=-1))

    def as_variables(self) -> "Edges":
        """The same pairs with vectors that the energy can be differentiated by, also within `torch.no_grad`."""
        with torch.enable_grad():
            return self.moved(self.vector.detach().requires_grad_())

    def near(self, radius: float | Float[Tensor, " edge"]) -> Int[Tensor, " chosen"]:
        """Places of the edges shorter than the radius (Å); of a complete list all, what is farther being zero by its cutoff function."""
        if self.complete:
            return torch.arange(len(self.center), device=self.center.device)
        return (self.distance < radius).nonzero()[:, 0]

    def within(self, radius: float) -> "Edges":
        """The edges shorter than the radius (Å)."""
        near = self.near(radius)
        return self if len(near) == len(self.center) else self.at(near)

    def blocks(self, atoms: int, species: Int[Tensor, " atom"]) -> Iterator["Block"]:
        """So many centres at a time with their edges: what is local can be computed for each block alone, in less memory.

        Args:
            atoms: centres of a block; so many or fewer stay as they are.
            species: of all atoms.
        """
        if self.n_atoms <= atoms:
            yield Block(self, species, self.n_atoms)
            return
        kinds = torch.arange(int(species.max()) + 1, device=species.device)
        first = torch.arange(0, self.n_atoms, atoms, device=species.device)
        bounds = [*torch.searchsorted(self.center, first).tolist(), len(self.center)]
        for block, (begin, end) in enumerate(pairwise(bounds)):
            centers = species[block * atoms : (block + 1) * atoms]
            edges = Edges(
                center=self.center[begin:end] - block * atoms,
                neighbor=species[self.neighbor[begin:end]] + len(centers),
                shift=self.shift[begin:end],
                vector=self.vector[begin:end],
                distance=self.distance[begin:end],
                n_atoms=len(centers) + len(kinds),
                complete=self.complete,
            )
            yield Block(edges, torch.cat([centers, kinds]), len(centers))

    def at(self, places: Int[Tensor, " chosen"]) -> "Edges":
        """The edges at some places."""
        return replace(
            self,
            center=self.center.index_select(0, places),
            neighbor=self.neighbor.index_select(0, places),
            shift=self.shift.index_select(0, places),
            vector=self.vector.index_select(0, places),
            distance=self.distance.index_select(0, places),
        )


@dataclass(frozen=True)
class Block:
    """Centres with their edges. Where they are not all, neighbours are stand-ins: behind them stands an atom without edges per species."""

    edges: Edges  #: numbered within the block
    species: Int[Tensor, " atom"]  #: of the centres, then of the stand-ins
    n_centers: int  #: atoms that are not stand-ins


@dataclass(frozen=True)
class Prediction:
    """What a potential says about a batch of structures. What does not exist is NaN."""

    energy: Float[Tensor, " structure"]  #: V, eV, float64
    forces: Float[Tensor, "atom 3"]  #: −∂V/∂r, eV/Å
    stress: Float[Tensor, "structure 3 3"]  #: (1/volume) ∂V/∂strain, eV/Å³, ASE's sign; NaN without a cell
    atomic_energies: Float[Tensor, " atom"]  #: E_i, eV, float64
    energy_std: Float[Tensor, " structure"]  #: spread of the members' energies, eV
    energy_std_slope: Float[Tensor, "atom 3"]  #: its derivative in the positions before any calibration, eV/Å
    forces_std: Float[Tensor, "atom 3"]  #: spread of the members' forces, eV/Å
    energy_noise: Float[Tensor, " structure"]  #: standard deviation of an energy label around the truth, eV
    forces_noise: Float[Tensor, "atom 3"]  #: standard deviation of a force label around the truth, eV/Å

    @staticmethod
    def joined(parts: Sequence["Prediction"]) -> "Prediction":
        """Those for several batches, one after the other."""
        return Prediction(**{key: torch.cat([getattr(one, key) for one in parts]) for key in Prediction.__dataclass_fields__})

    def detached(self) -> "Prediction":
        """Cut off from the gradients."""
        return self._by(torch.Tensor.detach)

    def cpu(self) -> "Prediction":
        """On the processor."""
        return self._by(torch.Tensor.cpu)

    def _by(self, change: Callable[[Tensor], Tensor]) -> "Prediction":
        return Prediction(**{key: change(getattr(self, key)) for key in Prediction.__dataclass_fields__})


def in_quadrature(one: Float[Tensor, "*label"], other: Float[Tensor, "*label"]) -> Float[Tensor, "*label"]:
    """√(one² + other²) of the standard deviations that exist; NaN where neither does."""
    return torch.where(one.isnan(), other, torch.where(other.isnan(), one, torch.hypot(one, other)))


#: attributes with a row per atom, pair and structure, apart from the indices
PER_ATOM: Final = ("positions", "species", "forces", "features")
PER_EDGE: Final = ("slot", "shift")
PER_STRUCTURE: Final = ("cell", "volume", "energy", "energy_noise", "stress", "row")
#: those that have the precision of the arithmetic
IN_PRECISION: Final = ("positions", "cell", "volume", "shift", "forces", "stress", "features", "jacobian")


@final
class AtomicGraph(Data):  # type: ignore[misc]  # torch-geometric is not typed
    """One or more structures as a single disconnected graph: atoms are nodes, pairs within the cutoff are edges.

    A data set, a batch and a molecule are all an `AtomicGraph`; `select` takes structures out, `join` puts graphs together.

    Attributes:
        positions (atom 3): Å.
        species (atom): index into the potential's list of elements.
        owner (atom): the structure an atom belongs to; sorted.
        atom_start, edge_start (structure + 1): where the atoms and edges of each structure begin, and the total.
        cell (structure 3 3): rows are the lattice vectors, Å; zero where there is none.
        center, neighbor (edge): the pair i, j; sorted by centre.
        slot (edge): the place of a pair among those of its centre, from 0.
        shift (edge 3): S, the periodic image of j in units of the cell.
        volume (structure): Å³; NaN unless the structure is periodic in all three directions.
        periodic: whether any structure has a cell; a plain bool, as n_structures is.
        n_structures: a plain int, so that nothing has to be read back from a device.
        energy (structure), forces (atom 3), stress (structure 3 3): labels in eV, eV/Å, eV/Å³; NaN where there is none.
        energy_noise (structure): error bar of the label of the energy, eV; NaN where none is given.
        features (atom feature): a stored descriptor (see `nnpx.descriptor.stored`); zero features wide where nothing is stored.
        jacobian (row slot 3 kept), row (structure): its derivative in the vectors of each atom's pairs, and where a structure's atoms
            begin in it. Selections share this tensor, which is the large one, instead of copying from it.
        felt (species kept): of which features these are, by the species of the neighbour.
    """

    positions: Tensor
    species: Tensor
    owner: Tensor
    atom_start: Tensor
    edge_start: Tensor
    cell: Tensor
    volume: Tensor
    center: Tensor
    neighbor: Tensor
    slot: Tensor
    shift: Tensor
    n_structures: int
    periodic: bool
    energy: Tensor
    energy_noise: Tensor
    forces: Tensor
    stress: Tensor
    features: Tensor
    jacobian: Tensor
    felt: Tensor
    row: Tensor

    @property
    def n_atoms(self) -> int:
        """Number of atoms in all structures."""
        return int(self.positions.shape[0])

    def edges(self) -> Edges:
        """r_ij = r_j + S·cell − r_i for every pair, differentiable in positions and cell where these ask for gradients."""
        pairs, images = (self.center, self.neighbor), (self.shift, self.cell, self.owner)
        if pair_loops.can_be_used(len(self.center), self.positions, self.cell, self.shift):
            return Edges(*pairs, self.shift, *pair_loops.vectors_of_pairs(self.positions, pairs, images), self.n_atoms)
        vector = self.positions.index_select(0, self.neighbor) - self.positions.index_select(0, self.center)
        if self.periodic and self.n_structures == 1:
            vector = vector + self.shift @ self.cell[0]
        elif self.periodic:
            vector = vector + torch.bmm(self.shift[:, None, :], self.cell.index_select(0, self.owner[self.center]))[:, 0, :]
        return Edges(*pairs, self.shift, vector, torch.linalg.vector_norm(vector, dim=-1), self.n_atoms)

    def atoms_per_structure(self) -> Int[Tensor, " structure"]:
        """Number of atoms of each structure."""
        return self.atom_start.diff()

    def has_stored_features(self) -> bool:
        """Whether a descriptor was stored with the geometry."""
        return bool(self.features.shape[1] > 0)

    def cast(self, dtype: torch.dtype) -> "AtomicGraph":
        """Geometry, forces and features in `dtype`; the energies stay in float64, from which reference energies are subtracted."""
        return self.with_(**{key: getattr(self, key).to(dtype) for key in IN_PRECISION})

    def with_(self, **changed: Tensor | int) -> "AtomicGraph":
        """The same graph with something replaced."""
        changed_graph: AtomicGraph = copy(self).update(changed)  # a tenth of the time of a new one
        return changed_graph

    def batches(self, atoms: int) -> Iterator[Int[Tensor, " chosen"]]:
        """Indices of consecutive structures that together have at most so many atoms, and at least one structure each time."""
        first, taken = 0, 0
        for k, size in enumerate(self.atoms_per_structure().tolist()):
            if taken and taken + size > atoms:
                yield torch.arange(first, k, device=self.owner.device)
                first, taken = k, 0
            taken += size
        yield torch.arange(first, self.n_structures, device=self.owner.device)

    def select(self, structures: Int[Tensor, " chosen"]) -> "AtomicGraph":
        """The chosen structures, in the order given, as a graph of their own."""
        atoms, atom_start = _rows(self.atom_start, structures)
        edges, edge_start = _rows(self.edge_start, structures)
        move = (atom_start[:-1] - self.atom_start[structures]).repeat_interleave(edge_start.diff(), output_size=len(edges))
        per_atom = {key: getattr(self, key).index_select(0, atoms) for key in PER_ATOM}
        per_edge = {key: getattr(self, key).index_select(0, edges) for key in PER_EDGE}
        per_structure = {key: getattr(self, key).index_select(0, structures) for key in PER_STRUCTURE}
        return self.with_(
            owner=torch.arange(len(structures), device=self.owner.device).repeat_interleave(atom_start.diff(), output_size=len(atoms)),
            atom_start=atom_start,
            edge_start=edge_start,
            center=self.center.index_select(0, edges) + move,
            neighbor=self.neighbor.index_select(0, edges) + move,
            n_structures=len(structures),
            **per_atom,
            **per_edge,
            **per_structure,
        )


def join(graphs: list[AtomicGraph]) -> AtomicGraph:
    """Several graphs as one; no edge connects them, and nothing that was stored is kept."""
    atom_start = starts(torch.cat([graph.atom_start.diff() for graph in graphs]))
    edge_start = starts(torch.cat([graph.edge_start.diff() for graph in graphs]))
    atoms_before = [0, *accumulate(graph.n_atoms for graph in graphs[:-1])]
    kept = [key for key in (*PER_ATOM, *PER_EDGE, *PER_STRUCTURE) if key not in ("features", "row")]
    joined = {key: torch.cat([getattr(graph, key) for graph in graphs]) for key in kept}
    joined["features"] = joined["positions"].new_zeros(len(joined["positions"]), 0)
    joined["row"] = atom_start[:-1]
    return AtomicGraph(
        owner=torch.arange(len(atom_start) - 1, device=atom_start.device).repeat_interleave(atom_start.diff()),
        atom_start=atom_start,
        edge_start=edge_start,
        center=torch.cat([graph.center + before for graph, before in zip(graphs, atoms_before, strict=True)]),
        neighbor=torch.cat([graph.neighbor + before for graph, before in zip(graphs, atoms_before, strict=True)]),
        n_structures=sum(graph.n_structures for graph in graphs),
        periodic=any(graph.periodic for graph in graphs),
        jacobian=joined["positions"].new_zeros(len(joined["positions"]), 0, 3, 0),
        felt=joined["species"].new_zeros(0, 0),
        **joined,
    )


def starts(counts: Int[Tensor, " structure"]) -> Int[Tensor, " structure_plus_one"]:
    """0 and the running sums of the counts."""
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def _rows(
    start: Int[Tensor, " structure_plus_one"], structures: Int[Tensor, " chosen"]
) -> tuple[Int[Tensor, " row"], Int[Tensor, " chosen_plus_one"]]:
    """Rows that belong to the chosen structures, and where each of these will begin."""
    counts = start[structures + 1] - start[structures]
    new_start = starts(counts)
    rows = torch.arange(int(new_start[-1]), device=start.device)
    return rows + (start[structures] - new_start[:-1]).repeat_interleave(counts, output_size=len(rows)), new_start
