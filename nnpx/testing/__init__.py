"""The physics contract: what every option of every noun must obey, as functions that any new one inherits.

A law is a function that returns when it holds and raises `ContractError` when it does not. It takes the thing itself, so that it can be
called from a notebook or from the tests of another package as well:

    from nnpx.testing import Case, POTENTIAL_LAWS, verify
    verify(Case.of(potential), POTENTIAL_LAWS)

`tests/physics` runs every law over every YAML of the noun that it belongs to. All laws are meant for float64.
"""

from nnpx.testing.contract import ContractError, verify
from nnpx.testing.descriptors import DESCRIPTOR_LAWS
from nnpx.testing.nouns import CUTOFF_LAWS, EMBEDDING_LAWS, NETWORK_LAWS, PRIOR_LAWS, RADIAL_LAWS
from nnpx.testing.potentials import POTENTIAL_LAWS
from nnpx.testing.structures import Case

__all__ = [
    "CUTOFF_LAWS",
    "DESCRIPTOR_LAWS",
    "EMBEDDING_LAWS",
    "NETWORK_LAWS",
    "POTENTIAL_LAWS",
    "PRIOR_LAWS",
    "RADIAL_LAWS",
    "Case",
    "ContractError",
    "verify",
]
