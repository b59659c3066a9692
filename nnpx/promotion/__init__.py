"""Promotion: whether the newest trained potential, the candidate, takes the place of the best one known, the champion.

The contract. An option is a `Rule`: from the measured numbers of both it decides, and says why or why not with these numbers. A rule
never promotes what was not measured, and compares two errors only if they were measured on the same data. It belongs to no experiment:
`nnpx promote` composes it from `conf/promotion/`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    """What is known of a potential.

    Attributes:
        name: how to call it.
        metrics: its latest metrics by name.
        test_data: checksum of the data that its errors were measured on; empty if unknown.
    """

    name: str
    metrics: Mapping[str, float]
    test_data: str


@dataclass(frozen=True)
class Verdict:
    """Whether a rule holds, and the comparison behind each of its conditions."""

    holds: bool
    reasons: list[str]


class Rule(ABC):
    """When a candidate becomes the champion."""

    @abstractmethod
    def judge(self, candidate: Measured, champion: Measured | None) -> Verdict:
        """The verdict; without a champion there is nothing to compare with, only what holds for itself."""
