"""No calibration."""

from typing import final

from nnpx.uncertainty import Curve, Samples, Uncertainty


@final
class Uncalibrated(Uncertainty):
    """The spread of the members as it is, every component of a force with its own."""

    def curve(self, error: Samples, spread: Samples, noise: Samples) -> Curve | None:
        """None."""
        return None
