"""The negative log likelihood of the labels."""

from typing import Annotated, final

from annotated_types import Ge, Gt
from jaxtyping import Float
from torch import Tensor

from nnpx.loss.scores import Scores
from nnpx.wiring import Wired


@final
class NLL(Scores):
    """How improbable the labels are, if they are normally distributed around the prediction with the predicted width.

        S = ½ [ e²/σ² + ln σ² ]                 Nix & Weigend 1994, doi:10.1109/ICNN.1994.374138

    For a given error it is least at σ = |e|: too narrow is as wrong as too wide. It is negative where errors are smaller than F_rms. With
    the spread of a shallow ensemble as σ it is the loss of Kellner & Ceriotti 2024, doi:10.1088/2632-2153/ad594a.

    Args:
        forces_rms: see `Scores`.
        knows_energy_std: see `Scores`.
        knows_forces_std: see `Scores`.
        energy_weight: see `Scores`.
        forces_weight: see `Scores`.
        smallest: see `Scores`.
    """

    def __init__(
        self,
        *,
        forces_rms: Wired[float],
        knows_energy_std: Wired[bool],
        knows_forces_std: Wired[bool],
        energy_weight: Annotated[float, Ge(0)],
        forces_weight: Annotated[float, Ge(0)],
        smallest: Annotated[float, Gt(0)],
    ) -> None:
        super().__init__(
            forces_rms=forces_rms,
            knows_energy_std=knows_energy_std,
            knows_forces_std=knows_forces_std,
            energy_weight=energy_weight,
            forces_weight=forces_weight,
            smallest=smallest,
        )

    def score(self, error: Float[Tensor, "*label"], variance: Float[Tensor, "*label"]) -> Float[Tensor, "*label"]:
        """½ [e²/σ² + ln σ²]."""
        return 0.5 * (error.square() / variance + variance.log())
