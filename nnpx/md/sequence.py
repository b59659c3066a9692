"""Several trajectories in one simulation."""

from typing import final

from nnpx.md import Dynamics, Simulation


@final
class NVEAndLangevin(Simulation):
    """Two questions to one potential: does it conserve energy (`nve`), and does it sample the right structures (`langevin`)?

    Args:
        structure: file whose first structure starts both; None for the first structure of the test set.
        nve: the trajectory whose total energy must not drift.
        langevin: the trajectory whose bond lengths and angles are compared.
    """

    def __init__(self, *, structure: str | None, nve: Dynamics, langevin: Dynamics) -> None:
        self.structure = structure
        self.nve = nve
        self.langevin = langevin

    def runs(self) -> dict[str, Dynamics]:
        """First the drift, then the distributions."""
        return {"nve": self.nve, "langevin": self.langevin}
