"""The packages outside nnpx whose code a configuration may name: said by the user on their command line, and by no file."""

import os
import sys
from pathlib import Path
from typing import Final

#: carries the list to the processes that this one starts; `NNPX_TRUSTED=mine dvc repro` gives it to the stages of DVC
ENVIRONMENT: Final = "NNPX_TRUSTED"


def trusted_packages() -> list[str]:
    """The packages trusted so far."""
    return [name for name in os.environ.get(ENVIRONMENT, "").split(",") if name]


def reach(package: str) -> None:
    """Lets the user's own package lie in the folder where nnpx runs, or above it; what is installed comes first."""
    if package in trusted_packages():
        places = [
            folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / package).is_dir() or (folder / f"{package}.py").is_file()
        ]
        if places and str(places[0]) not in sys.path:
            sys.path.append(str(places[0]))
