"""The negative log likelihood of the labels."""

from typing import final

from jaxtyping import Float
from torch import Tensor

from nnpx.loss.scores import Scores


@final
class NLL(Scores):
    """How improbable the labels are, if they are normally distributed around the prediction with the predicted width.

        S = ½ [ e²/σ² + ln σ² ]                 Nix & Weigend 1994, doi:10.1109/ICNN.1994.374138

    For a given error it is least at σ = |e|: too narrow is as wrong as too wide. It is negative where errors are smaller than F_rms. With
    the spread of a shallow ensemble as σ it is the loss of Kellner & Ceriotti 2024, doi:10.1088/2632-2153/ad594a.
    """

    changes_at = ()

    def score(self, error: Float[Tensor, "*label"], variance: Float[Tensor, "*label"]) -> Float[Tensor, "*label"]:
        """½ [e²/σ² + ln σ²]."""
        return 0.5 * (error.square() / variance + variance.log())
