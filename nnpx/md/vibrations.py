"""At which frequencies the atoms move: the spectrum of their velocities."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float
from scipy.constants import speed_of_light
from scipy.signal.windows import hann

from nnpx.md.trajectory import Trajectory

#: blocks into which a trajectory is cut; their scatter is the error
_BLOCKS: Final = 5
#: fewer samples in a block than this resolve nothing
_FEWEST: Final = 16
#: one THz as a wave number, cm⁻¹
PER_CM: Final[float] = 1e12 / (100.0 * speed_of_light)


@dataclass(frozen=True)
class Spectrum:
    """The vibrational density of states of all atoms; its integral is 1."""

    frequency: Float[np.ndarray, " frequency"]  #: THz, up to half of the rate of the samples
    density: Float[np.ndarray, " frequency"]  #: 1/THz
    error: Float[np.ndarray, " frequency"]  #: standard error, from the scatter of blocks

    @property
    def frequency_per_cm(self) -> Float[np.ndarray, " frequency"]:
        """As wave numbers, cm⁻¹."""
        return self.frequency * PER_CM

    @property
    def peak_per_cm(self) -> float:
        """The highest of all frequencies but zero, as a wave number, cm⁻¹."""
        return float(self.frequency_per_cm[1:][np.argmax(self.density[1:])])


def spectrum(trajectory: Trajectory) -> Spectrum | None:
    """Fourier transform of the velocity autocorrelation, weighted by mass; None where the trajectory is too short.

        D(ν) ∝ Σ_a m_a |∫ v_a(t) w(t) exp(−2πiνt) dt|²

    which is by Wiener and Khinchin the transform of Σ m ⟨v(0) v(t)⟩. In blocks of a fifth of the trajectory, each with the window w of
    von Hann, whose length τ limits the resolution to 2/τ. A motion faster than half the rate of the samples appears at another frequency:
    a C–H or O–H bond wants a sample every 4 fs. Velocity Verlet itself shifts a frequency by a share of (2πνΔt)²/24.
    """
    length = len(trajectory.velocities) // _BLOCKS
    if length < _FEWEST:
        return None
    interval = float(trajectory.time_ps[1] - trajectory.time_ps[0])
    moved = trajectory.velocities[: _BLOCKS * length].reshape(_BLOCKS, length, -1)
    weights = np.repeat(trajectory.start.get_masses(), 3)
    frequency = np.fft.rfftfreq(length, interval)
    power = np.abs(np.fft.rfft(moved * hann(length, sym=False)[:, None], axis=1)) ** 2 @ weights
    total = power.mean(0).sum() * (frequency[1] - frequency[0])
    blocks = power / total if total else power
    return Spectrum(frequency, blocks.mean(0), blocks.std(0, ddof=1) / np.sqrt(_BLOCKS))
