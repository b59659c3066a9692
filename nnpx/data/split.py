"""Splits: which structures are learned from, which choose the best epoch, which are only ever tested.

The three parts never share a structure, and duplicates stay on one side: otherwise the test measures memory. Frames of one trajectory
resemble each other, so `TimeBlocks` cuts it into contiguous pieces and `ByGroup` keeps it whole; `Random` is for independent structures.
"""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, final

import numpy as np
from annotated_types import Ge, Lt
from ase import Atoms

from nnpx.data.duplicates import Duplicates, identity
from nnpx.errors import DataError

#: the names of the parts
PARTS: Final = ("train", "valid", "test")
#: `info` key of a structure whose part its file has decided
GIVEN: Final = "given_part"
#: a number of structures (≥ 1) or a fraction of all (< 1)
Share = Annotated[int, Ge(0)] | Annotated[float, Ge(0), Lt(1)]


@final
@dataclass(frozen=True)
class Parts:
    """Indexes of each part in ascending order, and of structures that belong to none."""

    train: list[int]
    valid: list[int]
    test: list[int]
    left_out: list[int]


class Split(ABC):
    """A rule that divides structures into train, valid and test.

    Args:
        n_train: structures or fraction to learn from; null takes all that remain.
        n_valid: structures or fraction for validation.
        n_test: structures or fraction for the test.
    """

    def __init__(self, *, n_train: Share | None, n_valid: Share, n_test: Share) -> None:
        self.n_train, self.n_valid, self.n_test = n_train, n_valid, n_test

    @abstractmethod
    def assign(self, groups: Sequence[str], wanted: dict[str, int], generator: np.random.Generator) -> list[str | None]:
        """A part for each structure, None for those left out.

        Args:
            groups: the group of each structure, in the order of the file.
            wanted: how many structures each part should have; together they are no more than there are.
            generator: the only source of randomness.
        """

    @final
    def __call__(self, structures: Sequence[Atoms], duplicates: Duplicates, seed: int) -> Parts:
        """Divide. A part given by a file of its own is taken as it is; what also occurs there leaves the rest.

        Raises:
            DataError: too few structures, or train or valid would be empty.
        """
        part: list[str | None] = [_given(atoms) for atoms in structures]
        pool = _pool(part, duplicates)
        wanted = self._wanted(len(pool), {name for name in part if name is not None})
        groups = [group_of(structures[index]) for index in pool]
        for index, name in zip(pool, self.assign(groups, wanted, np.random.default_rng(seed)), strict=True):
            part[index] = name
        for group in duplicates.near:
            free = [index for index in group if _given(structures[index]) is None and part[index] is not None]
            for index in free:
                part[index] = part[free[0]]
        parts = Parts(*([index for index, name in enumerate(part) if name == wish] for wish in (*PARTS, None)))
        _verify(parts, structures, duplicates)
        return parts

    def _wanted(self, n_pool: int, given: set[str]) -> dict[str, int]:
        sizes = {"valid": self.n_valid, "test": self.n_test}
        wanted = {name: 0 if name in given else _count(size, n_pool) for name, size in sizes.items()}
        rest = n_pool - sum(wanted.values())
        wanted["train"] = max(rest, 1) if self.n_train is None else _count(self.n_train, n_pool)
        if wanted["train"] > rest:
            raise DataError(
                "data.split",
                expected=f"as many structures as the parts ask for: {', '.join(f'{name} {wanted[name]}' for name in PARTS)}",
                found=str(n_pool),
                do="Give more structures, or lower data.split.n_train, n_valid or n_test.",
            )
        return wanted


@final
class Random(Split):
    """Every structure on its own, at random. For independent structures; neighbouring frames of a trajectory would leak.

    Args:
        n_train: structures or fraction to learn from; null takes all that remain.
        n_valid: structures or fraction for validation.
        n_test: structures or fraction for the test.
    """

    def __init__(self, *, n_train: Share | None, n_valid: Share, n_test: Share) -> None:
        super().__init__(n_train=n_train, n_valid=n_valid, n_test=n_test)

    def assign(self, groups: Sequence[str], wanted: dict[str, int], generator: np.random.Generator) -> list[str | None]:
        """A permutation, cut at the wanted sizes."""
        names = [name for name in ("valid", "test", "train") for _ in range(wanted[name])]
        part: list[str | None] = [None] * len(groups)
        for index, name in zip(generator.permutation(len(groups)).tolist(), names, strict=False):
            part[index] = name
        return part


@final
class ByGroup(Split):
    """Whole groups on one side: the test asks for trajectories, temperatures or compositions that were never seen.

    Args:
        n_train: structures or fraction to learn from; null takes all that remain.
        n_valid: structures or fraction for validation, met as closely as whole groups allow.
        n_test: structures or fraction for the test, likewise.
        valid_groups: groups that certainly belong to valid.
        test_groups: groups that certainly belong to test.
    """

    def __init__(self, *, n_train: Share | None, n_valid: Share, n_test: Share, valid_groups: list[str], test_groups: list[str]) -> None:
        super().__init__(n_train=n_train, n_valid=n_valid, n_test=n_test)
        self.chosen = {"valid": valid_groups, "test": test_groups}

    def assign(self, groups: Sequence[str], wanted: dict[str, int], generator: np.random.Generator) -> list[str | None]:
        """Named groups first; then groups in random order, each where it brings the size closer to the wanted one."""
        sizes = {name: groups.count(name) for name in dict.fromkeys(groups)}
        owner: dict[str, str] = {}
        for part, names in self.chosen.items():
            for name in names:
                if name not in sizes:
                    known = ", ".join(sizes)
                    key = "" if len(sizes) > 1 else ", or name the key of info that tells groups (data.group_key)"
                    do = f"Correct the name{key}."
                    raise DataError(f"data.split.{part}_groups", expected=f"one of {known}", found=name, do=do)
                if owner.setdefault(name, part) != part:
                    do = "Leave it in one of them."
                    raise DataError(
                        f"data.split.{part}_groups", expected="groups of no other part", found=f"{name}, of {owner[name]}", do=do
                    )
        order = [str(name) for name in generator.permutation(sorted(sizes)).tolist()]
        for part in ("valid", "test"):
            filled = sum(sizes[name] for name in owner if owner[name] == part)
            for name in (name for name in order if name not in owner):
                closer = abs(filled + sizes[name] - wanted[part]) < abs(filled - wanted[part])
                if not self.chosen[part] and (closer or not filled) and wanted[part] and filled < wanted[part]:
                    owner[name] = part
                    filled += sizes[name]
        return _limit([owner.get(group, "train") for group in groups], wanted["train"], generator)


