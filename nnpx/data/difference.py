"""What a new version of a data set added, removed, relabelled and moved.

Structures are matched in two steps: those with equal numbers first, then those that are the same up to rotation, translation and the order
of atoms. The second step takes the candidates that `nnpx.data.duplicates` finds and keeps those whose sorted distances r_ij < 6 Å agree,
which in a crystal notice a displacement to first order, as the densities do not.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from nnpx.data.card import rows
from nnpx.data.duplicates import find_duplicates, identity
from nnpx.data.frames import labels
from nnpx.data.split import group_of
from nnpx.data.versions import Version
from nnpx.neighbor_search import pairs_within

#: labels that differ by less are the same, written with fewer digits: eV/atom, eV/Å, eV/Å³
SAME_LABEL: Final = 1e-6
_RANGE: Final = 6.0  # Å
_IN_PLACE: Final = 1e-3  # Å; beyond it, atoms have been turned or put in another order


@final
@dataclass(frozen=True)
class Relabelled:
    """A geometry whose labels differ. What only one version has is infinitely different, what neither has is 0."""

    before: int  #: index in the old version
    after: int  #: index in the new version
    energy: float  #: |ΔE|, eV/atom
    forces: float  #: largest change of a force, eV/Å
    stress: float  #: largest change of a component, eV/Å³


@final
@dataclass(frozen=True)
class Difference:
    """Indexes into the old version (`removed`, `before`) and the new one (`added`, `after`)."""

    added: list[int]
    removed: list[int]
    relabelled: list[Relabelled]
    moved: list[tuple[int, int]]  #: before, after: the part is another one
    same: int  #: geometries that both have
    stated: list[tuple[str, str, str]]  #: line of the card, before, after

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.relabelled or self.moved or self.stated)


def difference(old: Version, new: Version, *, tolerance: float) -> Difference:
    """Compare two versions.

    Args:
        old: before.
        new: after.
        tolerance: geometries whose sorted densities and sorted distances differ by no more are the same, about Å; 0 wants equal numbers.
    """
    matched = _match(old.structures, new.structures, tolerance)
    before, after = {a for a, _ in matched}, {b for _, b in matched}
    changes = [_relabelled(a, b, old.structures[a], new.structures[b]) for a, b in matched]
    changed = [one for one in changes if max(one.energy, one.forces, one.stress) > SAME_LABEL]
    divided = any(old.parts) and any(new.parts)
    return Difference(
        added=[b for b in range(len(new.structures)) if b not in after],
        removed=[a for a in range(len(old.structures)) if a not in before],
        relabelled=sorted(changed, key=lambda one: (-one.energy, -one.forces, one.after)),
        moved=[(a, b) for a, b in matched if divided and old.parts[a] != new.parts[b]],
        same=len(matched),
        stated=_stated(old, new),
    )


def counts(found: Difference, old: Version, new: Version) -> list[tuple[str, int, str]]:
    """Added, removed, relabelled, moved and unchanged structures: how many, and which or by how much."""
    largest = {name: max((getattr(one, name) for one in found.relabelled), default=0.0) for name in ("energy", "forces", "stress")}
    units = {"energy": "meV/atom", "forces": "meV/Å", "stress": "meV/Å³"}
    changes = [f"{name} {1e3 * value:.3g} {units[name]}" for name, value in largest.items() if value > SAME_LABEL]
    return [
        ("added", len(found.added), _groups(new, found.added)),
        ("removed", len(found.removed), _groups(old, found.removed)),
        ("relabelled", len(found.relabelled), f"by up to {', '.join(changes)}" if changes else ""),
        ("moved", len(found.moved), _listed(Counter(f"{old.parts[a]} → {new.parts[b]}" for a, b in found.moved))),
        ("unchanged", found.same - len({one.after for one in found.relabelled} | {b for _, b in found.moved}), ""),
    ]


def _groups(version: Version, indexes: list[int]) -> str:
    """The parts, or else the groups, that these structures belong to."""
    return _listed(Counter(version.parts[index] or group_of(version.structures[index]) for index in indexes))


def _listed(found: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(found.items()))


def _stated(old: Version, new: Version) -> list[tuple[str, str, str]]:
    before, after = lines(old), lines(new)
    names = [name for name in dict.fromkeys([*before, *after]) if before.get(name) != after.get(name)]
    return [(name, before.get(name, "none"), after.get(name, "none")) for name in names]


def lines(version: Version) -> dict[str, str]:
    """The card, with what its lines leave out."""
    isolated = {f"isolated {symbol}": f"{energy:.6f} eV" for symbol, energy in sorted(version.isolated.items())}
    return {"level of theory": str(version.card["level_of_theory"]), **rows(version.card), **isolated}


def _match(old: Sequence[Atoms], new: Sequence[Atoms], tolerance: float) -> list[tuple[int, int]]:
    """Pairs of the same geometry, each structure in one pair at most."""
    waiting: dict[str, list[int]] = defaultdict(list)
    for a in reversed(range(len(old))):
        waiting[identity(old[a])].append(a)
    matched = [(waiting[key].pop(), b) for b, atoms in enumerate(new) if waiting.get(key := identity(atoms))]
    rest_old = sorted(set(range(len(old))) - {a for a, _ in matched})
    rest_new = sorted(set(range(len(new))) - {b for _, b in matched})
    if rest_old and rest_new and tolerance > 0:
        matched.extend(_near(old, new, rest_old, rest_new, tolerance))
    return sorted(matched, key=lambda pair: pair[1])


def _near(old: Sequence[Atoms], new: Sequence[Atoms], of_old: list[int], of_new: list[int], tolerance: float) -> list[tuple[int, int]]:
    """Pairs among what is left, the most alike first."""
    both = [*(old[a] for a in of_old), *(new[b] for b in of_new)]
    links: list[tuple[float, int, int]] = []
    for group in find_duplicates(both, tolerance=tolerance).near:
        left, right = [k for k in group if k < len(of_old)], [k for k in group if k >= len(of_old)]
        distances = {k: _distances(both[k]) for k in group} if left and right else {}
        links.extend((_apart(distances[i], distances[j]), of_old[i], of_new[j - len(of_old)]) for i in left for j in right)
    taken_old, taken_new, chosen = set[int](), set[int](), list[tuple[int, int]]()
    for apart, a, b in sorted(links):
        if apart <= tolerance and a not in taken_old and b not in taken_new:
            taken_old.add(a)
            taken_new.add(b)
            chosen.append((a, b))
    return chosen


def _distances(atoms: Atoms) -> NDArray[np.float64]:
    return np.sort(pairs_within(atoms, _RANGE, each_once=True)[3])


def _apart(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Root mean square difference of sorted distances; those at the end of the range may be in one list only."""
    n = min(len(one), len(other))
    return float(np.sqrt(np.mean((one[:n] - other[:n]) ** 2))) if n else 0.0


