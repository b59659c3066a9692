"""One potential."""

from typing import final

from nnpx.ensemble import Recruitment


@final
class Single(Recruitment):
    """An ensemble of one: no spread, a quarter of the time of four."""

    def __init__(self) -> None:
        self.n_processes = 1

    def seeds(self, seed: int) -> list[int]:
        """The experiment's own seed."""
        return [seed]
