"""Symmetry functions G5 by whichever way is faster."""

from typing import Annotated, Any, Final, final

import torch
from annotated_types import Gt
from jaxtyping import Float
from torch import Tensor

from nnpx.cutoff import Cutoff
from nnpx.descriptor import Descriptor
from nnpx.descriptor.acsf import ACSF
from nnpx.descriptor.acsf_moments import SHARPEST, AcsfMoments
from nnpx.descriptor.angular import AngularSet
from nnpx.graph import Edges
from nnpx.radial import Radial
from nnpx.wiring import Wired

#: neighbours within the angular radius from which moments are faster, measured up to this ζ (tests/benchmarks/RESULTS.md)
CROSSOVER: Final = 10


@final
class AcsfWide(Descriptor):
    """The symmetry functions G2 and G5: through moments where all ζ are whole and small, by a loop over pairs of neighbours elsewhere.

    Both give the same numbers. On one core they took equally long at 5 neighbours for ζ ≤ 4 and one channel, at 10 for three channels;
    at 60 neighbours and ζ ≤ 4 moments are seven to ten times faster. `remark` says which way was taken.

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
        sharpest = zeta.max().item()
        wired: dict[str, Any] = {"cutoff": cutoff, "radial": radial, "n_channels": n_channels}
        self.way: Descriptor
        if torch.equal(zeta, zeta.round()) and sharpest <= SHARPEST:
            self.way = AcsfMoments(**wired, angular_radius=angular_radius, angular=angular)
            self.remark = (
                f"G5 through moments, faster from about {CROSSOVER} neighbours on (by pairs: descriptor=acsf descriptor.kind=wide)"
            )
        else:
            self.way = ACSF(**wired, angular_radius=angular_radius, angular=angular, kind="wide", functions=None)
            self.remark = f"G5 by pairs of neighbours, since moments need whole ζ of at most {SHARPEST}"
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

    def names(self) -> list[str]:
        """`G2 <radial> channel 0`, `G5 eta=… shift=… lambda=… zeta=… channels 0-1`, in the order of the features."""
        return self.way.names()
