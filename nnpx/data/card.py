"""The card of a data set: what it is, in numbers that do not change unless the data do."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from ase import Atoms

from nnpx.data.consistency import borrowed, contradictions, not_the_slope, outside
from nnpx.data.duplicates import Duplicates
from nnpx.data.frames import labels
from nnpx.data.source import Gathered
from nnpx.data.split import PARTS, group_of
from nnpx.files import md5
from nnpx.neighbor_search import pairs_within

#: units of everything in the files and on the card
UNITS: Final = {"energy": "eV", "forces": "eV/Å", "stress": "eV/Å³ (ASE's sign: negative under compression)", "length": "Å"}
_SEARCHED: Final = (1.0, 2.0, 4.0, 8.0)  # Å, until a pair is found
_LISTED: Final = 50  # groups of duplicates that the card names
_SHOWN: Final = 5  # charges of one composition that a remark names


def describe(
    parts: Mapping[str, Sequence[Atoms]], files: Mapping[str, Path], duplicates: Duplicates, isolated: Mapping[str, float]
) -> dict[str, Any]:
    """Everything that follows from the structures.

    Args:
        parts: train, valid and test.
        files: where each part was written.
        duplicates: among all structures, indexes as in the labelled file.
        isolated: energies of isolated atoms by element, eV.
    """
    everything = [atoms for part in parts.values() for atoms in part]
    symbols = {int(number): str(symbol) for atoms in everything for number, symbol in zip(atoms.numbers, atoms.symbols, strict=True)}
    present = Counter(name for atoms in everything for name, label in labels(atoms).items() if np.isfinite(label).any())
    return {
        "elements": [symbols[number] for number in sorted(symbols)],
        "numbers": sorted(symbols),
        "units": UNITS,
        "counts": {name: len(part) for name, part in parts.items()},
        "groups": {name: dict(sorted(Counter(map(group_of, part)).items())) for name, part in parts.items()},
        "labels": {name: present[name] > 0 for name in ("energy", "forces", "stress")},
        "label_counts": {name: present[name] for name in ("energy", "forces", "stress")},
        "ranges": ranges(everything),
        "isolated_atoms": dict(sorted(isolated.items())),
        "md5": {name: md5(path) for name, path in files.items()},
        "duplicates": {
            "n_exact": sum(len(group) - 1 for group in duplicates.exact),
            "n_near": sum(len(group) - 1 for group in duplicates.near),
            "exact": duplicates.exact[:_LISTED],
            "near": duplicates.near[:_LISTED],
        },
    }


def summary(gathered: Gathered, level_of_theory: str) -> dict[str, Any]:
    """What is known once the labels are there, before anything is divided.

    Args:
        gathered: what a source gave.
        level_of_theory: the reference engine's, used unless the source states its own.
    """
    return {
        "level_of_theory": gathered.level_of_theory or level_of_theory,
        "n_structures": len(gathered.structures),
        "groups": dict(sorted(Counter(map(group_of, gathered.structures)).items())),
        "isolated_atoms": dict(sorted(gathered.isolated.items())),
        "failures": [{"name": failure.name, "reason": failure.reason} for failure in gathered.failures],
        "found": gathered.found,
    }


def ranges(structures: Sequence[Atoms]) -> dict[str, Any]:
    """Smallest and largest values; what the data do not have is None."""
    found = [labels(atoms) for atoms in structures]
    per_atom = [each["energy"] / len(atoms) for each, atoms in zip(found, structures, strict=True) if "energy" in each]
    forces = np.concatenate([np.zeros((0, 3)), *(each["forces"] for each in found if "forces" in each)])
    forces = forces[np.all(np.isfinite(forces), axis=1)]
    stress = [np.abs(each["stress"]).max() for each in found if "stress" in each]
    return {
        "n_atoms": _span([float(len(atoms)) for atoms in structures]),
        "energy_per_atom": _span(per_atom),
        "force_rms": float(np.sqrt(np.mean(forces**2))) if forces.size else None,
        "force_max": float(np.linalg.norm(forces, axis=1).max()) if forces.size else None,
        "stress_max": float(np.nanmax(stress)) if stress else None,
        "volume_per_atom": _span([atoms.cell.volume / len(atoms) for atoms in structures if all(atoms.pbc)]),
        "distance_min": min((closest for atoms in structures if (closest := _closest(atoms)) is not None), default=None),
    }


def remarks(structures: Sequence[Atoms], duplicates: Duplicates, frames: Sequence[int] | None = None) -> list[str]:
    """What is allowed and yet suspicious: signs and units of stress and forces, and labels that contradict each other.

    Args:
        structures: of a data set.
        duplicates: among them.
        frames: which frames of data/labelled.extxyz they are, from 0; None where they are in no such file.
    """
    said = [*contradictions(structures, duplicates), *borrowed(structures, frames), *not_the_slope(structures)]
    said += [*outside(structures, frames), *_unseen_states(structures)]
    size = ranges(structures)
    if size["force_rms"] is not None and not 1e-3 < size["force_rms"] < 30:
        said.append(f"forces have a root mean square of {size['force_rms']:.3g} eV/Å: are they in eV/Å?")
    if size["stress_max"] is not None and size["stress_max"] > 2.0:
        said.append(f"stress reaches {size['stress_max']:.3g} eV/Å³ ({size['stress_max'] * 160.2:.0f} GPa): is it in eV/Å³?")
    crystals = [atoms for atoms in structures if "stress" in labels(atoms)]
    if len(crystals) >= 10 and len({atoms.get_chemical_formula() for atoms in crystals}) == 1:
        volume = np.array([atoms.cell.volume for atoms in crystals])
        tension = np.array([labels(atoms)["stress"][:3].mean() for atoms in crystals])
        if volume.std() > 0.01 * volume.mean() and np.corrcoef(volume, tension)[0, 1] < -0.5:
            said.append("stress falls where the cell expands: the sign is opposite to ASE's; give it as a virial or change it")
    return said


def _unseen_states(structures: Sequence[Atoms]) -> Iterator[str]:
    """Charges and spins that tell structures of the same atoms apart, and that no potential of elements and positions sees."""
    for name in ("charge", "total_charge", "spin", "multiplicity"):
        states: dict[str, set[float]] = {}
        for atoms in structures:
            stated = atoms.info.get(name, 0.0 if "charge" in name else None)
            if isinstance(stated, int | float | np.number) and np.isfinite(stated):
                states.setdefault(atoms.get_chemical_formula(), set()).add(round(float(stated), 2) + 0.0)  # −0 is 0
        several = [(formula, sorted(values)) for formula, values in states.items() if len(values) > 1]
        if several:
            formula, values = several[0]
            of = ", ".join(f"{value:g}" for value in values[:_SHOWN]) + ", …" * (len(values) > _SHOWN)
            others = f", and other values of {len(several) - 1} more compositions" if len(several) > 1 else ""
            yield f"info['{name}'] of {formula} is {of}{others}: a potential sees elements and positions only, and averages over them"


def rows(card: Mapping[str, Any]) -> dict[str, str]:
    """The card in a few lines for the reader's eye."""
    size, counts, twins = card["ranges"], card["counts"], card["duplicates"]
    lines = {
        "elements": ", ".join(card["elements"]),
        "structures": ", ".join(f"{name} {counts[name]}" for name in _in_order(counts)) + f", left out {card['n_left_out']}",
        "labels": ", ".join(f"{name} ({count})" for name, count in card["label_counts"].items() if count),
        "isolated atoms": ", ".join(card["isolated_atoms"]) or "none",
        "atoms per structure": _interval(size["n_atoms"], "{:g}", ""),
        "energy": _interval(size["energy_per_atom"], "{:.3f}", "eV/atom"),
        "forces": "none" if size["force_rms"] is None else f"rms {size['force_rms']:.3f}, largest {size['force_max']:.2f} eV/Å",
        "volume": _interval(size["volume_per_atom"], "{:.2f}", "Å³/atom"),
        "shortest distance": "none" if size["distance_min"] is None else f"{size['distance_min']:.3f} Å",
        "duplicates": f"{twins['n_exact']} exact, {twins['n_near']} near or exact; kept on one side",
        "not labelled": str(card["n_failed"]),
    }
    return {**lines, **{f"remark {number}": text for number, text in enumerate(card["remarks"], start=1)}}


def _in_order(parts: Iterable[str]) -> list[str]:
    """Train before valid before test, as cards with sorted keys do not have them."""
    return sorted(parts, key=lambda name: (PARTS.index(name) if name in PARTS else -1, name))


def _interval(span: Sequence[float] | None, form: str, unit: str) -> str:
    return "none" if span is None else f"{form.format(span[0])} to {form.format(span[1])} {unit}".rstrip()


def _span(values: Sequence[float]) -> list[float] | None:
    finite = [float(value) for value in values if np.isfinite(value)]
    return [min(finite), max(finite)] if finite else None


def _closest(atoms: Atoms) -> float | None:
    for cutoff in _SEARCHED:
        *_, distance = pairs_within(atoms, cutoff, each_once=True)
        if len(distance):
            return float(distance.min())
    return None
