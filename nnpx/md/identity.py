"""What a trajectory depends on, as one name."""

import hashlib
import json

import numpy as np
from ase import Atoms

from nnpx.md import Dynamics
from nnpx.md.replicas import Replicas


def identity(potential: str, dynamics: Dynamics | Replicas, start: Atoms, seed: int) -> str:
    """Changes with whatever changes the trajectory, or where it stops.

    Args:
        potential: names what gives the forces.
        dynamics: how it moves.
        start: from where.
        seed: of momenta and noise.
    """
    settings = [_numbers(dynamics), _numbers(dynamics.watchdog)]
    words = json.dumps([potential, dynamics.name, settings, seed, start.pbc.tolist()], sort_keys=True)
    numbers = np.column_stack([start.numbers, start.get_masses(), start.positions]).tobytes() + start.cell.array.tobytes()
    return hashlib.sha256(words.encode() + numbers).hexdigest()[:12]


def _numbers(settings: object) -> dict[str, float | int | str | None]:
    return {key: value for key, value in vars(settings).items() if value is None or isinstance(value, float | int | str)}
