"""Parts are disjoint, duplicates stay on one side, groups and blocks are kept."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from nnpx.data.duplicates import Duplicates, find_duplicates
from nnpx.data.split import GIVEN, ByGroup, Parts, Random, Split, TimeBlocks, group_in_file
from nnpx.errors import DataError

NONE = Duplicates([], [])


def structures(n_groups: int = 5, n_frames: int = 20) -> list[Atoms]:
    generator = np.random.default_rng(0)
    made = []
    for group in range(n_groups):
        for _ in range(n_frames):
            atoms = molecule("H2O")
            atoms.positions += 0.1 * generator.standard_normal((3, 3))
            atoms.info["group"] = f"md_{group}"
            made.append(atoms)
    return made


def random(n_train: int | float | None = None, n_valid: int | float = 0.1, n_test: int | float = 0.1) -> Random:
    return Random(n_train=n_train, n_valid=n_valid, n_test=n_test)


def by_group(**chosen: list[str]) -> ByGroup:
    lists = {"valid_groups": [], "test_groups": [], **chosen}
    return ByGroup(n_train=None, n_valid=0.2, n_test=0.2, valid_groups=lists["valid_groups"], test_groups=lists["test_groups"])


def blocks(gap: int = 0) -> TimeBlocks:
    return TimeBlocks(n_train=None, n_valid=0.1, n_test=0.1, gap=gap)


@pytest.mark.parametrize("split", [random(), by_group(), blocks(), blocks(2)], ids=["random", "group", "blocks", "gap"])
def test_every_structure_is_in_one_place(split: Split) -> None:
    parts = split(structures(), NONE, 3)
    everything = [*parts.train, *parts.valid, *parts.test, *parts.left_out]
    assert sorted(everything) == list(range(100))
    assert parts.train
    assert parts.valid
    assert parts.test


@pytest.mark.parametrize("split", [random(), by_group(), blocks()], ids=["random", "group", "blocks"])
def test_same_seed_gives_the_same_parts(split: Split) -> None:
    assert split(structures(), NONE, 3) == split(structures(), NONE, 3)


def test_counts_and_fractions() -> None:
    parts = random(n_train=30, n_valid=7, n_test=0.2)(structures(), NONE, 0)
    assert (len(parts.train), len(parts.valid), len(parts.test), len(parts.left_out)) == (30, 7, 20, 43)


def test_groups_stay_whole() -> None:
    made = structures()
    parts = by_group()(made, NONE, 1)
    groups = [{made[index].info["group"] for index in part} for part in (parts.train, parts.valid, parts.test)]
    assert [len(part) for part in groups] == [3, 1, 1]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert not groups[1] & groups[2]


def test_groups_that_are_all_too_large_still_give_one_to_each_part() -> None:
    """15 of 150 are wanted and 50 are too many, but none would be too few."""
    parts = ByGroup(n_train=None, n_valid=0.1, n_test=0.1, valid_groups=[], test_groups=[])(structures(3, 50), NONE, 0)
    assert (len(parts.train), len(parts.valid), len(parts.test)) == (50, 50, 50)


def test_named_groups_are_tested() -> None:
    made = structures()
    parts = by_group(test_groups=["md_4"])(made, NONE, 1)
    assert parts.test == list(range(80, 100))
    with pytest.raises(DataError, match="expected one of md_0, md_1"):
        by_group(test_groups=["md_9"])(made, NONE, 1)


def test_blocks_are_contiguous_in_every_group() -> None:
    parts = blocks(gap=1)(structures(), NONE, 0)
    assert parts.train[:15] == [*range(14), 20]
    assert parts.valid[:4] == [15, 16, 35, 36]
    assert parts.test[:4] == [18, 19, 38, 39]
    assert parts.left_out[:3] == [14, 17, 34]


def test_files_of_their_own_keep_their_parts() -> None:
    made = structures()
    for index in range(50, 60):
        made[index].info[GIVEN] = "test"
    parts = random()(made, NONE, 0)
    assert parts.test == list(range(50, 60))
    assert len(parts.valid) == 9


def test_duplicate_of_a_given_test_structure_leaves_the_rest() -> None:
    made = structures()
    made[99] = made[3].copy()
    made[99].info[GIVEN] = "test"
    parts = random()(made, find_duplicates(made, tolerance=1e-3), 0)
    assert parts.test == [99]
    assert parts.left_out == [3]


def turned(atoms: Atoms) -> Atoms:
    other = atoms.copy()
    other.rotate(37, (1, 2, 3))
    other.translate((5, 6, 7))
    return other[[0, 2, 1]]


def test_duplicates_are_found_and_kept_on_one_side() -> None:
    made = structures()
    made[60], made[80] = made[5].copy(), turned(made[7])
    twins = find_duplicates(made, tolerance=1e-3)
    assert twins.exact == [[5, 60]]
    assert twins.near == [[5, 60], [7, 80]]
    for seed in range(10):
        parts = random(n_valid=0.3, n_test=0.3)(made, twins, seed)
        for pair in twins.near:
            assert sum(set(pair) <= set(part) for part in (parts.train, parts.valid, parts.test)) == 1


def test_different_structures_are_no_duplicates() -> None:
    assert find_duplicates(structures(), tolerance=1e-3) == NONE


def test_shape_without_validation_is_refused() -> None:
    with pytest.raises(DataError, match=r"data\.split, valid: expected at least one structure"):
        random(n_valid=0)(structures(), NONE, 0)


def test_more_than_there_is_is_refused() -> None:
    with pytest.raises(DataError, match="ask for: train 95, valid 10, test 10, found 100"):
        random(n_train=95)(structures(), NONE, 0)


def test_single_group_cannot_be_divided_by_group() -> None:
    with pytest.raises(DataError, match="at least one structure"):
        by_group()(structures(1), NONE, 0)


def test_ten_structures_give_one_for_validation() -> None:
    parts: Parts = random()(structures(1, 5), NONE, 0)
    assert (len(parts.train), len(parts.valid), len(parts.test)) == (3, 1, 1)


def test_one_structure_is_not_enough() -> None:
    with pytest.raises(DataError, match=r"ask for: train 1, valid 1, test 1, found 1\. Give more structures"):
        random()(structures(1, 1), NONE, 0)


def test_structures_that_are_all_the_same_are_said_to_be() -> None:
    same = structures(1, 1) * 30
    with pytest.raises(DataError, match="found none of 30, of which 30 hardly differ and stay together"):
        random()(same, find_duplicates(same, tolerance=0.05), 0)


def test_a_group_belongs_to_one_part():
    with pytest.raises(DataError, match="groups of no other part, found b, of valid"):
        by_group(valid_groups=["b"], test_groups=["b"]).assign(
            ["a", "b", "c"], {"train": 1, "valid": 1, "test": 1}, np.random.default_rng(0)
        )


def test_a_file_without_groups_is_told_how_to_name_them():
    with pytest.raises(DataError, match=r"expected one of all, found run4\. Correct the name, or name the key"):
        by_group(valid_groups=[], test_groups=["run4"]).assign(["all"] * 5, {"train": 3, "valid": 1, "test": 1}, np.random.default_rng(0))


def test_the_group_of_a_structure_in_a_file():
    atoms = Atoms("H", info={"config_type": "bulk", "run": 4})
    assert [group_in_file(atoms, key) for key in (None, "run")] == ["bulk", "4"]
    assert group_in_file(Atoms("H"), None) == "all"
    with pytest.raises(DataError, match=r"data\.group_key: expected info\['runn'\] .* \(its info has config_type, run\)"):
        group_in_file(atoms, "runn")
