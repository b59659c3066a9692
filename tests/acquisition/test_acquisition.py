"""Batches are diverse where they say so, never repeat themselves, and the band is what its formula says."""

from itertools import combinations

import numpy as np
import pytest

from nnpx.acquisition import Acquisition, Pool
from nnpx.acquisition.threshold import Limits, Threshold
from nnpx.config import compose, conf_dir, instantiate

OPTIONS = sorted(path.stem for path in (conf_dir() / "acquisition").glob("*.yaml"))


def option(name: str, n_selected: int) -> Acquisition:
    return instantiate(compose([f"acquisition={name}", f"acquisition.n_selected={n_selected}"]).acquisition)


def pool_of(points: np.ndarray, known: np.ndarray | None = None) -> Pool:
    """The same points in both spaces."""
    known = np.zeros((0, points.shape[1])) if known is None else known
    return Pool(points, known, points, known)


def crowd() -> np.ndarray:
    """Ninety points in one heap, and ten far from it and from each other."""
    random = np.random.default_rng(0)
    return np.concatenate([0.1 * random.standard_normal((90, 3)), 20 * random.standard_normal((10, 3))])


@pytest.mark.parametrize("name", OPTIONS)
def test_a_batch_has_no_structure_twice_and_is_as_large_as_asked_for(name: str) -> None:
    chosen = option(name, 12).choose(pool_of(crowd(), crowd()[:2]), np.random.default_rng(1))
    assert len(set(chosen)) == len(chosen) == 12
    assert all(0 <= index < 100 for index in chosen)


@pytest.mark.parametrize("name", OPTIONS)
def test_a_batch_is_no_larger_than_the_candidates_and_the_same_for_the_same_generator(name: str) -> None:
    points = crowd()[:5]
    one, two = (option(name, 12).choose(pool_of(points), np.random.default_rng(1)) for _ in range(2))
    assert one == two
    assert sorted(one) == list(range(5))


@pytest.mark.parametrize("name", OPTIONS)
def test_nothing_is_chosen_from_nothing(name: str) -> None:
    assert option(name, 3).choose(pool_of(np.zeros((0, 3))), np.random.default_rng(0)) == []


@pytest.mark.parametrize("name", ["max_dist", "farthest_point", "lcmd"])
def test_a_copy_of_what_is_labelled_or_chosen_is_never_chosen(name: str) -> None:
    points = np.repeat(np.eye(3), 4, axis=0)
    chosen = option(name, 12).choose(pool_of(points, np.eye(3)[:1]), np.random.default_rng(0))
    assert sorted(points[chosen].argmax(1).tolist()) == [1, 2]


@pytest.mark.parametrize("name", ["max_dist", "farthest_point", "lcmd"])
def test_a_diverse_batch_is_farther_apart_than_a_random_one(name: str) -> None:
    points = crowd()

    def closest(chosen: list[int]) -> float:
        return min(float(np.linalg.norm(points[i] - points[j])) for i, j in combinations(chosen, 2))

    diverse = closest(option(name, 8).choose(pool_of(points), np.random.default_rng(0)))
    by_chance = option("random", 8)
    drawn = [closest(by_chance.choose(pool_of(points), np.random.default_rng(seed))) for seed in range(50)]
    assert diverse > max(drawn)


def test_max_dist_is_the_loop_of_its_formula() -> None:
    random = np.random.default_rng(3)
    points, known = random.standard_normal((30, 4)), random.standard_normal((5, 4))
    centers, expected = list(known), []
    for _ in range(6):
        best = max(range(30), key=lambda c: min(float(np.linalg.norm(points[c] - one)) for one in centers))
        expected.append(best)
        centers.append(points[best])
    assert option("max_dist", 6).choose(pool_of(points, known), random) == expected


def test_lcmd_is_the_loop_of_its_formula() -> None:
    random = np.random.default_rng(4)
    points, known = random.standard_normal((40, 3)), random.standard_normal((4, 3))
    chosen = option("lcmd", 7).choose(pool_of(points, known), random)
    centers, expected = list(known), []
    for turn in range(7):
        nearest = [min(range(len(centers)), key=lambda k: float(np.sum((x - centers[k]) ** 2))) for x in points]
        away = [float(np.sum((x - centers[k]) ** 2)) for x, k in zip(points, nearest, strict=True)]
        size = [sum(d for d, k in zip(away, nearest, strict=True) if k == c) for c in range(len(centers))]
        largest = size.index(max(size))
        inside = [c for c in range(40) if nearest[c] == largest] if turn else list(range(40))
        best = max(inside, key=lambda c: away[c])
        expected.append(best)
        centers.append(points[best])
    assert chosen == expected


