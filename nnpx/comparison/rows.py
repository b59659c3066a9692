"""What is known of one run: what was chosen, what came out, what it cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from nnpx.files import read_json
from nnpx.report import of_potential

#: the choice over which everything is averaged
SEED: Final = "seed"


@final
@dataclass(frozen=True)
class Quantity:
    """A number of a run: its name in MLflow, its name in a table, the unit there, and the factor to that unit."""

    key: str
    name: str
    unit: str
    factor: float


#: errors; those of the test set exist only where `nnpx evaluate` has run, and decide nothing
ERRORS: Final = tuple(
    Quantity(f"{part}/{key}_mae", f"{name}{said}", unit, 1e3)
    for part, said in (("valid", ""), ("test", ", test"))
    for key, name, unit in (("energy_per_atom", "energy", "meV/atom"), ("forces", "forces", "meV/Å"), ("stress", "stress", "meV/Å³"))
)
COSTS: Final = (
    Quantity("us_per_atom", "prediction", "µs/atom", 1.0),
    Quantity("train_wall_s", "training", "s", 1.0),
    Quantity("n_parameters", "parameters", "", 1.0),
)
#: the error by which runs are ranked: the first that all of them have
DECISIVE: Final = (ERRORS[1], ERRORS[0])


@final
@dataclass(frozen=True)
class Row:
    """One run.

    Attributes:
        name: what it is called.
        choices: what was chosen, by key.
        found: errors (eV, Å) and costs under the names that they have in MLflow.
        failure: why there is nothing.
        measured_on: the checksum of the validation set; empty where it is not known.
    """

    name: str
    choices: Mapping[str, str]
    found: Mapping[str, float]
    failure: str = ""
    measured_on: str = ""


def row_of_folder(folder: Path, choices: Mapping[str, str], name: str, failure: str = "") -> Row:
    """The run whose potential lies in the folder's models/; empty where there is none."""
    training = read_json(folder / "models" / "training.json")
    potential = folder / "models" / "potential.nnpx"
    evaluation = of_potential(folder / "reports" / "evaluation" / "metrics.json", potential).get("test", {})
    tested = {f"test/{key}_mae": one["mae"] for key, one in evaluation.items() if isinstance(one, Mapping) and "mae" in one}
    return Row(name, choices, {**tested, **training.get("outcome", {})}, failure, training.get("valid_md5", ""))


def brief(row: Row) -> str:
    """The errors on the validation set and the time of training in a few words."""
    shown = [*ERRORS[:3], COSTS[1]]
    return ", ".join(f"{one.name} {row.found[one.key] * one.factor:.3g} {one.unit}" for one in shown if one.key in row.found)


def factors(rows: Sequence[Row]) -> list[str]:
    """The choices that differ between the rows, in the order in which they are first met."""
    keys = dict.fromkeys(key for row in rows for key in row.choices)
    return [key for key in keys if len({row.choices.get(key) for row in rows}) > 1]


def validation_sets(rows: Sequence[Row]) -> int:
    """How many different ones runs of the same seed were measured on, as far as that is known; the seed may draw the structures."""
    sets: dict[str | None, set[str]] = {}
    for row in rows:
        sets.setdefault(row.choices.get(SEED), set()).add(row.measured_on)
    return max((len(own - {""}) for own in sets.values()), default=0)


def decisive(rows: Sequence[Row]) -> Quantity | None:
    """The error by which these runs can be ranked."""
    done = [row for row in rows if not row.failure]
    return next((one for one in DECISIVE if done and all(one.key in row.found for row in done)), None)
