"""Descriptors that begin with densities into which nothing trained enters: potentials that differ in what they have learned share them."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from nnpx.derivatives import gradients_of
from nnpx.descriptor import Descriptor, Pull, linearised
from nnpx.graph import Edges

#: ∂V_m/∂x of several energies, in each x that the features are functions of
Gradients = tuple[Tensor, ...]


@dataclass(frozen=True)
class Expanded:
    """The densities around every atom, and how energies that depend on them pull at the edges."""

    sums: tuple[Float[Tensor, "_ atom _"], ...]  #: of every density (component, atom, term)
    #: from the gradients of several energies in each (energy, component, atom, term) to those in r_ij (energy, edge, 3); can be
    #: differentiated in the former
    pull: Callable[[Gradients], Tensor]


class ExpandingDescriptor(Descriptor):
    """A descriptor whose features are functions of expanded densities."""

    @abstractmethod
    def expanded(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> Expanded | None:
        """The densities, computed by themselves; None where `forward` is the faster way."""

    @abstractmethod
    def has_loops(self, of_species: Float[Tensor, "species channel"]) -> bool:
        """Whether `expanded` has loops for species with these vectors, and for their precision, where loops are used."""

    @abstractmethod
    def expands_like(self, other: Descriptor) -> bool:
        """Whether what another one has `expanded` is what this one would have; what both have learned may differ."""

    @abstractmethod
    def of_densities(
        self, sums: tuple[Float[Tensor, "_ atom _"], ...], chemistry: Float[Tensor, "atom channel"]
    ) -> Float[Tensor, "atom feature"]:
        """The features of the densities, as autograd differentiates them, in what was learned as well."""

    def trainable(
        self, edges: Edges, chemistry: Float[Tensor, "atom channel"], *, create_graph: bool
    ) -> tuple[Float[Tensor, "atom feature"], Pull]:
        """The same as for any descriptor, but the way from the pairs to the densities and back, into which nothing trained enters."""
        expanded = None if chemistry.requires_grad else self.expanded(edges, chemistry)
        if expanded is None:
            return super().trainable(edges, chemistry, create_graph=create_graph)
        sums = tuple(density.requires_grad_() for density in expanded.sums)
        features = self.of_densities(sums, chemistry)
        return features, lambda slopes: expanded.pull(gradients_of(features, sums, slopes, create_graph=create_graph))

    def linearised(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> tuple[Float[Tensor, "atom feature"], Pull]:
        """The features, and how energies that depend on them pull at the edges."""
        expanded = self.expanded(edges, chemistry)
        if expanded is None:
            return self.linearised_in_operations(edges, chemistry)
        features, gradients = self.linearised_in(expanded.sums, chemistry)
        return features, lambda slopes: expanded.pull(gradients(slopes))

    def linearised_in_operations(
        self, edges: Edges, chemistry: Float[Tensor, "atom channel"]
    ) -> tuple[Float[Tensor, "atom feature"], Pull]:
        """The same in operations of torch, where it is not `expanded`. It may know a cheaper way for several energies."""
        return linearised(lambda variables: self(variables, chemistry), edges)

    def linearised_in(
        self, sums: tuple[Float[Tensor, "_ atom _"], ...], chemistry: Float[Tensor, "atom channel"]
    ) -> tuple[Float[Tensor, "atom feature"], Callable[[Tensor], Gradients]]:
        """The features of the densities, and from ∂V_m/∂G_i (energy, atom, feature) of several energies their gradients in these."""
        variables = tuple(density.detach().requires_grad_() for density in sums)
        with torch.enable_grad():
            features = self.of_densities(variables, chemistry)
        return features.detach(), lambda slopes: gradients_of(features, variables, slopes)
