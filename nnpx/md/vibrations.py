"""At which frequencies the atoms move: the spectrum of their velocities."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float
from scipy.constants import speed_of_light
from scipy.signal.windows import hann

from nnpx.md.momenta import THINNEST, angular_velocity
from nnpx.md.observables import Estimate, standard_error
from nnpx.md.trajectory import Trajectory

#: blocks into which a trajectory is cut; their scatter is the error
_BLOCKS: Final = 5
#: fewer samples in a block than this resolve nothing
_FEWEST: Final = 16
#: a molecule whose atoms are as close to its axis (root mean square over atoms and time, Å) is linear: it bends, but does not turn about it
_CLOSE_TO_AXIS: Final = 0.3
#: the moment of inertia about that axis is less than this × the others
_THIN: Final = 0.5
#: one THz as a wave number, cm⁻¹
PER_CM: Final[float] = 1e12 / (100.0 * speed_of_light)


@dataclass(frozen=True)
class Spectrum:
    """The density of states of the atoms' motion against one another; its integral is 1."""

    frequency: Float[np.ndarray, " frequency"]  #: THz, up to half of the rate of the samples
    density: Float[np.ndarray, " frequency"]  #: 1/THz
    error: Float[np.ndarray, " frequency"]  #: standard error, from the scatter of blocks
    peak_per_cm: Estimate  #: where the density is highest but for zero, as a wave number, cm⁻¹; NaN where nothing moves

    @property
    def frequency_per_cm(self) -> Float[np.ndarray, " frequency"]:
        """As wave numbers, cm⁻¹."""
        return self.frequency * PER_CM

    @property
    def resolution_per_cm(self) -> float:
        """Two lines that are closer are one, cm⁻¹: 2/τ, with the length τ of a block."""
        return 2.0 * float(self.frequency_per_cm[1])


def spectrum(trajectory: Trajectory) -> Spectrum | None:
    """Fourier transform of the velocity autocorrelation, weighted by mass; None where the trajectory is too short or nothing can vibrate.

        D(ν) ∝ Σ_a m_a |∫ u_a(t) w(t) exp(−2πiνt) dt|²

    which is by Wiener and Khinchin the transform of Σ m ⟨u(0) u(t)⟩. In blocks of a fifth of the trajectory, each with the window w of
    von Hann, whose length τ limits the resolution to 2/τ. A motion faster than half the rate of the samples appears at another frequency:
    a C–H or O–H bond wants a sample every 4 fs. Velocity Verlet itself shifts a frequency by a share of (2πνΔt)²/24. The velocities u
    are those of `internal_velocities`, in directions that do not turn with a molecule: its rotation widens every line.
    """
    length = len(trajectory.velocities) // _BLOCKS
    if length < _FEWEST or len(trajectory.start) == 1:
        return None
    interval = float(trajectory.time_ps[1] - trajectory.time_ps[0])
    moved = internal_velocities(trajectory)[: _BLOCKS * length].reshape(_BLOCKS, length, -1)
    weights = np.repeat(trajectory.start.get_masses(), 3)
    frequency = np.fft.rfftfreq(length, interval)
    power = np.abs(np.fft.rfft(moved * hann(length, sym=False)[:, None], axis=1)) ** 2 @ weights
    total = power.mean(0).sum() * (frequency[1] - frequency[0])
    blocks = power / total if total else power
    return Spectrum(frequency, blocks.mean(0), standard_error(blocks), _peak(frequency * PER_CM, blocks))


def _peak(frequency: Float[np.ndarray, " frequency"], blocks: Float[np.ndarray, "block frequency"]) -> Estimate:
    """Where the mean of n blocks is highest but for zero.

        σ² = s²/√n + 1/(12 τ²)

    with the scatter s of the highest frequencies of the blocks, and what is rounded away on a grid of 1/τ, which is all there is of a sharp
    line. Of a band, noise ∝ n^(−1/2) decides between frequencies whose densities differ by as little, and which on a parabola lie
    ∝ n^(−1/4) away from its top; so the error of the highest does not fall as that of a mean.
    """
    if not blocks.any():
        return Estimate(float("nan"), float("nan"))
    highest = frequency[1:][np.argmax(blocks[:, 1:], axis=1)]
    error = np.hypot(highest.std(ddof=1) * len(blocks) ** -0.25, frequency[1] / np.sqrt(12.0))
    return Estimate(float(frequency[1:][np.argmax(blocks.mean(0)[1:])]), float(error))


def internal_velocities(trajectory: Trajectory) -> Float[np.ndarray, "sample atom 3"]:
    """Velocities without the motion of the whole, which noise sets going: u = v − v_c and, without a cell, − ω × r.

    v_c is the velocity of the centre of mass and ω = I⁻¹ L the angular velocity about it, both at every sample. A
    linear molecule does not turn about its axis: what looks like it is two bending vibrations together.
    """
    masses = trajectory.start.get_masses()
    velocities = _from_centre(trajectory.velocities, masses)
    if trajectory.start.pbc.any():
        return velocities
    arms = _from_centre(trajectory.positions, masses)
    across = np.linalg.svd(arms, compute_uv=False)[:, 1:]
    is_linear = np.sqrt((across**2).sum(1).mean() / len(masses)) < _CLOSE_TO_AXIS
    thinnest = _THIN if is_linear else THINNEST
    turning = angular_velocity(arms, velocities * masses[:, None], masses, thinnest=thinnest)
    return velocities - np.cross(turning[:, None], arms)


def _from_centre(vectors: Float[np.ndarray, "sample atom 3"], masses: Float[np.ndarray, " atom"]) -> Float[np.ndarray, "sample atom 3"]:
    """Seen from their mean, weighted by mass."""
    return vectors - np.average(vectors, axis=1, weights=masses, keepdims=True)
