"""`Source`: where structures and their labels come from."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, final

from annotated_types import Ge
from ase import Atoms

from nnpx.data.checks import check_geometry, check_labels
from nnpx.data.jobs import ISOLATED, Batch, Failure, IsolatedAtom, Job, isolated
from nnpx.data.split import Split

#: the level of theory of labels of which nobody said it
NOT_STATED: Final = "not stated"
#: runs jobs with the reference engine, see `nnpx.executor.labelling.Labelling.run`
Run = Callable[[Sequence[Job]], Batch]


@final
@dataclass(frozen=True)
class Gathered:
    """Labelled structures with all that is known about them.

    Args:
        structures: with energy (eV), forces (eV/Å), stress (eV/Å³); `info["group"]` says where they belong.
        isolated: energies (eV) of isolated atoms by element.
        failures: what could not be labelled, and why.
        found: what was found in a file, one line each; empty for what was made here.
        level_of_theory: stated by the user; None means the reference engine's.
    """

    structures: list[Atoms]
    isolated: dict[str, float]
    failures: list[Failure]
    found: list[str]
    level_of_theory: str | None


class Source(ABC):
    """A data set, its checks and its split.

    Args:
        split: the rule that divides it.
        minimum_distance: two atoms closer than this are an error, Å.
        near_duplicate: see `nnpx.data.duplicates.find_duplicates`; 0 finds exact duplicates only.
        allow_missing: whether structures may lack labels that others have.
    """

    def __init__(
        self,
        *,
        split: Split,
        minimum_distance: Annotated[float, Ge(0)],
        near_duplicate: Annotated[float, Ge(0)],
        allow_missing: bool,
    ) -> None:
        self.split, self.minimum_distance = split, minimum_distance
        self.near_duplicate, self.allow_missing = near_duplicate, allow_missing

    @abstractmethod
    def inputs(self, folder: Path) -> list[Path]:
        """Names of the files that it reads, as the experiment names them: relative ones are seen from `folder`."""

    @abstractmethod
    def gather(self, run: Run, folder: Path, seed: int) -> Gathered:
        """Make or read the structures and their labels.

        Args:
            run: labels with the reference engine.
            folder: where relative paths start.
            seed: of all randomness.
        """

    @final
    def check(self, structures: Sequence[Atoms], file: str, frames: Sequence[int] | None = None) -> None:
        """Refuse labels and geometries that cannot be learned from.

        Args:
            structures: with their labels.
            file: its name, for messages.
            frames: which frames of the file they are; None for all in their order.

        Raises:
            DataError: labels are missing or not finite.
            GeometryError: atoms too close, or a cell without volume or left-handed.
        """
        check_labels(structures, file, allow_missing=self.allow_missing, frames=frames)
        check_geometry(structures, file, minimum_distance=self.minimum_distance, frames=frames)


def labelled(run: Run, jobs: Sequence[Job], elements: Sequence[str]) -> Gathered:
    """Jobs, and the isolated atoms of these elements, as a source gives them. An atom that does not converge is only recorded."""
    batch = run([*jobs, *(IsolatedAtom(f"isolated {symbol}", symbol) for symbol in sorted(elements))])
    lone = [atoms for atoms in batch.structures if atoms.info.get("config_type") == ISOLATED and len(atoms) == 1]
    energies = {str(atoms.symbols[0]): float(atoms.calc.results["energy"]) for atoms in lone}
    structures = [atoms for atoms in batch.structures if not any(atoms is other for other in lone)]
    return Gathered(structures, energies, batch.failures, [], None)


def as_structures(energies: dict[str, float]) -> list[Atoms]:
    """Isolated atoms as structures, to be written to a file."""
    return [isolated(symbol, energy) for symbol, energy in sorted(energies.items())]
