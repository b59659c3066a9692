"""Which functions of a grid of functions and species channels a descriptor keeps."""

import re
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import final

from nnpx.errors import ConfigError

Names = Sequence[Sequence[str]]


@final
@dataclass(frozen=True)
class Kept:
    """What has to be evaluated of a grid, and which columns of the outcome are features.

    The sum over the neighbours is made for every kept function in every kept block, a block being a channel or a pair of channels.
    """

    functions: list[int]  #: functions that at least one block keeps
    blocks: list[int]  #: blocks that keep at least one function
    columns: list[int]  #: kept among (blocks × functions)
    names: list[str]  #: of the kept columns


def keep(names: Names, wanted: Container[str] | None) -> Kept:
    """The smallest grid that holds the wanted functions; all of it where `wanted` is None.

    Args:
        names: of every function, by block.
        wanted: names of the functions to keep.
    """
    chosen = [[wanted is None or name in wanted for name in row] for row in names]
    functions = [f for f in range(len(names[0])) if any(row[f] for row in chosen)]
    blocks = [b for b, row in enumerate(chosen) if any(row)]
    places = [(b, f) for b in blocks for f in functions]
    columns = [column for column, (b, f) in enumerate(places) if chosen[b][f]]
    return Kept(functions, blocks, columns, [names[b][f] for b, f in (places[column] for column in columns)])


def check_known(wanted: Iterable[str], grids: Iterable[Names]) -> None:
    """Refuses names that no grid has. Those of a channel that the species embedding lacks pass: such a function is always zero.

    Raises:
        ConfigError: a name is of no function.
    """
    known = {_without_block(name) for grid in grids for row in grid for name in row}
    unknown = [name for name in wanted if _without_block(name) not in known]
    if unknown:
        raise ConfigError(
            "descriptor.functions",
            expected="names of functions that radial and descriptor.angular describe",
            found=f"{unknown[0]!r}" + (f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""),
            do="Go back to the radial and angular functions that these were chosen from, or choose anew with `nnpx select`.",
        )


def _without_block(name: str) -> str:
    return re.sub(r" channels? \d+(-\d+)?$", "", name)
