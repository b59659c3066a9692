"""Symmetry functions: sums over one and over two neighbours, resolved by channel."""

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nnpx.cutoff import Cutoff
from nnpx.derivatives import forward_derivative, gradients_of
from nnpx.descriptor import Descriptor, Pull
from nnpx.descriptor.density import slots, sum_of_outer_products
from nnpx.descriptor.expanding import Expanded, Gradients
from nnpx.descriptor.harmonics import Harmonics
from nnpx.descriptor.listed_triplets import ListedTriplets, are_apart
from nnpx.descriptor.neighbor_sums import NeighborSums, side_by_side
from nnpx.descriptor.tabulated import in_float64
from nnpx.descriptor.triplet_sums import ForLoops, TripletFunctions, TripletTables, triplet_jacobian, triplet_sums
from nnpx.descriptor.triplets import sum_by_channel
from nnpx.graph import Edges
from nnpx.radial import Radial
from nnpx.speed.compiled import may_use_loops
from nnpx.speed.eights import EIGHT


class SymmetryFunctions(ListedTriplets):
    """One radial block per channel and one angular block per pair of channels of the neighbours.

        radial_i  = Σ_j     e_j^q shells(r_ij)
        angular_i = Σ_{j<k} (e_j^p e_k^q + e_j^q e_k^p) left ⊗ right (r_ij, r_ik, r_ij·r_ik),   p < q;  e_j^p e_k^p for p = q

    A subclass says what the two factors of an angular function are. Where every species vector has one channel only, as with `onehot`, both
    sums are loops that read their functions from tables (`nnpx.descriptor.triplet_sums`). As operations of torch the sum of outer products
    over the triplets is one of small matrix products: a function of its own for every combination costs nothing per triplet.

    Args:
        n_channels: length of the species vector.
        pairs: p and q of every pair of channels that has angular functions, p ≤ q, in the order of the upper triangle.
        angular_radius: radius within which angles are resolved, Å.
        radial: φ_n; a shell is φ_n f_c times `radial_factor`.
        cutoff: f_c; the same function with `angular_radius` in place of its radius is `angular_cutoff`.
        third_side: whether a triplet counts only where j and k are within the angular radius of each other, too.
        shape: how many left and right factors there are.
        combinations: those of a left and a right factor that are functions, numbered left · right.
        columns: which of the functions of all channels and pairs are features; None for all.

    Raises:
        ConfigError: `angular_radius` is larger than the cutoff.
    """

    combinations: Tensor
    columns: Tensor
    order: Tensor
    radial_factor: float = 1.0
    most_complete_without_loops = 24  # of which all triplets are listed

    def __init__(
        self,
        *,
        n_channels: int,
        pairs: Int[Tensor, "2 pair"],
        angular_radius: float,
        radial: Radial,
        cutoff: Cutoff,
        third_side: bool,
        shape: tuple[int, int],
        combinations: Int[Tensor, " function"],
        columns: Int[Tensor, " feature"] | None,
    ) -> None:
        super().__init__(n_channels=n_channels, pairs=pairs, angular_radius=angular_radius, cutoff=cutoff, third_side=third_side)
        self.radial = radial
        self.radial_sums, self.triplet_tables = NeighborSums(radial, cutoff, Harmonics(0), factor=self.radial_factor), TripletTables()
        n_radial, n_angular = radial.n_functions * n_channels, pairs.shape[1] * len(combinations)
        columns = torch.arange(n_radial + n_angular) if columns is None else columns
        by_function = torch.arange(n_radial).view(-1, n_channels).T.flatten()
        by_pair = n_radial + torch.arange(pairs.shape[1])[:, None] * math.prod(shape) + combinations
        indices = {
            "combinations": combinations,
            "columns": columns,
            "order": torch.cat([by_function, by_pair.flatten()])[columns],
        }
        for name, values in indices.items():
            self.register_buffer(name, values.clone(), persistent=False)
        self.shape, self.n_features = shape, len(columns)
        self.every_combination, self.every_column = len(combinations) == math.prod(shape), len(columns) == n_radial + n_angular

    @abstractmethod
    def of_triplets(self) -> TripletFunctions:
        """What two neighbours add, as functions of one argument each."""

    @final
    def memory_per_atom(self, n_neighbors: float, *, derivatives: bool) -> float:
        """Derivatives are found of all combinations of a left and a right factor, these in eights, though few may be chosen."""
        n_left, n_right = self.shape
        others = max(0, len(self.channel_p) * n_left * (n_right + -n_right % EIGHT) - self.n_features)
        return super().memory_per_atom(n_neighbors, derivatives=derivatives) + 4.0 * derivatives * n_neighbors * others

    def shells(self, distance: Float[Tensor, " edge"]) -> Float[Tensor, "edge radial"]:
        """What one neighbour adds: φ_n(r) f_c(r) times `radial_factor`."""
        shells: Tensor = self.radial(distance) * (self.radial_factor * self.cutoff(distance))[:, None]
        return shells

    @final  # type: ignore[misc]  # for torch `forward` is an attribute
    def forward(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> Float[Tensor, "atom feature"]:
        """The radial functions of every channel, then the angular ones of every pair of channels."""
        inside = slots(edges, self.cutoff.radius)
        terms = self.terms(inside, chemistry)
        return self._joined(inside, chemistry, terms.sums(), terms.n_combinations)

    @final
    def expanded(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> Expanded | None:
        """The sums over one and over two neighbours in loops, on a processor, where every species vector has one channel only."""
        if (known := self._for_loops(edges, chemistry)) is None:
            return None
        return side_by_side(self.radial_sums.expanded(edges, chemistry.index_select(0, edges.neighbor)), triplet_sums(*known))

    def _for_loops(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> ForLoops | None:
        """What loops over triplets are given; None where they are not used."""
        if not may_use_loops() or edges.vector.device.type != "cpu" or (tables := self._tables(chemistry)) is None:
            return None
        kind, weight = (of_atoms.index_select(0, edges.neighbor) for of_atoms in (chemistry.abs().argmax(1), chemistry.sum(1)))
        return edges, kind, weight, [*tables, self.places], self.shape

    def _tables(self, chemistry: Float[Tensor, "_ channel"]) -> list[Tensor] | None:
        """What loops need for these vectors; None where they cannot be used."""
        if not are_apart(chemistry) or self.radial_sums.basis(chemistry.dtype) is None:
            return None
        return self.triplet_tables.of(self, lambda copy: copy.of_triplets(), self.angular_cutoff.radius, chemistry.dtype)

    @final
    def has_loops(self, of_species: Float[Tensor, "species channel"]) -> bool:
        """Where every vector has one channel only, unless radial functions are trained or something is not smooth enough for a table."""
        return self._tables(of_species) is not None

    @final
    def of_densities(
        self, sums: tuple[Float[Tensor, "_ atom _"], ...], chemistry: Float[Tensor, "atom channel"]
    ) -> Float[Tensor, "atom feature"]:
        """The sums, as they stand among the features."""
        return torch.cat(sums, 2)[0].index_select(1, self.order)

    @final
    def linearised_in(
        self, sums: tuple[Float[Tensor, "_ atom _"], ...], chemistry: Float[Tensor, "atom channel"]
    ) -> tuple[Float[Tensor, "atom feature"], Callable[[Tensor], Gradients]]:
        """The same, and back."""
        sizes = [density.shape[2] for density in sums]

        def gradients(slopes: Float[Tensor, "energy atom feature"]) -> Gradients:
            back = slopes.new_zeros(*slopes.shape[:2], sum(sizes)).index_copy(2, self.order, slopes)
            return tuple(back[:, None].split(sizes, 3))

        return self.of_densities(sums, chemistry), gradients

    @final
    def expands_like(self, other: Descriptor) -> bool:
        """Whether the functions are the same, which their names do not tell: η of an `AEV` and the radii are in none."""
        if type(other) is not type(self) or other.names() != self.names() or other.angular_cutoff.radius != self.angular_cutoff.radius:
            return False
        own, others = in_float64(self).of_triplets(), in_float64(other).of_triplets()
        return self.radial_sums.equals(other.radial_sums) and own.equals(others, self.angular_cutoff.radius)

    @final
    def linearised_in_operations(
        self, edges: Edges, chemistry: Float[Tensor, "atom channel"]
    ) -> tuple[Float[Tensor, "atom feature"], Pull]:
        """The features, and how energies that depend on them pull at the edges.

        Most of the work is in the triplets. One energy is followed back through them by a backward pass; for several it is cheaper to find
        once how their factors move with the sides, which does not depend on the energy, and to multiply with that.
        """
        variables = edges.as_variables()
        with torch.enable_grad():
            terms = self.terms(variables, chemistry)
            sums = terms.sums()
            given = sums.detach().requires_grad_()
            features = self._joined(slots(variables, self.cutoff.radius), chemistry, given, terms.n_combinations)

        def pull(slopes: Float[Tensor, "energy atom feature"]) -> Float[Tensor, "energy edge 3"]:
            of_pairs, by_sums = gradients_of(features, (variables.vector, given), slopes)
            if len(slopes) == 1:
                return of_pairs + gradients_of(sums, (variables.vector,), by_sums)[0]
            return of_pairs + self.pull_of_triplets(by_sums, edges, terms)

        return features.detach(), pull

    def _joined(
        self, inside: Edges, chemistry: Float[Tensor, "atom channel"], sums: Float[Tensor, "owner left right"], n_combinations: int
    ) -> Float[Tensor, "atom feature"]:
        """The features, from the slots and from the sums over triplets."""
        radial = sum_of_outer_products(chemistry.index_select(0, inside.neighbor), self.shells(inside.distance), inside.n_atoms)
        angular = self._of_functions(sums.reshape(inside.n_atoms, len(self.channel_p), n_combinations))
        return self._of_features(torch.cat([radial.flatten(1), angular.flatten(1)], dim=-1))

    def _of_functions(self, grid: Float[Tensor, "*row combination"]) -> Float[Tensor, "*row function"]:
        """From all combinations of left and right factors those that are functions."""
        return grid if self.every_combination else grid.index_select(-1, self.combinations)

    def _of_features(self, functions: Float[Tensor, "*row all"]) -> Float[Tensor, "*row feature"]:
        """From the functions of all channels and pairs those that are features."""
        return functions if self.every_column else functions.index_select(-1, self.columns)

    @final
    def jacobian(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> Float[Tensor, "edge 3 feature"]:
        """∂G_i/∂r_ij of every edge: shells are differentiated forward, triplets in loops where these are to be had."""
        n_edges = len(edges.center)
        unit = edges.vector / edges.distance[:, None]
        slope = forward_derivative(self.shells, edges.distance, torch.ones_like(edges.distance))[1]
        own = torch.arange(n_edges, device=edges.center.device)
        radial = sum_by_channel(slope[:, None, :] * unit[:, :, None], chemistry.index_select(0, edges.neighbor), own, n_edges)
        known = self._for_loops(edges, chemistry)
        angular = triplet_jacobian(*known) if known else self.angular_jacobian(edges, chemistry)
        functions = self._of_functions(angular.flatten(3))
        return self._of_features(torch.cat([radial.transpose(1, 2).flatten(2), functions.flatten(2)], dim=-1))
