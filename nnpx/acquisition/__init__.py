"""Acquisition: which of the structures that walkers have met are worth a calculation with the reference engine.

    uncertainty of a structure = max_i σ_i,   σ_i the calibrated spread of the ensemble's force on atom i, eV/Å

The contract. An option is an `Acquisition`: a `band` of uncertainty within which a structure is a candidate, and `choose`, which takes a
batch from the candidates. Whatever the rule, the batch has no structure twice, is no larger than asked for, is smaller only where the
candidates run out, and is the same for the same generator. What was chosen before enters through the features of the structures that are
labelled already: two structures close to each other, or close to a labelled one, teach the same thing twice.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, final

import numpy as np
from annotated_types import Ge
from jaxtyping import Float

from nnpx.acquisition.threshold import Threshold


@final
@dataclass(frozen=True)
class Pool:
    """The candidates, and what is labelled already, as points.

    Args:
        last_layer: what the last layer reads of each candidate, summed by element: what the network makes of a structure.
        last_layer_known: the same of the labelled structures.
        descriptor: mean standardised features of each candidate by element: what the structure is, before any network.
        descriptor_known: the same of the labelled structures.
    """

    last_layer: Float[np.ndarray, "candidate weight"]
    last_layer_known: Float[np.ndarray, "known weight"]
    descriptor: Float[np.ndarray, "candidate feature"]
    descriptor_known: Float[np.ndarray, "known feature"]

    @property
    def size(self) -> int:
        """Number of candidates."""
        return len(self.last_layer)


class Acquisition(ABC):
    """A band of uncertainty and a rule to take a batch from it.

    Args:
        n_selected: structures of a batch.
        band: the uncertainties between which a structure is a candidate.
    """

    def __init__(self, *, n_selected: Annotated[int, Ge(1)], band: Threshold) -> None:
        self.n_selected, self.band = n_selected, band

    @abstractmethod
    def choose(self, pool: Pool, random: np.random.Generator) -> list[int]:
        """Up to `n_selected` candidates by their index, each once."""
