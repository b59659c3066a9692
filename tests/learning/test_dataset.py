"""The data of a round: what validated for long enough is trained on."""

from pathlib import Path

import pytest
from ase import Atoms
from learning.loops import config

from nnpx.config import instantiate
from nnpx.data.frames import attach, write
from nnpx.data.reader import read
from nnpx.errors import ConfigError
from nnpx.files import read_json, write_json
from nnpx.learning.dataset import grow, parts_of


def structure(number: int) -> Atoms:
    """Told from all others by its distance."""
    return attach(Atoms("Cu2", [[0.0, 0.0, 0.0], [0.0, 0.0, 2.2 + 0.05 * number]]), energy=0.1 * number, forces=None, stress=None)


def numbers(structures: list[Atoms]) -> list[int]:
    return [round((atoms.get_distance(0, 1) - 2.2) / 0.05) for atoms in structures]


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """Two to train on, three to validate with, of which two have been drawn, one to test."""
    folder = tmp_path / "round_00"
    for name, part in {"train": (0, 1), "valid": (2, 3, 4), "test": (5,)}.items():
        write(folder / f"{name}.extxyz", [structure(number) for number in part])
    write_json(folder / "card.json", {"isolated_atoms": {}, "level_of_theory": "counted"})
    return folder


@pytest.mark.parametrize(
    ("n_valid", "train", "valid"),
    [(9, [0, 1, 6], [2, 3, 4, 7, 8]), (4, [0, 1, 6], [2, 3, 4, 7, 8]), (3, [0, 1, 6, 3], [2, 4, 7, 8]), (2, [0, 1, 6, 3, 4], [2, 7, 8])],
)
def test_the_newest_validate_and_the_others_are_trained_on(start: Path, n_valid: int, train: list[int], valid: list[int]) -> None:
    after = start.parent / "round_01"
    new = {"train": [structure(6)], "valid": [structure(7), structure(8)]}
    grow(start, after, **new, isolated={}, n_start=1, n_valid=n_valid, near_duplicate=1e-3)
    parts = parts_of(after)
    assert (numbers(parts["train"]), numbers(parts["valid"]), numbers(parts["test"])) == (train, valid, [5])
    assert read_json(after / "card.json")["counts"] == {"train": len(train), "valid": len(valid), "test": 1}
    assert numbers(read(start / "valid.extxyz")) == [2, 3, 4]


def test_a_validation_set_smaller_than_what_a_round_draws_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"learning.n_valid: expected at least learning.n_drawn = 2"):
        instantiate(config("learning.n_valid=1").learning)
