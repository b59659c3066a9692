"""What the measurements on a GPU share: systems, and how findings are told."""

import json
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

Record = dict[str, Any]


def tell(record: Record) -> str:
    """Print a finding as a line of JSON, which is returned."""
    rounded = {key: float(f"{value:.5g}") if isinstance(value, float) else value for key, value in record.items()}
    line = json.dumps(rounded, ensure_ascii=False)
    print(line, flush=True)
    return line


def guarded(case: Record, work: Callable[[], Iterator[Record]]) -> Iterator[Record]:
    """The findings of a case under its name; whatever goes wrong in it is one of them, so that the other cases go on."""
    try:
        for found in work():
            yield {**case, **found}
    except Exception:  # noqa: BLE001  # a benchmark without a GPU at hand cannot know what a GPU will say
        yield {**case, "failed": traceback.format_exc()}


def silicon(n: int) -> Atoms:
    """n³ cubic cells, displaced."""
    atoms = bulk("Si", "diamond", a=5.431, cubic=True) * (n, n, n)
    atoms.rattle(0.05, seed=0)
    return atoms


def labelled_silicon() -> list[Atoms]:
    """Three crystals of eight atoms with made-up labels, stress among them."""
    structures = []
    for seed in range(3):
        atoms, random = silicon(1), np.random.default_rng(seed)
        atoms.calc = SinglePointCalculator(
            atoms, energy=-5.0 * len(atoms), forces=random.normal(size=(len(atoms), 3)), stress=0.01 * random.normal(size=6)
        )
        structures.append(atoms)
    return structures
