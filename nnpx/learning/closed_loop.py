"""The closed loop: what it is made of, beside the experiment that it serves."""

from typing import Annotated, final

from annotated_types import Ge, Gt

from nnpx.errors import ConfigError
from nnpx.learning.label_check import LabelCheck
from nnpx.learning.stopping import Stopping
from nnpx.learning.walkers import Walkers


@final
class ClosedLoop:
    """Rounds of walking, choosing, labelling and training again, until it is enough.

    Zhang et al. 2019 (doi:10.1103/PhysRevMaterials.3.023804) call this a concurrent learning scheme. Walkers go on from where they were
    when the round before ended, with the potential that has learned since.

    Args:
        walkers: molecular dynamics that looks for what the ensemble does not know.
        n_drawn: frames per round that are drawn from the walkers' way at random and labelled: they say how wrong the potential is where it
            is used, and validate the potentials of later rounds.
        n_valid: drawn frames that validate, the newest there are, beside what validated at the start; what is older, to which younger
            potentials led, is trained on. Not less than `n_drawn`.
        label_check: what a label has to satisfy.
        timeout_s: s; a calculation with the reference engine that takes longer is given up.
        retrain_epochs: passes over the data in a round, starting from the potential before; null trains every potential from random
            weights, for as many epochs as the trainer says.
        stopping: when it is enough.

    Raises:
        ConfigError: `n_valid` is less than `n_drawn`.
    """

    def __init__(
        self,
        *,
        walkers: Walkers,
        n_drawn: Annotated[int, Ge(1)],
        n_valid: Annotated[int, Ge(1)],
        label_check: LabelCheck,
        timeout_s: Annotated[float, Gt(0)],
        retrain_epochs: Annotated[int, Ge(1)] | None,
        stopping: Stopping,
    ) -> None:
        if n_valid < n_drawn:
            expected, do = f"at least learning.n_drawn = {n_drawn}", "Raise it, or draw fewer."
            raise ConfigError("learning.n_valid", expected=expected, found=f"{n_valid}", do=do)
        self.walkers, self.n_drawn, self.n_valid, self.label_check, self.timeout_s = walkers, n_drawn, n_valid, label_check, timeout_s
        self.retrain_epochs, self.stopping = retrain_epochs, stopping