def test_lcmd_goes_to_the_heap_that_max_dist_leaves_for_last() -> None:
    """One labelled point, a far pair and a large heap: the rim has the largest distance, the heap the largest sum of squares."""
    random = np.random.default_rng(5)
    heap = np.array([3.0, 0.0]) + 0.5 * random.standard_normal((200, 2))
    rim = np.array([[-20.0, 0.0], [20.0, 20.0]])
    points, known = np.concatenate([heap, rim]), np.zeros((1, 2))
    shares = {name: sum(c < 200 for c in option(name, 6).choose(pool_of(points, known), random)) for name in ("lcmd", "max_dist")}
    assert shares["lcmd"] >= shares["max_dist"]


def band(error_factor: float = 3.0, floor: float = 0.1, upper_factor: float = 5.0, distance_factor: float | None = 15.0) -> Threshold:
    return Threshold(error_factor=error_factor, floor=floor, upper_factor=upper_factor, distance_factor=distance_factor)


def test_the_band_begins_where_its_largest_reason_says() -> None:
    one, nothing = band(error_factor=2.0, upper_factor=4.0), np.full(3, np.nan)
    spread, error = np.array([0.01, 0.02, 0.03]), np.array([0.3, 0.4, 0.5])
    assert one.limits(spread, error, nothing).lower == pytest.approx(0.8)
    assert one.limits(10 * spread, 0 * error, nothing).lower == pytest.approx(0.4)
    assert one.limits(0 * spread, 0 * error, nothing) == Limits(0.1, 0.4, np.inf)
    assert one.limits(*np.zeros((3, 0))) == one.limits(nothing, nothing, nothing) == Limits(0.1, 0.4, np.inf)


def test_the_band_holds_as_far_as_a_multiple_of_the_usual_distance() -> None:
    """An element whose training environments do not differ is infinitely far from all, which says nothing of what is usual."""
    spread, distance = np.full(4, 0.05), np.array([1.0, 2.0, 9.0, np.inf])
    assert band().limits(spread, spread, distance).farthest == pytest.approx(30.0)
    assert band(distance_factor=None).limits(spread, spread, distance).farthest == np.inf
    assert band().limits(spread, spread, np.full(4, np.inf)).farthest == np.inf


def test_a_structure_that_went_wrong_does_not_lift_the_band() -> None:
    """One of six, drawn where a young potential led to: else nothing would be uncertain any more, and the loop would stand still."""
    usual, wild = np.array([0.2, 0.2, 0.25, 0.25, 0.3, 0.2]), np.array([0.2, 0.2, 0.25, 0.25, 0.3, 7.0])
    assert band().limits(wild, wild, wild).lower <= 1.25 * band().limits(usual, usual, usual).lower
    assert band().limits(wild, wild, wild).farthest <= 1.25 * band().limits(usual, usual, usual).farthest


def test_structures_without_labelled_forces_say_nothing_of_the_error() -> None:
    spread = np.full(3, 0.05)
    assert band().limits(spread, np.array([0.4, np.nan, 0.4]), spread).lower == pytest.approx(1.2)
    assert band().limits(spread, np.full(3, np.nan), spread).lower == pytest.approx(0.15)


def test_every_frame_is_a_candidate_where_the_floor_is_tiny_and_the_band_wide() -> None:
    wide = band(error_factor=0.0, floor=1e-6, upper_factor=1e9, distance_factor=None)
    everything = wide.limits(np.array([0.2]), np.array([0.1]), np.array([1.0]))
    assert everything.holds(1e-5)
    assert everything.holds(100.0)


def test_a_structure_at_the_lower_end_is_certain_and_at_the_upper_end_a_candidate() -> None:
    limits = Limits(0.1, 0.4)
    assert [limits.holds(value) for value in (0.1, 0.1001, 0.4, 0.4001, np.inf)] == [False, True, True, False, False]
