"""A weighted sum of the features."""

from typing import Annotated, final

import torch
from annotated_types import Gt
from jaxtyping import Float, Int
from torch import Tensor, nn

from nnpx.network import Network
from nnpx.network.initial import lecun_normal
from nnpx.wiring import Wired


@final
class Linear(Network):
    """The atomic energy is linear in the features, with coefficients of the centre's element: what body order there is, the descriptor has.

        E_i = b_z + Σ_f w_zf G_if,   z the species of i

    On `descriptor=ace` this is the linear atomic cluster expansion (Drautz 2019, doi:10.1103/PhysRevB.99.014104). The chemistry of the
    centre is not an input, since the choice of the coefficients already says it.

    Args:
        output_scale: factor on the initial coefficients, drawn as LeCun normals.
        n_features: length of the geometry.
        n_species: number of elements.
        n_outputs: numbers per atom.
        generator: source of the initial coefficients.
    """

    def __init__(
        self,
        *,
        output_scale: Annotated[float, Gt(0)],
        n_features: Wired[int],
        n_species: Wired[int],
        n_outputs: Wired[int],
        generator: Wired[torch.Generator],
    ) -> None:
        super().__init__()
        self.weights = nn.Parameter(output_scale * lecun_normal((n_species, n_outputs, n_features), n_features, generator))
        self.biases = nn.Parameter(torch.zeros(n_species, n_outputs, dtype=torch.float64))

    def forward(
        self,
        geometry: Float[Tensor, "atom feature"],
        chemistry: Float[Tensor, "atom channel"],
        species: Int[Tensor, " atom"],
    ) -> Float[Tensor, "atom output"]:
        """E_i from row i alone, by the coefficients of its element."""
        return (geometry[:, None, :] * self.weights.index_select(0, species)).sum(-1) + self.biases.index_select(0, species)

    def last_layer_features(
        self,
        geometry: Float[Tensor, "atom feature"],
        chemistry: Float[Tensor, "atom channel"],
        species: Int[Tensor, " atom"],
    ) -> Float[Tensor, "atom width"]:
        """The features themselves."""
        return geometry