@final
class TimeBlocks(Split):
    """Each group is cut into contiguous blocks in the order of the file: first train, then valid, then test.

    Args:
        n_train: structures or fraction to learn from; null takes all that remain.
        n_valid: structures or fraction for validation.
        n_test: structures or fraction for the test.
        gap: structures left out between blocks, so that the last frame of one does not resemble the first of the next.
    """

    def __init__(self, *, n_train: Share | None, n_valid: Share, n_test: Share, gap: Annotated[int, Ge(0)]) -> None:
        super().__init__(n_train=n_train, n_valid=n_valid, n_test=n_test)
        self.gap = gap

    def assign(self, groups: Sequence[str], wanted: dict[str, int], generator: np.random.Generator) -> list[str | None]:
        """Each group gives to valid and test in proportion to its size; rounding is carried on, so that the sums are exact."""
        members: dict[str, list[int]] = defaultdict(list)
        for index, group in enumerate(groups):
            members[group].append(index)
        part: list[str | None] = [None] * len(groups)
        seen, used = 0, {"valid": 0, "test": 0}
        for indexes in members.values():
            seen += len(indexes)
            quota = {name: round(wanted[name] * seen / len(groups)) - used[name] for name in used}
            end = len(indexes)
            for name in ("test", "valid"):
                start = max(end - quota[name], 0)
                for index in indexes[start:end]:
                    part[index] = name
                used[name] += end - start
                end = max(start - self.gap, 0) if quota[name] else start
            for index in indexes[:end]:
                part[index] = "train"
        return _limit(part, wanted["train"], generator)


def group_of(atoms: Atoms) -> str:
    """The group of a structure, as text."""
    return str(atoms.info.get("group", "all"))


def group_in_file(atoms: Atoms, key: str | None) -> str:
    """The group that a user's file gives a structure: `info[key]`, or without a key `group`, else `config_type`, else "all".

    Raises:
        DataError: the key is not there.
    """
    own = atoms.info.get(key) if key else atoms.info.get("group", atoms.info.get("config_type"))
    if own is None and key:
        known = ", ".join(map(str, atoms.info)) or "nothing"
        expected, found = f"info['{key}'] in every structure", f"one without (its info has {known})"
        raise DataError("data.group_key", expected=expected, found=found, do="Correct the key.")
    return "all" if own is None else str(own)


def _limit(part: Sequence[str | None], n_train: int, generator: np.random.Generator) -> list[str | None]:
    """No more than `n_train` structures in train: the rest is left out, at random."""
    train = [index for index, name in enumerate(part) if name == "train"]
    surplus = set(generator.permutation(train)[n_train:].tolist()) if len(train) > n_train else set()
    return [None if index in surplus else name for index, name in enumerate(part)]


def _given(atoms: Atoms) -> str | None:
    name = atoms.info.get(GIVEN)
    return str(name) if name in PARTS else None


def _pool(part: Sequence[str | None], duplicates: Duplicates) -> list[int]:
    """Structures that no file has assigned and that occur in no assigned part."""
    known = {index for group in duplicates.near if any(part[index] is not None for index in group) for index in group}
    return [index for index, name in enumerate(part) if name is None and index not in known]


def _count(share: Share, n_structures: int) -> int:
    """A fraction above zero asks for at least one structure."""
    if isinstance(share, int):
        return share
    return max(round(share * n_structures), 1) if share > 0 else 0


def _most_are_alike(duplicates: Duplicates, n_structures: int) -> str:
    """For a message: how many stay together because they hardly differ, if that leaves few to divide."""
    together = max((len(group) for group in duplicates.near), default=0)
    return f", of which {together} hardly differ and stay together" if 2 * together > n_structures else ""


def _verify(parts: Parts, structures: Sequence[Atoms], duplicates: Duplicates) -> None:
    """The parts are disjoint in content, and neither train nor valid is empty."""
    for name in ("train", "valid"):
        if not getattr(parts, name):
            raise DataError(
                f"data.split, {name}",
                expected="at least one structure",
                found=f"none of {len(structures)}{_most_are_alike(duplicates, len(structures))}",
                do=f"Raise data.split.n_{name}, choose another split, give more structures, or lower data.near_duplicate.",
            )
    owner: dict[str, str] = {}
    for name in PARTS:
        for index in getattr(parts, name):
            other = owner.setdefault(identity(structures[index]), name)
            if other != name:
                raise DataError(
                    f"structure {index}", expected="a structure in one part only", found=f"it in {other} and {name}", do="Remove one copy."
                )
