"""Opening the user's file: any format that ASE reads, with an error that says where it is broken."""

import io
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Final

import numpy as np
from ase import Atoms
from ase.db import connect
from ase.io import read as ase_read
from ase.io.formats import UnknownFileTypeError, filetype, ioformats, open_with_compression

from nnpx.errors import DataError
from nnpx.files import files_of

#: what ASE's readers raise on a file that is not what it claims to be
_BROKEN: Final = (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, RuntimeError, AssertionError, StopIteration)


def open_all(name: str, folder: Path) -> list[Atoms]:
    """Every structure of a file, or of all files of a pattern, one after the other (`nnpx.files.files_of`).

    Raises:
        DataError: as `open_structures`.
    """
    return [atoms for file in files_of(name, folder) for atoms in open_structures(folder / file)]


def open_structures(path: Path) -> list[Atoms]:
    """Every structure of a file, in its order.

    Raises:
        DataError: no such file, an empty one, an unknown format, or one that is cut off or damaged.
    """
    check_present(path)
    try:
        kind = filetype(str(path))
    except (UnknownFileTypeError, UnicodeDecodeError) as error:
        raise _unknown(path) from error
    if kind in ioformats and not ioformats[kind].can_read:
        raise _unknown(path)
    if kind in ("extxyz", "xyz"):
        _check_frames(path)
    try:
        structures = list(_rows(path)) if kind in ("db", "json") else ase_read(str(path), index=":", format=kind)
    except UnknownFileTypeError as error:
        raise _unknown(path) from error
    except _BROKEN as error:
        raise DataError(
            str(path),
            expected=f"a complete file of the format {kind}",
            found=f"{type(error).__name__}: {' '.join(str(error).split())}",
            do="Repair the file or write it again: it may have been cut off while it was copied, or name an element that there is not.",
        ) from error
    if not structures:
        raise DataError(str(path), expected="at least one structure", found="none", do="Check that this is the file you mean.")
    return list(structures)


def check_present(path: Path) -> None:
    """Whether there is a file of this name, and something in it.

    Raises:
        DataError: otherwise; it lists what is there.
    """
    if not path.is_file():
        folder, found = (path, "a folder") if path.is_dir() else (path.parent, "nothing of that name")
        there = sorted(other.name for other in folder.glob("*") if other.is_file()) if folder.is_dir() else []
        near = get_close_matches(path.name, there, n=5) or there[:5]
        hint = f" Files there: {', '.join(near)}." if near else ""
        raise DataError(str(path), expected="a file", found=found, do=f"Correct data.path.{hint}")
    if path.stat().st_size == 0:
        raise DataError(str(path), expected="structures", found="an empty file", do="Write the file again.")


def _rows(path: Path) -> Iterator[Atoms]:
    """Rows of an ASE database; its key-value pairs and data stand beside the rest of `info`."""
    with connect(str(path)) as database:
        for row in database.select():
            atoms = row.toatoms()
            for name, value in {**row.data, **row.key_value_pairs}.items():
                atoms.info.setdefault(name, np.asarray(value) if isinstance(value, list) else value)
            yield atoms


def _check_frames(path: Path) -> None:
    """Walk over the frames of an XYZ file: every header a number of atoms, every frame with all its lines.

    ASE stops at the first blank line without a word and reports a short frame without its place.
    """
    frame, line_number = 0, 0
    with open_with_compression(str(path), "rb") as raw, io.TextIOWrapper(raw, encoding="utf-8", errors="replace") as lines:
        for header in lines:
            line_number += 1
            if header.lstrip().startswith("VEC"):
                continue
            if not header.strip():
                if any(line.strip() for line in lines):
                    raise _broken(path, frame, line_number, "a header with the number of atoms", "a blank line between frames")
                return
            if not header.strip().isdecimal():
                raise _broken(path, frame, line_number, "a header with the number of atoms", repr(header.strip()[:40]))
            n_atoms = int(header)
            block = [line for _, line in zip(range(n_atoms + 1), lines, strict=False)]
            widths = [len(line.split()) for line in block[1:]]
            short = next((index for index, width in enumerate(widths) if width < widths[0]), len(widths))
            if short < n_atoms:
                found = f"the end of the file after {short}" if len(widths) < n_atoms else f"line {line_number + 2 + short} cut off"
                raise _broken(path, frame, line_number, f"{n_atoms} atoms", found)
            if _ends_early(block[1:]):
                expected, found = "a line as long as the others", "the end of the file within it"
                do = "Write the file again; if this line is complete, end it as the others end."
                raise _broken(path, frame, line_number + n_atoms + 1, expected, found, do=do)
            line_number += n_atoms + 1
            frame += 1


def _ends_early(lines: list[str]) -> bool:
    """Whether the last line, which nothing ends, is shorter than all others, which are as long as each other: written in columns."""
    if len(lines) < 3 or lines[-1].endswith(("\n", " ")):
        return False
    lengths = {len(line.rstrip("\n")) for line in lines[:-1]}
    return len(lengths) == 1 and len(lines[-1]) < min(lengths)


def _unknown(path: Path) -> DataError:
    return DataError(
        str(path),
        expected="a format that ASE reads (extxyz, ASE db, traj, OUTCAR, …)",
        found=f"an unknown one ({path.suffix or 'no suffix'})",
        do="Convert it with `ase convert` to extxyz.",
    )


def _broken(path: Path, frame: int, line: int, expected: str, found: str, *, do: str = "Repair or remove this frame.") -> DataError:
    return DataError(f"frame {frame} of {path} (line {line})", expected=expected, found=found, do=do)
