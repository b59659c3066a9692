"""How atoms are arranged around one another, and how far they wander; with errors from the scatter of blocks of the trajectory."""

from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Final

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from jaxtyping import Float

from nnpx.md.observables import Estimate, standard_error
from nnpx.md.trajectory import Trajectory
from nnpx.neighbor_search import pairs_within

#: width of the bins of distances, Å
_BIN: Final = 0.05
#: what is farther apart than this in an open structure that began smaller has left it, Å
_FARTHEST: Final = 100.0
#: blocks into which a trajectory is cut
BLOCKS: Final = 5
#: frames that distances are taken of; more are correlated
FRAMES: Final = 500
#: lags of a displacement in units of the length of a block: late enough to have forgotten the first velocity, early enough to be averaged
_LAGS: Final = (0.1, 0.5)
#: fewer lags do not tell a line from a curve
_FEWEST_LAGS: Final = 4


@dataclass(frozen=True)
class RadialDistribution:
    """Distances between two elements: g(r) in a cell, which is 1 where nothing is correlated; else h(r), whose integral is 1 (1/Å).

    The integral is less by what left an open structure, farther than 100 Å.
    """

    pair: str  #: such as `H-O`, in alphabetical order
    distance: Float[np.ndarray, " bin"]  #: middle of the bin, Å
    value: Float[np.ndarray, " bin"]  #: g or h
    error: Float[np.ndarray, " bin"]  #: standard error
    is_periodic: bool  #: whether it is g


@dataclass(frozen=True)
class Displacement:
    """How far an element has wandered after a time, and the line whose slope is six times its coefficient of diffusion."""

    symbol: str
    lag_ps: Float[np.ndarray, " lag"]  #: those of the fit; none where the trajectory is too short
    square: Float[np.ndarray, " lag"]  #: ⟨|r(t + τ) − r(t)|²⟩, Å²
    error: Float[np.ndarray, " lag"]  #: standard error, Å²
    line: Estimate  #: slope, Å²/ps
    offset: float  #: of the line, Å²


def radial_distributions(trajectory: Trajectory) -> list[RadialDistribution]:
    """Of every pair of elements, in a cell or in a molecule; a slab or a wire has none.

        g_ab(r) = V n_ab(r) / (N_a N_b′ 4π r² Δr)          N_b′ = N_b, less 1 where a = b, so that an ideal gas has g = 1

    with n_ab(r) the pairs in the bin of width Δr; in a cell up to half its smallest height.
    """
    start, structures = trajectory.start, trajectory.structures(FRAMES)
    frames, cells = np.array([atoms.positions for atoms in structures]), np.array([atoms.cell.array for atoms in structures])
    is_periodic = bool(start.pbc.all())
    if start.pbc.any() and not is_periodic:
        return []
    reach = _half_height(cells) if is_periodic else _extent(frames) + 2.0 * _BIN  # so that the last edge is beyond the longest distance
    edges = np.arange(0.0, reach, _BIN)
    elements = sorted({int(number) for number in start.numbers}, key=lambda number: chemical_symbols[number])
    pairs = list(combinations_with_replacement(elements, 2))
    counts = np.array([_histograms(atoms, edges, pairs) for atoms in structures], dtype=float)
    if is_periodic:  # as many as there would be in the volume of the start
        counts *= (np.abs(np.linalg.det(cells)) / start.get_volume())[:, None, None]
    density = 4.0 / 3.0 * np.pi * np.diff(edges**3) / start.get_volume() if is_periodic else np.full(len(edges) - 1, _BIN)
    found = []
    for (one, two), of_pair in zip(pairs, counts.transpose(1, 0, 2), strict=True):
        norm = _n_ordered(start, one, two) * density
        if of_pair.any():
            blocks = np.array([block.mean(0) / norm for block in np.array_split(of_pair, min(BLOCKS, len(of_pair)))])
            name = f"{chemical_symbols[one]}-{chemical_symbols[two]}"
            found.append(RadialDistribution(name, edges[:-1] + 0.5 * _BIN, of_pair.mean(0) / norm, standard_error(blocks), is_periodic))
    return found


