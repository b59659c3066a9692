"""Independent potentials."""

from typing import Annotated, Final, final

from annotated_types import Ge

from nnpx.ensemble import Recruitment

#: distance between the seeds of two members, so that ensembles of neighbouring seeds share no member
SEED_STRIDE: Final = 1000


@final
class Deep(Recruitment):
    """Members that differ in initial weights and in the order of the data (Lakshminarayanan et al. 2017, arXiv:1612.01474).

    Args:
        n_members: how many; their spread has a relative error of about 1/√(2 (n − 1)).
        n_processes: members that train at the same time, each in a process of its own; on a GPU they train one after the other.
    """

    def __init__(self, *, n_members: Annotated[int, Ge(2)], n_processes: Annotated[int, Ge(1)]) -> None:
        self.n_members, self.n_processes = n_members, n_processes

    def seeds(self, seed: int) -> list[int]:
        """The experiment's seed, and further ones at a fixed distance."""
        return [seed + SEED_STRIDE * member for member in range(self.n_members)]
