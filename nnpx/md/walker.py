"""One replica of a structure on its way through phase space: what it is now, and everything that decides what it will be."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, final
from zipfile import BadZipFile

import numpy as np
from ase import Atoms
from jaxtyping import Float

from nnpx.data.frames import MOMENTS, geometry
from nnpx.errors import ConfigError
from nnpx.files import whole
from nnpx.md.momenta import draw_momenta, remove_rigid_motion

#: the arrays of a walker's structure, by their names in ASE
_ARRAYS: Final = ("numbers", "positions", "masses", "momenta")
#: begins the names of what is remembered, in the file
_MEMORY: Final = "memory "


@final
@dataclass
class Walker:
    """The full state of one replica. Two walkers that are equal have the same future, whatever runs beside them (see `BatchedDynamics`).

    Whoever moves the atoms from outside sets `forces` to None, so that they are computed before the next step.
    """

    atoms: Atoms  #: positions (Å), momenta, masses, cell; without a calculator
    temperature_K: float  #: of the heat bath; may be changed between steps
    random: np.random.Generator  #: the noise of this walker alone
    step: int = 0  #: steps done
    energy: float = float("nan")  #: V at the positions, eV
    energy_std: float = float("nan")  #: the members' spread of V, eV; NaN where there is one member
    forces: Float[np.ndarray, "atom 3"] | None = None  #: at the positions, eV/Å; None before they are computed
    memory: dict[str, np.ndarray] = field(default_factory=dict)  #: whatever else whoever moves it has to know to go on, by name

    def write(self, path: Path) -> None:
        """Everything in one file (npz), which is whole or not there."""
        arrays = {name: self.atoms.get_array(name) if self.atoms.has(name) else getattr(self.atoms, f"get_{name}")() for name in _ARRAYS}
        known = {"cell": self.atoms.cell.array, "pbc": self.atoms.pbc}
        if self.atoms.has(MOMENTS):
            known["magmoms"] = self.atoms.get_initial_magnetic_moments()
        forces = {} if self.forces is None else {"forces": self.forces}
        memory = {_MEMORY + name: value for name, value in self.memory.items()}
        numbers = {name: getattr(self, name) for name in ("temperature_K", "step", "energy", "energy_std")}
        words = json.dumps({**numbers, "random": self.random.bit_generator.state})
        with whole(path) as file:
            np.savez(file, allow_pickle=False, state=np.array(words), **arrays, **known, **forces, **memory)


def level_name(temperature_K: float) -> str:
    """What a temperature is called: 500K."""
    return f"{temperature_K:g}K"


def named(temperatures_K: Sequence[float], count: int) -> list[tuple[str, float]]:
    """Of so many walkers at each of these temperatures (K), what they are called, such as 500K-3, and their temperatures."""
    return [(f"{level_name(kelvin)}-{k}", kelvin) for kelvin in temperatures_K for k in range(count)]


def start_walker(start: Atoms, *, temperature_K: float, seed: int | list[int]) -> Walker:
    """A replica of a structure with momenta of a temperature and no rigid motion.

    Args:
        start: the structure; it is copied, with its initial magnetic moments, which a reference engine may ask for.
        temperature_K: of momenta and heat bath.
        seed: of momenta and noise; for replica k of an experiment, [seed, k].
    """
    random = np.random.default_rng(seed)
    atoms = geometry(start, info={})
    atoms.set_masses(start.get_masses())
    draw_momenta(atoms, temperature_K, random)
    remove_rigid_motion(atoms)
    return Walker(atoms, temperature_K, random)


def refuse_constraints(start: Atoms, key: str) -> None:
    """Dynamics that would move what somebody has fixed is not begun.

    Args:
        start: the structure to start from.
        key: of the configuration, which named it.

    Raises:
        ConfigError: the structure has constraints.
    """
    if start.constraints:
        found = f"{start.symbols} with {', '.join(sorted({type(one).__name__ for one in start.constraints}))}"
        do = "Every atom moves here: if that is right, take the constraints out of the file (atoms.set_constraint())."
        raise ConfigError(key, expected="a structure without constraints", found=found, do=do)


def read_if_whole(path: Path) -> Walker | None:
    """The walker of a file; None where there is none, or where a crash of the machine has left half of one."""
    try:
        return read_walker(path)
    except (OSError, EOFError, KeyError, ValueError, BadZipFile):
        return None


def read_walker(path: Path) -> Walker:
    """The walker that `Walker.write` kept, to the last bit."""
    with np.load(path) as kept:
        state = json.loads(str(kept["state"]))
        atoms = Atoms(**{name: kept[name] for name in (*_ARRAYS, "cell", "pbc")}, magmoms=kept.get("magmoms"))
        forces = kept.get("forces")
        memory = {name.removeprefix(_MEMORY): kept[name] for name in kept.files if name.startswith(_MEMORY)}
    random = np.random.Generator(getattr(np.random, state["random"]["bit_generator"])())
    random.bit_generator.state = state.pop("random")
    return Walker(atoms, random=random, forces=forces, memory=memory, **state)
