"""The closed loop: what it is made of, beside the experiment that it serves."""

from typing import Annotated, final

from annotated_types import Ge, Gt

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
        label_check: what a label has to satisfy.
        timeout_s: s; a calculation with the reference engine that takes longer is given up.
        retrain_epochs: passes over the data in a round, starting from the potential before; null trains every potential from random
            weights, for as many epochs as the trainer says.
        stopping: when it is enough.
    """

    def __init__(
        self,
        *,
        walkers: Walkers,
        n_drawn: Annotated[int, Ge(1)],
        label_check: LabelCheck,
        timeout_s: Annotated[float, Gt(0)],
        retrain_epochs: Annotated[int, Ge(1)] | None,
        stopping: Stopping,
    ) -> None:
        self.walkers, self.n_drawn, self.label_check, self.timeout_s = walkers, n_drawn, label_check, timeout_s
        self.retrain_epochs, self.stopping = retrain_epochs, stopping