def diffusion(trajectory: Trajectory) -> dict[str, Estimate]:
    """Einstein's coefficient of every element, Å²/ps (10⁻⁴ cm²/s), from the slope of the squared displacements.

        D = 1/6 d/dτ ⟨|r(t + τ) − r(t)|²⟩,   r relative to the centre of mass

    The error holds what blocks differ by, and by how much the displacements are no line: before an atom has left its cage, and in a solid
    for ever, they are not, and the coefficient is zero within an error that may be large. The size of the cell lowers it by
    2.837 kT/(6πηL) (Yeh and Hummer 2004, doi:10.1021/jp0477147).
    """
    return {one.symbol: Estimate(one.line.value / 6.0, one.line.error / 6.0) for one in displacements(trajectory)}


def displacements(trajectory: Trajectory) -> list[Displacement]:
    """Squared displacements of every element relative to the centre of mass, up to half a block of a fifth of the trajectory."""
    masses = trajectory.start.get_masses()
    centre = np.einsum("a,fai->fi", masses, trajectory.positions) / masses.sum()
    places = trajectory.positions - centre[:, None]
    length = len(places) // BLOCKS
    lags = np.unique(np.linspace(_LAGS[0] * length, _LAGS[1] * length, 20).astype(int))
    lags = lags[lags > 0]
    found = []
    for number in sorted({int(number) for number in trajectory.start.numbers}):
        own, symbol = places[:, trajectory.start.numbers == number], chemical_symbols[number]
        if len(lags) < _FEWEST_LAGS:
            found.append(Displacement(symbol, np.zeros(0), np.zeros(0), np.zeros(0), Estimate(np.nan, np.nan), np.nan))
            continue
        blocks = np.array([_squares(own[k * length : (k + 1) * length], lags) for k in range(BLOCKS)])
        time = lags * float(trajectory.time_ps[1] - trajectory.time_ps[0])
        slopes, offsets = np.polyfit(time, blocks.T, 1)
        line = Estimate(float(slopes.mean()), float(np.hypot(standard_error(slopes), _bend(time, blocks))))
        found.append(Displacement(symbol, time, blocks.mean(0), standard_error(blocks), line, float(offsets.mean())))
    return found


def _bend(time: Float[np.ndarray, " lag"], blocks: Float[np.ndarray, "block lag"]) -> float:
    """Half of what the slopes of both halves of the curves differ by, beyond the scatter of the blocks; zero of straight lines."""
    half = len(time) // 2
    bends = np.polyfit(time[half:], blocks.T[half:], 1)[0] - np.polyfit(time[:half], blocks.T[:half], 1)[0]
    return 0.5 * float(np.sqrt(max(0.0, bends.mean() ** 2 - standard_error(bends) ** 2)))


def _squares(places: Float[np.ndarray, "frame atom 3"], lags: np.ndarray) -> Float[np.ndarray, " lag"]:
    """Mean squared displacement after every lag, Å²."""
    return np.array([((places[lag:] - places[:-lag]) ** 2).sum(-1).mean() for lag in lags])


def _histograms(atoms: Atoms, edges: np.ndarray, pairs: list[tuple[int, int]]) -> np.ndarray:
    """Ordered pairs in every bin, by pair of elements."""
    i, j, _, distance = pairs_within(atoms, float(edges[-1]))
    ends = atoms.numbers[i], atoms.numbers[j]
    return np.array([np.histogram(distance[(ends[0] == one) & (ends[1] == two)], edges)[0] for one, two in pairs])


def _n_ordered(start: Atoms, one: int, two: int) -> int:
    """Pairs of an atom of one element and another atom of the other, or of the same."""
    first, second = (int((start.numbers == number).sum()) for number in (one, two))
    return first * (second - (one == two))


def _extent(frames: Float[np.ndarray, "frame atom 3"]) -> float:
    """The longest diagonal of a box around the atoms of an open structure, Å, without what left it."""
    diagonals = np.linalg.norm(np.ptp(frames, axis=1), axis=1)
    return float(min(diagonals.max(), max(diagonals[0], _FARTHEST)))


def _half_height(cells: Float[np.ndarray, "frame 3 3"]) -> float:
    """Half the smallest distance between two faces of any of the cells, Å; further away atoms meet their own images."""
    heights = 1.0 / np.linalg.norm(np.linalg.inv(cells), axis=-2)
    return 0.5 * float(heights.min())
