"""What is kept of the ways of walkers is where they were, what was measured there, and what became of them."""

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import read
from learning.loops import loop, set_up

from nnpx.acquisition.threshold import Limits, Threshold
from nnpx.artifact import load
from nnpx.errors import GeometryError
from nnpx.learning.uncertainty import of_structures
from nnpx.md.batched import BatchedDynamics
from nnpx.md.walker import read_walker
from nnpx.neighbors import graph_from_list


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines of the tests are trusted."""
    set_up(monkeypatch)


def agrees(frames: list[Atoms], round_before: Path) -> bool:
    """Whether each frame has the uncertainty that the potential of the round before predicts for it."""
    potential = load(round_before / "potential.nnpx")
    graph = graph_from_list(frames, numbers=potential.numbers, cutoff=potential.cutoff_radius, where="frames")
    return np.allclose([atoms.info["uncertainty"] for atoms in frames], of_structures(potential, graph)[0], rtol=1e-3)


def walk(spoiled: Path) -> dict[str, list[Atoms]]:
    """The frames of every walker in the first round, of which every second look is kept."""
    one = loop(spoiled)
    one._walk(one.place(0), one.place(1), 1)
    return {name: read(one.place(1).trail(name), ":") for name in one.settings.walkers.names}


@pytest.mark.parametrize(("limits", "fate"), [(Limits(0.0, 1e9, farthest=0.0), "on foreign ground"), (Limits(0.0, 1e-9), "lost")])
def test_beyond_the_band_a_frame_says_what_was_measured_and_not_where_the_band_ends(
    limits: Limits, fate: str, spoiled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Threshold, "limits", lambda self, *measured: limits)
    for frames in walk(spoiled).values():
        assert [atoms.info["fate"] for atoms in frames] == [fate]
        assert agrees(frames, spoiled / "learn/round_00")


def test_a_walker_that_the_potential_cannot_follow_ends_where_it_was_seen_last(spoiled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second walker from its second look on, after 16 fs: that look is kept, and the fate beside it without a measurement."""
    advance = BatchedDynamics.advance

    def refuses(batch: BatchedDynamics, steps: int, active: list[int], **how: object) -> object:
        if 1 in active and batch.walkers[1].step == 8:
            raise GeometryError("walker 1", expected="a structure", found="none", do="Leave it.")
        return advance(batch, steps, active, **how)

    monkeypatch.setattr(BatchedDynamics, "advance", refuses)
    frames = list(walk(spoiled).values())[1]
    assert [atoms.info["time_fs"] for atoms in frames] == [0.0, 16.0, 16.0]
    assert [atoms.info.get("fate") for atoms in frames] == [None, None, "absurd"]
    np.testing.assert_array_equal(frames[1].positions, frames[2].positions)
    assert "uncertainty" not in frames[2].info
    assert agrees(frames[:2], spoiled / "learn/round_00")


def test_the_way_of_a_walker_can_be_looked_at(finished: Path) -> None:
    """Its start in the round, then a frame every 16 fs, and what it came to where it did not arrive."""
    for number in (1, 2):
        here = finished / f"learn/round_0{number}"
        for k, told in enumerate(json.loads((here / "walkers.json").read_text())["walkers"]):
            frames = read(here / f"walkers/{told['name']}.extxyz", ":")
            start = read_walker(finished / f"learn/round_0{number - 1}/walkers/{k:03d}.npz")
            np.testing.assert_array_equal(frames[0].positions, start.atoms.positions)
            times = np.array([atoms.info["time_fs"] for atoms in frames]) - 2.0 * start.step
            expected = [*np.arange(0.0, 1000 * told["walked_ps"] + 1e-6, 16.0)]
            if told["fate"] != "arrived":
                expected += [1000 * told["walked_ps"]] if 1000 * told["walked_ps"] % 16.0 else []
                assert frames[-1].info["fate"] == told["fate"]
            np.testing.assert_allclose(times, expected)
            assert agrees([atoms for atoms in frames if "uncertainty" in atoms.info], finished / f"learn/round_0{number - 1}")
            assert all("uncertainty" in atoms.info for atoms in frames if atoms.info.get("fate") != "absurd")


def test_looks_are_kept_as_often_as_was_asked_for_and_nothing_that_an_earlier_attempt_left(spoiled: Path) -> None:
    """Of eleven looks every one, the first, or none."""
    for keep, n_frames in (("8.0", {11}), ("1000.0", {1}), ("null", {0})):
        one = loop(spoiled, f"learning.walkers.keep_every_fs={keep}")
        one._walk(one.place(0), one.place(1), 1)
        trails = [one.place(1).trail(name) for name in one.settings.walkers.names]
        assert {len(read(path, ":")) if path.is_file() else 0 for path in trails} == n_frames
