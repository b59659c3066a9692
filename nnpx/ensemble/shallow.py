"""One trunk with many heads."""

from typing import Annotated, final

from annotated_types import Ge

from nnpx.ensemble import Recruitment


@final
class Shallow(Recruitment):
    """One potential whose network has several last layers, which start from different weights: an ensemble for the price of one.

        E_im = w_m · h(G_i) + b_m,   V = ⟨V_m⟩,   σ_V² = Σ_m (V_m − V)² / (M − 1)

    Direct propagation of shallow ensembles, Kellner & Ceriotti 2024, doi:10.1088/2632-2153/ad594a. All heads h share, so nothing but the
    loss keeps them apart: train with `loss=nll` or `loss=crps`, which fit their spread to the errors. With a loss that knows the mean
    only, the spread would stay an accident of the initial weights, so that it is refused.

    Args:
        n_heads: M.
    """

    def __init__(self, *, n_heads: Annotated[int, Ge(2)]) -> None:
        self.n_processes, self.n_heads = 1, n_heads

    def seeds(self, seed: int) -> list[int]:
        """The experiment's own seed, from which all heads are drawn."""
        return [seed]
