"""Whether labels agree with each other: those of one structure, and the forces with the energies."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from ase import Atoms
from ase.geometry import find_mic

from nnpx.data.duplicates import Duplicates
from nnpx.data.frames import labels

#: eV and eV/Å; labels of one structure that differ by more contradict each other
_SAME: Final = 1e-3
#: Å; no atom moves farther between two structures from which a slope is taken
_NEAR: Final = 0.3
#: Å; files of four decimals round by half of it
_ROUNDED: Final = 1e-4
#: fewer pairs of structures decide nothing
_FEWEST: Final = 10
#: correlation from which on the forces are some multiple of the slope
_CLEAR: Final = 0.9
#: multiples that a coarse difference may have by itself
_MULTIPLES: Final = (0.7, 1.4)

#: how many times farther than most energies lie from those of their elements an energy is that lies outside, which part "most" is, and
#: the least distance that is told, eV per atom
_FAR, _MOST, _LEAST = 10.0, 0.9, 0.1
#: fewer structures per element decide nothing; more outside than this part of them are no slips
_FEWEST_PER_ELEMENT, _SLIPS = 5, 0.02
#: of the weights of a fit; structures that a remark names
_ROUNDS, _NAMED = 30, 5


def contradictions(structures: Sequence[Atoms], duplicates: Duplicates) -> list[str]:
    """Structures that are the same to the last digit, and labels that are not: of two levels of theory, or wrong in sign or unit."""
    off = {"energy": 0.0, "forces": 0.0}
    for group in duplicates.exact:
        for name in off:
            found = [np.asarray(labels(structures[index])[name]) for index in group if name in labels(structures[index])]
            known = np.array([each for each in found if np.isfinite(each).all()])
            off[name] = max(off[name], float(np.ptp(known, axis=0).max()) if len(known) else 0.0)
    if max(off.values()) < _SAME:
        return []
    return [f"exact duplicates have labels that differ, by up to {off['energy']:.3g} eV and {off['forces']:.3g} eV/Å"]


def borrowed(structures: Sequence[Atoms], frames: Sequence[int] | None = None) -> list[str]:
    """Structures that differ, and whose forces are the same to the last digit: of one calculation, whose files another has read.

    Structures are named as in `outside`.
    """
    alike: dict[bytes, list[int]] = defaultdict(list)
    for index, atoms in enumerate(structures):
        forces = np.asarray(labels(atoms).get("forces", 0.0), dtype=np.float64)
        if len(atoms) > 1 and np.abs(forces).max() > _SAME:
            alike[(forces + 0.0).tobytes()].append(index)
    groups = [[first, *(k for k in others if not _is_moved(structures[first], structures[k]))] for first, *others in alike.values()]
    several = [group for group in groups if len(group) > 1]
    if not several:
        return []
    named = " and ".join(str(index if frames is None else frames[index]) for index in several[0][:_NAMED])
    file, more = "" if frames is None else " of data/labelled.extxyz", f"; {len(several)} such groups" if len(several) > 1 else ""
    return [f"structures {named}{file} differ and have the same forces to the last digit: were their calculations in one folder?{more}"]


def _is_moved(one: Atoms, other: Atoms) -> bool:
    """Whether two structures are the same up to a translation, and so have the same forces."""
    if not np.array_equal(one.numbers, other.numbers) or not np.array_equal(one.pbc, other.pbc):
        return False
    if any(one.pbc) and not np.allclose(one.cell.array, other.cell.array, rtol=0.0, atol=_ROUNDED):
        return False
    apart = other.positions - one.positions
    return bool(np.abs(find_mic(apart - apart[0], one.cell, one.pbc)[0]).max() < _ROUNDED)


def outside(structures: Sequence[Atoms], frames: Sequence[int] | None = None) -> list[str]:
    """Few energies far from Σ_i e(z_i), the sum over elements that fits most of them: calculations that went wrong, or slips of a hand.

    The fit has the least sum of absolute deviations per atom, by least squares that are weighted anew, and so does not follow the few.
    Structures are named by their `frames` of data/labelled.extxyz, if those are given, else counted from 0.
    """
    known = [index for index, atoms in enumerate(structures) if np.isfinite(labels(atoms).get("energy", np.nan))]
    energy = np.array([float(labels(structures[index])["energy"]) / len(structures[index]) for index in known])
    numbers = np.unique(np.concatenate([structures[index].numbers for index in known])) if known else np.zeros(0)
    if len(known) < _FEWEST_PER_ELEMENT * max(len(numbers), 2):
        return []
    share = np.array([(structures[index].numbers[:, None] == numbers).mean(0) for index in known])
    off = energy - np.median(energy)
    for _ in range(_ROUNDS):
        weight = 1.0 / np.sqrt(np.maximum(np.abs(off), _SAME))
        off = energy - share @ np.linalg.lstsq(share * weight[:, None], energy * weight, rcond=None)[0]
    most = float(np.quantile(np.abs(off), _MOST))
    far = np.flatnonzero(np.abs(off) > max(_FAR * most, _LEAST))
    if not 0 < len(far) <= max(2, _SLIPS * len(known)):
        return []
    worst = far[np.argsort(-np.abs(off[far]))][:_NAMED]
    place = [known[k] if frames is None else frames[known[k]] for k in worst]
    named = ", ".join(f"{number} ({off[k]:+.3g} eV/atom)" for number, k in zip(place, worst, strict=True)) + ", …" * (len(far) > _NAMED)
    file = "" if frames is None else " of data/labelled.extxyz"
    return [f"the energy of structure {named}{file} lies far from the sum over its elements: 90 % lie within {most:.2g} eV/atom"]


def not_the_slope(structures: Sequence[Atoms]) -> list[str]:
    """Whether the forces F are the slope of the energy V, as far as neighbouring structures of a file tell.

        V₂ − V₁ ≈ c · (−½ (F₁ + F₂) · (R₂ − R₁))

    which is exact with c = 1 where the energy is quadratic. Forces of the wrong sign have c = −1, those of another unit than the energy
    some other multiple. Said only where the two sides go together; displacements that are too coarse say nothing.
    """
    found = np.array([_difference(*pair) for pair in _neighbours(structures)]).reshape(-1, 2)
    found = found[np.isfinite(found).all(1)]
    if len(found) < _FEWEST or not found.any(0).all():
        return []
    change, work = found.T
    correlation = float((change * work).sum() / np.sqrt((change**2).sum() * (work**2).sum()))
    multiple = float((change * work).sum() / (work**2).sum())
    if abs(correlation) < _CLEAR or _MULTIPLES[0] < multiple < _MULTIPLES[1]:
        return []
    sure = f"in {len(found)} pairs of neighbouring structures the energy changes by {multiple:.3g} times what the forces say"
    return [f"{sure}: {'their sign is opposite' if multiple < 0 else 'are energies in eV and forces in eV/Å?'}"]


def _neighbours(structures: Sequence[Atoms]) -> Iterator[tuple[Atoms, Atoms]]:
    """Structures one after the other with the same atoms in the same cell, both labelled."""
    for one, two in pairwise(structures):
        is_labelled = all({"energy", "forces"} <= labels(atoms).keys() for atoms in (one, two))
        same_atoms = np.array_equal(one.numbers, two.numbers) and np.array_equal(one.pbc, two.pbc)
        if is_labelled and same_atoms and np.array_equal(one.cell.array, two.cell.array):
            yield one, two


def _difference(one: Atoms, two: Atoms) -> tuple[float, float]:
    """By how much the energy of the second is higher, and by how much the forces say that it is (eV); NaN where they are far apart."""
    before, after = labels(one), labels(two)
    way = find_mic(two.positions - one.positions, one.cell, one.pbc)[0] if one.pbc.any() else two.positions - one.positions
    if np.abs(way).max() > _NEAR:
        return float("nan"), float("nan")
    return float(after["energy"] - before["energy"]), float(-0.5 * ((before["forces"] + after["forces"]) * way).sum())
