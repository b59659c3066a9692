"""What a trajectory says: conservation of energy, temperature, and the distributions of bond lengths and angles."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float
from scipy.stats import wasserstein_distance

from nnpx import units
from nnpx.md.bonds import find_bonds
from nnpx.md.trajectory import Trajectory

#: blocks into which a series is cut to estimate the error of its mean or slope; few enough to be longer than a correlation time
_BLOCKS: Final = 10
#: bins of the distribution of all interatomic distances
_DISTANCE_BINS: Final = 240
#: most bins of one histogram; fewer where there are few samples
_MAX_BINS: Final = 60


@dataclass(frozen=True)
class Estimate:
    """A number and its standard error."""

    value: float
    error: float


@dataclass(frozen=True)
class Conservation:
    """How well an energy is conserved."""

    drift: Estimate  #: slope of the linear fit to the energy, meV per atom and ps
    fluctuation: float  #: standard deviation of the energy around the fit, meV per atom


@dataclass(frozen=True)
class Distribution:
    """One bond length or angle in two trajectories."""

    kind: str  #: elements, such as `C-H` or `H-C-H`
    unit: str  #: Å or °
    edges: Float[np.ndarray, " edge_of_bin"]  #: of the bins
    density: Float[np.ndarray, " bin"]  #: normalised to 1, per unit
    density_error: Float[np.ndarray, " bin"]  #: standard error
    reference: Float[np.ndarray, " bin"]  #: the density of the reference; NaN without one
    reference_error: Float[np.ndarray, " bin"]  #: standard error
    mean: Estimate  #: unit
    spread: float  #: standard deviation, unit
    reference_mean: Estimate
    reference_spread: float
    distance: float  #: Wasserstein distance between the two, unit
    noise: float  #: Wasserstein distance that two perfect runs as long as the reference would show; unit
    overlap: float  #: ∫ min(h, h_ref), 1 for equal histograms


def mean(series: Float[np.ndarray, " sample"]) -> Estimate:
    """Mean with the standard error from the scatter of block means (Flyvbjerg and Petersen 1989, doi:10.1063/1.457480)."""
    blocks = np.array([block.mean() for block in np.array_split(series, min(_BLOCKS, len(series)))])
    return Estimate(float(series.mean()), float(standard_error(blocks)))


def standard_error(blocks: Float[np.ndarray, "block ..."]) -> Float[np.ndarray, "..."]:
    """Of the mean of what is independent, such as blocks of a trajectory, from the scatter; NaN of a single one."""
    if len(blocks) < 2:
        return np.full(blocks.shape[1:], np.nan)
    return np.asarray(blocks.std(0, ddof=1) / np.sqrt(len(blocks)))


def slope(time: Float[np.ndarray, " sample"], series: Float[np.ndarray, " sample"]) -> Estimate:
    """Least-squares slope; its error from the scatter of block means around the line, which correlated samples do not fool."""
    if len(time) < 3:
        return Estimate(float("nan"), float("nan"))
    gradient, offset = np.polyfit(time, series, 1)
    count = min(_BLOCKS, len(time))
    residual = np.array([block.mean() for block in np.array_split(series - gradient * time - offset, count)])
    middle = np.array([block.mean() for block in np.array_split(time, count)])
    variance = (residual**2).sum() / max(count - 2, 1) / ((middle - middle.mean()) ** 2).sum()
    return Estimate(float(gradient), float(np.sqrt(variance)))


def conservation(trajectory: Trajectory) -> Conservation:
    """Drift and fluctuation of what is conserved, over the sampled part."""
    per_atom = trajectory.conserved / len(trajectory.start) / units.meV
    drift = slope(trajectory.time_ps, per_atom)
    residual = per_atom - drift.value * trajectory.time_ps
    return Conservation(drift, float(residual.std()))


def distributions(trajectory: Trajectory, reference: Trajectory | None, bond_factor: float) -> list[Distribution]:
    """Bond lengths by pair of elements and angles by triple, compared with a reference where there is one.

    The bonds are those of the start of the first trajectory, so both must start from the same molecule.
    """
    samples = _bonded(trajectory, bond_factor)
    other = _bonded(reference, bond_factor, like=trajectory) if reference is not None else {}
    return [
        _compare(kind, "Å" if kind.count("-") == 1 else "°", values, other.get(kind, np.full((1, 1), np.nan)))
        for kind, values in samples.items()
    ]


def distance_distribution_error(trajectory: Trajectory, reference: Trajectory) -> float:
    """Mean absolute difference ∫ |h(r) − h_ref(r)| dr of the distribution of all interatomic distances, 0 … 2.

    Without a cell. Fu et al. 2023, doi:10.48550/arXiv.2210.07237.
    """
    one, two = _all_distances(trajectory), _all_distances(reference)
    edges = np.linspace(min(one.min(), two.min()), max(one.max(), two.max()), _DISTANCE_BINS + 1)
    difference = np.histogram(one, edges, density=True)[0] - np.histogram(two, edges, density=True)[0]
    return float((np.abs(difference) * np.diff(edges)).sum())


def _all_distances(trajectory: Trajectory) -> Float[np.ndarray, " value"]:
    first, second = np.triu_indices(len(trajectory.start), 1)
    return np.asarray(np.linalg.norm(trajectory.positions[:, first] - trajectory.positions[:, second], axis=-1)).ravel()


def _bonded(
    trajectory: Trajectory, bond_factor: float, like: Trajectory | None = None
) -> dict[str, Float[np.ndarray, "sample coordinate"]]:
    """Lengths and angles of every frame by elements, with the bonds of `like`."""
    bonds = find_bonds((like or trajectory).start, bond_factor)
    cell, frames = trajectory.cell, trajectory.positions
    lengths = bonds.lengths(frames, cell)
    found = {kind: lengths[:, chosen] for kind, chosen in bonds.by_elements().items()}
    return {**found, **bonds.angles(frames, cell)}


def _compare(
    kind: str, unit: str, samples: Float[np.ndarray, "sample coordinate"], reference: Float[np.ndarray, "other_sample other_coordinate"]
) -> Distribution:
    values, others = samples.ravel(), reference.ravel()
    known = bool(np.isfinite(others).all())
    both = np.concatenate([values, others]) if known else values
    # Rice's rule: twice the cube root of the number of samples
    bins = min(_MAX_BINS, math.ceil(2.0 * len(values) ** (1 / 3)))
    edges = np.linspace(both.min(), both.max() + 1e-9, bins + 1)
    density, density_error = _density(samples, edges)
    expected, reference_error = _density(reference, edges) if known else np.full((2, bins), np.nan)
    half = len(reference) // 2
    nan = float("nan")
    return Distribution(
        kind=kind,
        unit=unit,
        edges=edges,
        density=density,
        density_error=density_error,
        reference=expected,
        reference_error=reference_error,
        mean=mean(samples.mean(1)),
        spread=float(values.std()),
        reference_mean=mean(reference.mean(1)),
        reference_spread=float(others.std()),
        distance=float(wasserstein_distance(values, others)) if known else nan,
        # halves have half as many samples, and a distance that is √2 times as large
        noise=float(wasserstein_distance(reference[:half].ravel(), reference[half:].ravel()) / np.sqrt(2.0)) if known and half else nan,
        overlap=float((np.minimum(density, expected) * np.diff(edges)).sum()),
    )


def _density(samples: Float[np.ndarray, "sample coordinate"], edges: Float[np.ndarray, " edge_of_bin"]) -> tuple[np.ndarray, np.ndarray]:
    """Histogram, and its standard error from the scatter of those of blocks of the trajectory."""
    blocks = np.array_split(samples, min(_BLOCKS, len(samples)))
    scatter = standard_error(np.array([np.histogram(block, edges, density=True)[0] for block in blocks]))
    return np.histogram(samples, edges, density=True)[0], scatter
