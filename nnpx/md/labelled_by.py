"""Whether an engine is the one that labelled the data of a potential."""

from hashlib import sha256
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read
from ase.io.formats import UnknownFileTypeError

from nnpx.data.checks import check_structure
from nnpx.data.finished_jobs import FinishedJobs
from nnpx.data.frames import geometry, labels
from nnpx.data.jobs import SinglePoints
from nnpx.data.source import NOT_STATED
from nnpx.errors import DataError
from nnpx.executor.labelling import Labelling
from nnpx.executor.processes import Processes
from nnpx.reference import Reference
from nnpx.structures import TOO_CLOSE

#: eV/Å; forces of one structure that differ by less are of the same level of theory, if the largest of them is not below the other
_SAME_FORCE, _TELLING_FORCE = 0.02, 0.3


def is_foreign(reference: Reference, labelled_by: str, labelled_file: Path, folder: Path) -> str:
    """Why the engine says nothing about this potential: another one has labelled its data."""
    if reference.level_of_theory == labelled_by:
        return ""
    if labelled_by != NOT_STATED:
        return f"the data were labelled by {labelled_by}, the engine is {reference.level_of_theory}; choose the one that did (reference=…)"
    if _has_its_forces(reference, labelled_file, folder):
        return ""
    said = f"the data do not say what labelled them, and {reference.level_of_theory} does not find the forces of the first test structure"
    return f"{said}; choose the engine that labelled them (reference=…), or name it (data.level_of_theory=…) before you train"


def _has_its_forces(reference: Reference, labelled_file: Path, folder: Path) -> bool:
    """Whether the engine finds the forces of the first structure of the file, where they are large enough to tell one from another.

    It is asked in a process of its own, and its answer is kept.
    """
    known = first_structure(labelled_file) if labelled_file.is_file() else Atoms()
    forces = labels(known).get("forces", np.zeros((1, 3)))
    if np.abs(forces).max() < _TELLING_FORCE:
        return False
    kept = FinishedJobs(path=folder / f"labels-{sha256(reference.identity.encode()).hexdigest()[:12]}.jsonl")
    try:
        ask = Labelling(engine=reference, executor=Processes(n_processes=1), journal=kept, report=lambda done, total: None)
        (found,) = ask.run([SinglePoints("the first test structure", (geometry(known, info={}),))]).structures
    except Exception:  # noqa: BLE001  # engines raise what they like where they do not know an element
        return False
    return bool(np.abs(labels(found)["forces"] - forces).max() < _SAME_FORCE)


def first_structure(path: Path) -> Atoms:
    """The first structure of a file, checked as data are.

    Raises:
        DataError: if the file is missing or cannot be read.
        GeometryError: if positions or cell make no sense, or two atoms are in one place.
        SpeciesError: if an atom is of no element.
    """
    try:
        atoms = read(path, index=0)
    except (OSError, ValueError, IndexError, KeyError, UnknownFileTypeError) as problem:
        do = "Run `nnpx prepare`, or correct md.structure."
        raise DataError(str(path), expected="a structure to start from", found=f"{type(problem).__name__}: {problem}", do=do) from problem
    check_structure(atoms, f"structure 0 of {path}", minimum_distance=TOO_CLOSE, do="Correct the structure, or start from another one.")
    return atoms
