"""What simulations have shown, as tables."""

from collections.abc import Sequence

from nnpx.md.study import Metrics, Study
from nnpx.report import Cell, Picture, Section, Table


def overview(studies: Sequence[Study]) -> Table:
    """One column per run."""
    found = [(study, study.metrics()) for study in studies]
    rows: list[tuple[Cell, ...]] = [
        ("length (ps)", *(study.dynamics.steps * study.dynamics.timestep_fs / 1000.0 for study, _ in found)),
        ("temperature (K)", *(_with_error(one, "temperature_K", "temperature_error_K") for _, one in found)),
        (
            "drift of the total energy (meV/atom/ps)",
            *(_with_error(one, "drift_meV_per_atom_per_ps", "drift_error_meV_per_atom_per_ps") for _, one in found),
        ),
        ("its fluctuation (meV/atom)", *(one.get("sigma_total_meV_per_atom") for _, one in found)),
        ("spread of the members (meV/atom)", *(one["spread_meV_per_atom"] for _, one in found)),
        ("speed (ns/day)", *(one["ns_per_day"] for _, one in found)),
        ("wall time (s)", *(one["wall_s"] for _, one in found)),
    ]
    return Table("Simulation", ("", *(study.name for study in studies)), rows)


def _with_error(found: Metrics, key: str, error: str) -> str | None:
    value = found.get(key)
    return None if value is None else f"{value:.3g} ± {found.get(error) or 0.0:.1g}"


def comparison(study: Study) -> Table:
    """One line per bond and angle: potential, reference, and how far apart they are."""
    rows: list[Sequence[Cell]] = [
        (
            f"{one.kind} ({one.unit})",
            f"{one.mean:.4g} ± {one.spread:.2g}",
            f"{one.reference_mean:.4g} ± {one.reference_spread:.2g}",
            one.distance,
            one.noise,
            one.overlap,
        )
        for one in (study.distributions() if study.reference else ())
    ]
    columns = ("bond or angle", "potential", "reference", "distance", "noise", "overlap")
    return Table(f"{study.name} against the reference engine", columns, rows)


def tables(studies: Sequence[Study]) -> list[Table]:
    """The overview, and a comparison where there is a reference."""
    return [overview(studies), *(comparison(study) for study in studies if study.reference)]


def sections(studies: Sequence[Study], drawn: Sequence[Picture]) -> list[Section]:
    """The page of a simulation."""
    notes = " ".join(f"{study.name} was not compared: {study.note}" for study in studies if study.note)
    text = f"Distance: Wasserstein distance between the two distributions; noise: the same between the halves of the reference. {notes}"
    return [Section("Simulation", tables=tables(studies), figures=drawn, text=text.strip())]
