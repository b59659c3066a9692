"""The packages outside nnpx whose code a configuration may name: said by the user on their command line, and by no file."""

import os
from typing import Final

#: carries the list to the processes that this one starts; `NNPX_TRUSTED=mine dvc repro` gives it to the stages of DVC
ENVIRONMENT: Final = "NNPX_TRUSTED"


def trusted_packages() -> list[str]:
    """The packages trusted so far."""
    return [name for name in os.environ.get(ENVIRONMENT, "").split(",") if name]
