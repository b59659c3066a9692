"""What the periodic table says of an element."""

from typing import Final

import torch
from ase.data import chemical_symbols, covalent_radii
from jaxtyping import Float
from torch import Tensor

from nnpx.errors import SpeciesError

#: names of the columns of `standardised_properties`
PROPERTIES: Final = ("electronegativity", "covalent radius", "period", "group", "valence electrons")

#: Pauling's electronegativity from hydrogen to plutonium (CRC Handbook of Chemistry and Physics, 97th ed., section 9); for He, Ne and Ar,
#: which have none, Allen's (doi:10.1021/ja00207a003); for Pm, Eu, Tb and Yb the value between their neighbours.
# fmt: off
ELECTRONEGATIVITY: Final = (
    2.20, 4.16,
    0.98, 1.57, 2.04, 2.55, 3.04, 3.44, 3.98, 4.79,
    0.93, 1.31, 1.61, 1.90, 2.19, 2.58, 3.16, 3.24,
    0.82, 1.00, 1.36, 1.54, 1.63, 1.66, 1.55, 1.83, 1.88, 1.91, 1.90, 1.65, 1.81, 2.01, 2.18, 2.55, 2.96, 3.00,
    0.82, 0.95, 1.22, 1.33, 1.60, 2.16, 2.10, 2.20, 2.28, 2.20, 1.93, 1.69, 1.78, 1.96, 2.05, 2.10, 2.66, 2.60,
    0.79, 0.89, 1.10, 1.12, 1.13, 1.14, 1.155, 1.17, 1.185, 1.20, 1.21, 1.22, 1.23, 1.24, 1.25, 1.125, 1.00,
    1.30, 1.50, 1.70, 1.90, 2.20, 2.20, 2.20, 2.40, 1.90, 1.80, 1.80, 1.90, 2.00, 2.20, 2.20,
    0.70, 0.90, 1.10, 1.30, 1.50, 1.70, 1.30, 1.30,
)
# fmt: on
_LAST: Final = len(ELECTRONEGATIVITY)
_NOBLE: Final = (0, 2, 10, 18, 36, 54, 86, 118)


def standardised_properties(numbers: list[int]) -> Float[Tensor, "species property"]:
    """Five properties of each element, each with mean 0 and variance 1 over hydrogen to plutonium.

    Covalent radii are those of Cordero et al. 2008 (doi:10.1039/B801115J), from ASE.

    Raises:
        SpeciesError: an element is heavier than plutonium, whose electronegativity is the last that is tabulated here.
    """
    for number in numbers:
        if not 1 <= number <= _LAST:
            raise SpeciesError(
                "species_embedding=properties",
                expected=f"elements from H (1) to {chemical_symbols[_LAST]} ({_LAST})",
                found=f"atomic number {number}",
                do="Choose species_embedding=learned or species_embedding=onehot.",
            )
    table = torch.tensor([_properties(number) for number in range(1, _LAST + 1)], dtype=torch.float64)
    return ((table - table.mean(0)) / table.std(0, correction=0))[torch.tensor(numbers) - 1]


def _properties(number: int) -> tuple[float, float, float, float, float]:
    group = group_of(number)
    return (
        ELECTRONEGATIVITY[number - 1],
        float(covalent_radii[number]),
        float(period_of(number)),
        float(group),
        float(valence_electrons(number)),
    )


def period_of(number: int) -> int:
    """The row of the periodic table."""
    return sum(number > noble for noble in _NOBLE)


def group_of(number: int) -> int:
    """The column of the periodic table, 1 to 18; all lanthanides and actinides stand in column 3."""
    if number == 2:
        return 18
    period = period_of(number)
    column = number - _NOBLE[period - 1]
    if column <= 2:
        return column
    if period <= 3:
        return column + 10
    return column if period <= 5 else max(3, column - 14)


def valence_electrons(number: int) -> int:
    """Electrons outside the last noble gas, without filled d and f shells; 3 for the lanthanides and actinides."""
    group = group_of(number)
    if number == 2:
        return 2
    return group if group <= 12 else group - 10