def _relabelled(a: int, b: int, old: Atoms, new: Atoms) -> Relabelled:
    in_place = np.array_equal(old.numbers, new.numbers) and np.allclose(old.positions, new.positions, atol=_IN_PLACE)
    before, after = _values(old, turned=not in_place), _values(new, turned=not in_place)
    changes = {}
    for name in ("energy", "forces", "stress"):
        if name in before and name in after:
            changes[name] = _largest(before[name], after[name])
        else:
            changes[name] = np.inf if name in before or name in after else 0.0
    return Relabelled(a, b, **changes)


def _values(atoms: Atoms, *, turned: bool) -> dict[str, NDArray[np.float64]]:
    """Labels as rows; of a rotated or reordered structure what does not turn: the sizes of the forces and the trace of the stress."""
    found = labels(atoms)
    values = {name: np.asarray(value, dtype=float).reshape(-1, 3 if name == "forces" else 1) for name, value in found.items()}
    if "energy" in values:
        values["energy"] = values["energy"] / len(atoms)
    if turned and "forces" in values:
        values["forces"] = np.sort(np.linalg.norm(values["forces"], axis=1))[:, None]
    if turned and "stress" in values:
        values["stress"] = values["stress"][:3].sum(keepdims=True)
    return values


def _largest(before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
    """The longest difference of two rows; a label that only one version has is infinitely different."""
    apart = np.where(np.isnan(before) & np.isnan(after), 0.0, after - before)
    return float(np.linalg.norm(np.where(np.isnan(apart), np.inf, apart), axis=1).max())
