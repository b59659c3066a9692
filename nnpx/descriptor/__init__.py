"""Descriptors: an atom's environment as a vector that translation, rotation, reflection and permutation cannot change.

Geometry enters a potential here and nowhere else. A descriptor sees the edges within the cutoff and the embedding of every atom; it weights
each neighbour by `chemistry[edges.neighbor]`. Most are local: the features of atom i depend on the edges whose centre is i, and on no
others. A new one is a subclass of `Descriptor`. Several threads may evaluate it at once (`nnpx.speed.threads`): it differentiates forward
with `nnpx.derivatives.forward_derivative`, and what it remembers may be found twice.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nnpx.derivatives import gradients_of
from nnpx.graph import Edges
from nnpx.memory import refuse_beyond_memory

#: pairs of which no descriptor makes much; to estimate it would take longer than it is worth
FEW_PAIRS: Final = 512
#: from ∂V_m/∂G_i (energy, atom, feature) of several energies to ∂V_m/∂r_ij = Σ_f (∂V_m/∂G_if) (∂G_if/∂r_ij) (energy, edge, 3)
Pull = Callable[[Tensor], Tensor]


class Descriptor(nn.Module, ABC):
    """Features of every atom's environment."""

    n_features: int  #: length of the feature vector
    is_local: bool = True  #: whether features depend on the edges of their own centre only
    most_complete: int = 48  #: atoms of a molecule up to which to list all its pairs costs less than to find those within the cutoff
    most_complete_without_loops: int = 48  #: the same for operations of torch
    remark: str = ""  #: what the descriptor decided by itself, as one sentence for the user

    @abstractmethod
    def forward(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> Float[Tensor, "atom feature"]:
        """The feature vector of every atom; zero for an isolated one. Pairs beyond the cutoff may be listed, and add nothing."""

    def trainable(
        self, edges: Edges, chemistry: Float[Tensor, "atom channel"], *, create_graph: bool
    ) -> tuple[Float[Tensor, "atom feature"], Pull]:
        """The features, and how energies that depend on them pull at the edges, whose vectors are variables.

        The features can be differentiated in what is trained, and with `create_graph` so can the pulls, in their slopes as well.
        """
        features = self(edges, chemistry)
        return features, lambda slopes: gradients_of(features, (edges.vector,), slopes, create_graph=create_graph)[0]

    def linearised(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> tuple[Float[Tensor, "atom feature"], Pull]:
        """The features, and how energies that depend on them pull at the edges. It may know a cheaper way for several."""
        return linearised(lambda variables: self(variables, chemistry), edges)

    @abstractmethod
    def jacobian(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> Float[Tensor, "edge 3 feature"]:
        """∂G_i/∂r_ij of every edge i → j: what is stored when the descriptor is fixed (`stored.jacobian_by_slots` does for any)."""

    def memory_per_atom(self, n_neighbors: float, *, derivatives: bool) -> float:
        """About how many numbers are in memory together for an atom with so many neighbours: features, and what pulls follow from.

        A descriptor that makes more of its neighbours than some vectors and radial functions says so; better too little than too much, as
        what does not fit is refused. Numbers have the precision of the edges.

        Args:
            n_neighbors: within the cutoff.
            derivatives: whether its `jacobian` is asked for.
        """
        return 40.0 * n_neighbors + (4.0 + 6.0 * derivatives * n_neighbors) * self.n_features

    @final
    def refuse_beyond_memory(self, edges: Edges, n_atoms: int, *, at_a_time: int | None = None, derivatives: bool = False) -> None:
        """On a processor, where what does not fit may end other programs too: refused before it is begun.

        Args:
            edges: of the atoms.
            n_atoms: how many there are.
            at_a_time: how many of them are evaluated together, if not all.
            derivatives: see `memory_per_atom`.

        Raises:
            OutOfMemoryError: it does not fit.
        """
        if len(edges.center) <= FEW_PAIRS or edges.vector.device.type != "cpu":
            return
        n_neighbors, n_together = len(edges.center) / n_atoms, min(at_a_time or n_atoms, n_atoms)
        numbers = n_together * self.memory_per_atom(n_neighbors, derivatives=derivatives)
        found = f"{self.n_features} features of {n_together} atoms with {n_neighbors:.0f} neighbours each"
        refuse_beyond_memory(numbers * edges.vector.element_size(), "descriptor", expected="features that fit into", found=found)

    @abstractmethod
    def names(self) -> list[str]:
        """One readable name per feature, so that a message can say which symmetry function left its range."""


def linearised(features: Callable[[Edges], Tensor], edges: Edges) -> tuple[Float[Tensor, "atom feature"], Pull]:
    """Features of the edges, and how energies that depend on them pull at the edges: by a backward pass for each energy."""
    variables = edges.as_variables()
    with torch.enable_grad():
        values = features(variables)
    return values.detach(), lambda slopes: gradients_of(values, (variables.vector,), slopes)[0]
