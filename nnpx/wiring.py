"""`Wired`: the constructor arguments that follow from other choices.

The number of features follows from the descriptor, the elements follow from the data: such sizes are handed over in code and never
written in YAML. Annotating an argument `Wired[int]` says so, and the configuration check refuses it in a file.
"""

from typing import Annotated, Final, TypeVar


class _Mark:
    """The annotation that distinguishes a wired argument from a configured one."""


#: the marker itself, found by the configuration check in `typing.get_type_hints(..., include_extras=True)`
WIRED: Final = _Mark()

T = TypeVar("T")
Wired = Annotated[T, WIRED]
