"""Every law of a potential, over every YAML of every noun that a potential is made of."""

from collections.abc import Callable

import pytest
from every_option import CHOICES, case_of

from nnpx.testing import POTENTIAL_LAWS, Case


@pytest.mark.parametrize("law", POTENTIAL_LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize(("noun", "option"), CHOICES, ids=["=".join(choice) for choice in CHOICES])
def test_potential_obeys(noun: str, option: str, law: Callable[[Case], None]) -> None:
    law(case_of(noun, option))
