"""Symmetry functions G5 by whichever way is faster."""

import math
from collections.abc import Callable
from typing import Annotated, Any, Final, final

import torch
from annotated_types import Gt
from jaxtyping import Float
from torch import Tensor

from nnpx.cutoff import Cutoff
from nnpx.descriptor import Descriptor, Pull
from nnpx.descriptor.acsf import ACSF
from nnpx.descriptor.acsf_moments import SHARPEST, AcsfMoments
from nnpx.descriptor.angular import AngularSet
from nnpx.descriptor.expanding import Expanded, ExpandingDescriptor, Gradients
from nnpx.graph import Edges
from nnpx.radial import Radial
from nnpx.wiring import Wired

#: atoms per Å³ of silicon, thin for a condensed phase: so many are expected around an atom, as a descriptor is built before any structure
DENSITY: Final = 0.05


def crossover(sharpest: float, n_channels: int) -> float:
    """Neighbours within the angular radius from which moments are faster than pairs of neighbours: 6 + (2.5 + 1.2 ζ) channels.

    Pairs of neighbours take a time that grows with the square of the neighbours; moments one that grows with the pairs of channels and with
    the largest ζ. The rule is within a third of what was measured with ζ up to 1, 2, 4 and 6 and one to sixteen elements with `onehot`,
    both in loops (tests/benchmarks/angular_sums.py and RESULTS.md). Of vectors that have several numbers for an element, as `learned` has
    them, only moments are computed in loops, and are faster from a few neighbours on.
    """
    return 6 + (2.5 + 1.2 * sharpest) * n_channels


def expected_neighbors(radius: float) -> float:
    """Neighbours within the radius (Å) at `DENSITY`."""
    return 4 / 3 * math.pi * radius**3 * DENSITY


@final
class AcsfWide(ExpandingDescriptor):
    """The symmetry functions G2 and G5 by the way that is expected to be faster: through moments, or by a loop over pairs of neighbours.

    Both give the same numbers to rounding. Moments need whole ζ of at most 6, and are taken where the neighbours that silicon has within
    the angular radius (19 within 4.5 Å, 45 within 6 Å) are at least those of `crossover`: with ζ ≤ 4 there of one element, and of up to 5.
    `remark` says which way was taken and why; `acsf_moments`, or `acsf` with `kind: wide`, takes the other.

    Args:
        cutoff: f_c, applied to radial functions at its own radius.
        radial: φ_n.
        n_channels: length of the species vector.
        angular_radius: radius within which angles are resolved, Å; at most the cutoff's.
        angular: the set of η, r_s, λ, ζ.

    Raises:
        ConfigError: `angular_radius` is larger than the cutoff.
    """

    def __init__(
        self,
        *,
        cutoff: Wired[Cutoff],
        radial: Wired[Radial],
        n_channels: Wired[int],
        angular_radius: Annotated[float, Gt(0)],
        angular: AngularSet,
    ) -> None:
        super().__init__()
        zeta = angular.parameters(angular_radius)[3]
        sharpest, expected = zeta.max().item(), expected_neighbors(angular_radius)
        least = crossover(sharpest, n_channels)
        around: dict[str, Any] = {"cutoff": cutoff, "radial": radial, "n_channels": n_channels, "angular_radius": angular_radius}
        rule = (
            f"which pays from about {least:.0f} neighbours on with {n_channels} channels and ζ ≤ {sharpest:g}; expected are {expected:.0f}"
        )
        possible = torch.equal(zeta, zeta.round()) and sharpest <= SHARPEST
        self.way: AcsfMoments | ACSF
        if possible and expected >= least:
            self.way = AcsfMoments(**around, angular=angular)
            self.remark = f"G5 through moments, {rule} (by pairs: descriptor=acsf descriptor.kind=wide)"
        else:
            self.way = ACSF(**around, angular=angular, kind="wide", functions=None)
            why = f"not through moments, {rule} (descriptor=acsf_moments)" if possible else f"as moments need whole ζ of at most {SHARPEST}"
            self.remark = f"G5 by pairs of neighbours, {why}"
        self.n_features = self.way.n_features

    def forward(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> Float[Tensor, "atom feature"]:
        """G2 of every channel, then G5 of every pair of channels, in ascending order of η, r_s, λ, ζ."""
        features: Tensor = self.way(edges, chemistry)
        return features

    def memory_per_atom(self, n_neighbors: float, *, derivatives: bool) -> float:
        """That of the way that was taken."""
        return self.way.memory_per_atom(n_neighbors, derivatives=derivatives)

    def jacobian(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> Float[Tensor, "edge 3 feature"]:
        """∂G_i/∂r_ij of every edge."""
        return self.way.jacobian(edges, chemistry)

    def expanded(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> Expanded | None:
        """What the way expands."""
        return self.way.expanded(edges, chemistry)

    def has_loops(self, of_species: Float[Tensor, "species channel"]) -> bool:
        """Whether the way has them."""
        return self.way.has_loops(of_species)

    def expands_like(self, other: Descriptor) -> bool:
        """Whether both take the same way."""
        return isinstance(other, AcsfWide) and self.way.expands_like(other.way)

    def of_densities(
        self, sums: tuple[Float[Tensor, "_ atom _"], ...], chemistry: Float[Tensor, "atom channel"]
    ) -> Float[Tensor, "atom feature"]:
        """The features of what the way expanded."""
        return self.way.of_densities(sums, chemistry)

    def linearised_in(
        self, sums: tuple[Float[Tensor, "_ atom _"], ...], chemistry: Float[Tensor, "atom channel"]
    ) -> tuple[Float[Tensor, "atom feature"], Callable[[Tensor], Gradients]]:
        """The same, and back."""
        return self.way.linearised_in(sums, chemistry)

    def linearised_in_operations(
        self, edges: Edges, chemistry: Float[Tensor, "atom channel"]
    ) -> tuple[Float[Tensor, "atom feature"], Pull]:
        """As the way has it."""
        return self.way.linearised_in_operations(edges, chemistry)

    def names(self) -> list[str]:
        """`G2 <radial> channel 0`, `G5 eta=… shift=… lambda=… zeta=… channels 0-1`, in the order of the features."""
        return self.way.names()
