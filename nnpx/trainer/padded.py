"""Batches whose shapes are the same whichever structures they hold."""

from dataclasses import replace
from typing import Final, NamedTuple, final

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from nnpx.graph import PER_ATOM, PER_STRUCTURE, AtomicGraph, Edges, starts

#: the largest batch is divided into so many parts, and batches are filled up to whole ones: so few shapes there are, and little is wasted
PARTS: Final = 8

#: neighbours that are filled up may be so many times those that there are
MOST_FILLING: Final = 4.0


@final
class Layout(NamedTuple):
    """Which rows of a `PaddedSet` a batch takes, and which structure each belongs to; the last structure fills it up."""

    structures: Int[Tensor, " structure"]
    atoms: Int[Tensor, " atom"]
    owner: Int[Tensor, " atom"]
    atom_start: Int[Tensor, " structure_plus_one"]


@final
class PaddedSet:
    """Labelled structures of which batches are taken that differ in what they hold, and hardly in their shapes.

    A device can repeat an update that it was shown once only with arrays of the same shapes. So every atom has as many neighbours as that
    with the most: those that it lacks are its own images at twice the cutoff radius, where every cutoff function is zero
    (`nnpx.descriptor.density.slots`). And every batch ends with a structure without labels, to which no loss pays attention: its atoms,
    beyond each other's cutoff, fill the batch up to one of few sizes.

    Args:
        graph: the structures, of which one atom at least has a neighbour; with a stored descriptor or without.
        cutoff_radius: of its pairs, Å.
        batch_size: structures of the largest batch.
    """

    def __init__(self, graph: AtomicGraph, *, cutoff_radius: float, batch_size: int) -> None:
        self.n_structures, self._n_atoms, self._n_slots = graph.n_structures, graph.n_atoms, int(graph.slot.max()) + 1
        self._jacobian, self._felt = graph.jacobian, graph.felt
        sizes = graph.atoms_per_structure().cpu()
        self._sizes, self._first = sizes, graph.atom_start.cpu()  # the first atom of each, and of the one that fills up
        largest = int(sizes.sort(descending=True).values[:batch_size].sum())
        self._part = 1 if len(sizes.unique()) == 1 else max(1, largest // PARTS)
        self._per_structure = _structures_of(graph)
        self._per_atom = {key: _with_one_more(getattr(graph, key), torch.nan if key == "forces" else 0) for key in PER_ATOM}
        self._relative, self._image, self._shift = self._slots_of(graph, self._per_structure["cell"], cutoff_radius)

    def _slots_of(
        self, graph: AtomicGraph, cells: Float[Tensor, "structure 3 3"], cutoff_radius: float
    ) -> tuple[Int[Tensor, "atom slot"], Float[Tensor, "atom slot 3"], Float[Tensor, "atom slot 3"]]:
        """How many atoms behind its centre every neighbour is, S, and S or where what fills up is; for each slot of every atom."""
        nowhere = graph.positions.new_full((3,), 2.0 * cutoff_radius / 3.0**0.5).double()
        far = (nowhere @ torch.linalg.inv(cells.double())).to(graph.shift.dtype)  # in units of each cell
        owner = pad(graph.owner, (0, 1), value=graph.n_structures)
        shift = far[owner].repeat_interleave(self._n_slots, dim=0)
        place = graph.center * self._n_slots + graph.slot
        relative = torch.zeros(len(shift), dtype=torch.long, device=place.device).index_copy(0, place, graph.neighbor - graph.center)
        image, shift = (start.index_copy(0, place, graph.shift).view(-1, self._n_slots, 3) for start in (torch.zeros_like(shift), shift))
        return relative.view(-1, self._n_slots), image, shift

    def layout(self, structures: Int[Tensor, " chosen"]) -> Layout:
        """What a batch of these structures is made of; on the processor, where it is found in no time."""
        sizes = self._sizes[structures]
        n_labelled = int(sizes.sum())
        n_atoms = -(-(n_labelled + 1) // self._part) * self._part
        sizes = pad(sizes, (0, 1), value=n_atoms - n_labelled)
        structures, atom_start = pad(structures, (0, 1), value=self.n_structures), starts(sizes)
        owner = torch.arange(len(sizes)).repeat_interleave(sizes)
        atoms = torch.arange(n_atoms) + (self._first[structures] - atom_start[:-1])[owner]
        return Layout(structures, atoms.clamp_max(self._n_atoms), owner, atom_start)

    def batch(self, layout: Layout) -> tuple[AtomicGraph, Edges]:
        """The structures of a layout, which lies on the same device, and their edges: no shape depends on any value."""
        n_atoms, n_slots = len(layout.atoms), self._n_slots
        centers = torch.arange(n_atoms, device=layout.atoms.device)[:, None]
        graph = AtomicGraph(
            owner=layout.owner,
            atom_start=layout.atom_start,
            edge_start=layout.atom_start * n_slots,
            center=centers.expand(-1, n_slots).flatten(),
            neighbor=(centers + self._relative.index_select(0, layout.atoms)).flatten(),
            slot=torch.arange(n_slots, device=centers.device).expand(n_atoms, -1).flatten(),
            shift=self._shift.index_select(0, layout.atoms).flatten(0, 1),
            n_structures=len(layout.structures),
            periodic=True,
            jacobian=self._jacobian,
            felt=self._felt,
            **{key: value.index_select(0, layout.atoms) for key, value in self._per_atom.items()},
            **{key: value.index_select(0, layout.structures) for key, value in self._per_structure.items()},
        )
        edges = graph.edges()
        return graph, replace(edges, shift=self._image.index_select(0, layout.atoms).flatten(0, 1), complete=True, filled=True)


def may_be_padded(graph: AtomicGraph) -> bool:
    """Whether there are neighbours, and not so few atoms with so many that to give all of them as many would be a waste."""
    return len(graph.center) > 0 and graph.n_atoms * (int(graph.slot.max()) + 1) <= MOST_FILLING * len(graph.center)


def _structures_of(graph: AtomicGraph) -> dict[str, Tensor]:
    """What there is of every structure and of one more, which is nowhere labelled; all have a cell, in whose units to say what is far."""
    values = {key: _with_one_more(getattr(graph, key), 0 if key in ("cell", "row") else torch.nan) for key in PER_STRUCTURE}
    is_open, unit = (values["cell"] == 0).flatten(1).all(1), torch.eye(3, dtype=graph.cell.dtype, device=graph.cell.device)
    return {**values, "cell": torch.where(is_open[:, None, None], unit, values["cell"])}


def _with_one_more(values: Tensor, last: int | float) -> Tensor:
    return torch.cat([values, torch.full_like(values[:1], last)])
