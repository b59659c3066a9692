"""Where walkers begin: also where the potential knows nothing yet."""

import json
from pathlib import Path

import numpy as np
import pytest
from ase.cluster import Octahedron
from ase.constraints import FixAtoms
from ase.io import read, write
from learning.loops import config, loop
from omegaconf import DictConfig

from nnpx.errors import ConfigError, GeometryError
from nnpx.learning.rounds import Loop
from nnpx.verbs import run_verb

#: beyond any uncertainty that there is
LOST = ("acquisition.band.error_factor=0", "acquisition.band.floor=1e-9", "learning.walkers.structures=other.xyz")


def other(folder: Path) -> None:
    """A structure far from all that is known."""
    atoms = Octahedron("Cu", 2)
    atoms.positions *= 0.85
    write(folder / "other.xyz", atoms)


@pytest.mark.slow
def test_a_start_beyond_the_band_is_labelled_once_and_a_loop_that_cannot_go_on_says_so(project: Path) -> None:
    other(project)
    one = loop(project, *LOST, "learning.stopping.max_rounds=5")
    rows, verdict = one.run(lambda rows: None)
    first = read(project / "learn/round_01/labelled.extxyz", ":")
    assert [atoms.info["why"] for atoms in first] == ["new"]
    np.testing.assert_allclose(first[0].positions, read(project / "other.xyz").positions)
    assert rows[0]["n_train"] == len(read(project / "learn/round_00/data/train.extxyz", ":")) + 1
    assert rows[0]["candidate_fraction"] == 1.0
    assert verdict.startswith("stuck")
    assert len(rows) == 2


@pytest.mark.slow
def test_a_file_of_starts_is_read_once(project: Path) -> None:
    other(project)
    one = loop(project, "learning.walkers.structures=other.xyz", "learning.stopping.max_rounds=1")
    one._begin()
    (project / "other.xyz").unlink()
    rows, _ = loop(project, "learning.walkers.structures=other.xyz", "learning.stopping.max_rounds=1").run(lambda rows: None)
    assert len(rows) == 1
    assert json.loads((project / "learn/round_01/walkers.json").read_text())["walkers"]


def test_what_is_fixed_is_not_moved(project: Path) -> None:
    other(project)
    fixed = read(project / "other.xyz")
    fixed.set_constraint(FixAtoms([0]))
    write(project / "other.xyz", fixed)
    with pytest.raises(ConfigError, match="FixAtoms"):
        loop(project, "learning.walkers.structures=other.xyz")._begin()
    assert not (project / "learn/round_00/calls.jsonl").exists()


def test_a_start_that_makes_no_sense_is_named_with_its_file(project: Path) -> None:
    other(project)
    nowhere = read(project / "other.xyz")
    nowhere.positions[1, 2] = np.nan
    write(project / "other.xyz", [read(project / "other.xyz"), nowhere])
    with pytest.raises(GeometryError, match=r"structure 1 of other\.xyz: expected finite positions and cell, found nan"):
        loop(project, "learning.walkers.structures=other.xyz")._begin()


def test_data_that_another_command_changes_are_made_anew(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may come between the preparation of the data and their copy."""
    prepared = []

    def prepare(verb: str, config: DictConfig, workspace: Path, *, alone: bool) -> None:
        run_verb(verb, config, workspace, alone=alone)
        prepared.append(verb)
        if len(prepared) == 1:
            (workspace / "data/prepared/card.json").write_text("{}")

    def claim(loop: Loop) -> None:
        raise StopIteration

    monkeypatch.setattr("nnpx.verbs.run_verb", prepare)
    monkeypatch.setattr(Loop, "claim", claim)
    with pytest.raises(StopIteration):
        run_verb("learn", config(), project, alone=True)
    assert prepared == ["prepare", "prepare"]


def test_what_the_start_cost_is_known_when_data_holds_another_set(project: Path) -> None:
    before = loop(project)._n_start
    (project / "data/labels.json").write_text(json.dumps({"n_structures": 999}))
    assert loop(project)._n_start == before < 999
