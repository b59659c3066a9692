"""Lennard-Jones: the oldest pair potential, for tests and lessons."""

from importlib.metadata import version
from typing import Annotated, final

from annotated_types import Gt
from ase.calculators.calculator import BaseCalculator
from ase.calculators.lj import LennardJones as Engine

from nnpx.reference import Reference


@final
class LennardJones(Reference):
    """E = Σ_pairs 4ε [(σ/r)¹² − (σ/r)⁶], brought smoothly to zero between the onset and the cutoff.

    Args:
        epsilon: depth ε, eV.
        sigma: distance σ at which a pair's energy crosses zero, Å.
        onset: distance where the smoothing starts, Å.
        cutoff: distance where the energy has become zero, Å.
    """

    def __init__(
        self,
        *,
        epsilon: Annotated[float, Gt(0)],
        sigma: Annotated[float, Gt(0)],
        onset: Annotated[float, Gt(0)],
        cutoff: Annotated[float, Gt(0)],
    ) -> None:
        self.epsilon, self.sigma, self.onset, self.cutoff = epsilon, sigma, onset, cutoff

    @property
    def level_of_theory(self) -> str:
        """Parameters and version."""
        parameters = f"ε = {self.epsilon:g} eV, σ = {self.sigma:g} Å, smoothed from {self.onset:g} to {self.cutoff:g} Å"
        return f"Lennard-Jones ({parameters}; ase {version('ase')})"

    def calculator(self) -> BaseCalculator:
        """ASE's smoothed Lennard-Jones."""
        return Engine(epsilon=self.epsilon, sigma=self.sigma, ro=self.onset, rc=self.cutoff, smooth=True)
