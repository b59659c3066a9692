"""The door to everything that speaks ASE: relaxations, phonons, molecular dynamics, nudged elastic bands."""

import copy
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal, final

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator as ASECalculator
from ase.calculators.calculator import PropertyNotImplementedError, all_changes
from ase.data import chemical_symbols
from ase.stress import full_3x3_to_voigt_6_stress
from ase.symbols import Symbols

from nnpx.artifact import find_device, load
from nnpx.ensemble import Ensemble
from nnpx.ensemble.recorded import Recordings
from nnpx.errors import ConfigError
from nnpx.extrapolation import novelty
from nnpx.graph import AtomicGraph, Edges
from nnpx.potential import Potential
from nnpx.skin import SkinList
from nnpx.speed.recording import can_compile

_DTYPES: Final = {"float32": torch.float32, "float64": torch.float64}
#: to record takes about as long as so many evaluations of a small molecule
RECORD_AFTER: Final = 100
#: Å; in a dozen molecules of water at 300 K one of twelve steps of 0.5 fs makes a new list
SKIN: Final = 0.5
_OF_AN_ENSEMBLE: Final = ("energy_std", "forces_std")
_OF_NOISE: Final = ("energy_noise", "forces_noise")
#: what a potential has to be trained with to have them
_TAKES: Final = {
    **dict.fromkeys(_OF_AN_ENSEMBLE, "several members (ensemble=deep)"),
    **dict.fromkeys(_OF_NOISE, "a noise of its labels (noise=heteroscedastic)"),
}


@final
class Calculator(ASECalculator):  # type: ignore[misc]  # ASE is not typed
    """ASE calculator of a trained potential: `atoms.calc = Calculator("models/potential.nnpx")`.

    Results in ASE's units and signs: `energy` and `free_energy` (eV), `forces` (eV/Å), `energies` of the atoms (eV), and `stress`
    (eV/Å³, Voigt order) for structures that are periodic in all three directions. An ensemble also has `energy_std` (eV) and
    `forces_std` (eV/Å), the spread of its members, calibrated where its file says how: `calc.get_property("forces_std", atoms)`. A
    potential that describes the noise of its labels has `energy_noise` (eV) and `forces_noise` (eV/Å). `extrapolation` is the excess of
    each atom over the ranges of training, 0 on known ground, and `mahalanobis` its distance from the environments of training, about 1 on
    known ground (see `nnpx.extrapolation`).

    Args:
        potential: file of a potential, `models:/name@champion` of the project's registry, or a potential in memory, whose precision and
            device then follow these arguments.
        dtype: precision of the arithmetic. float64 conserves energy in molecular dynamics; float32 is faster on a GPU.
        device: where to compute.
        spread: compute `forces_std` with every evaluation, instead of when it is asked for: up to a backward pass per member.
        record_after: evaluations of the same atoms before their operations are recorded; those after it take less time, of a small molecule
            a fraction, with other rounding errors. 0 records at once, so that runs have the same bits wherever they were interrupted.
            `ensemble` must not be changed after the first evaluation.
        compiled: whether small molecules, which are recorded whole, are compiled as C++ by torch's inductor: half a minute or more for each
            molecule, with and without the spread of the forces, after which a small one takes half of the time. Torch keeps what it
            compiled, and 150 MB of headers, in torchinductor_USER among temporary files. On a GPU nothing is compiled: it has a graph.
        skin: how much farther than the cutoff neighbours are listed, Å: they are searched anew when an atom has moved half as far, beside
            what its cell moves it by. It changes how long an evaluation takes, not a bit of its results; 0 is best for structures of which
            none follows from the one before.

    Raises:
        ArtifactError: the file cannot be read.
        ConfigError: this machine has no such device, there is no such precision or skin, or there is nothing to compile with.
        SpeciesError: a structure holds an element that the potential does not know.
        GeometryError: atoms coincide, or positions or cell make no sense.
    """

    def __init__(
        self,
        potential: str | Path | Ensemble,
        *,
        dtype: Literal["float64", "float32"] = "float64",
        device: str = "cpu",
        spread: bool = False,
        record_after: int = RECORD_AFTER,
        compiled: bool = False,
        skin: float = SKIN,
    ) -> None:
        super().__init__()
        if compiled and device == "cpu" and not can_compile():
            expected, do = "a C++ compiler and Python.h", "Install them (Debian: apt install g++ python3-dev), or leave compiled=False."
            raise ConfigError("compiled", expected=expected, found="a machine without", do=do)
        self.ensemble = _in_precision(potential, _precision(dtype), find_device(device))
        self.recordings = Recordings(self.ensemble, after=record_after, compiled=compiled)
        self.device, self.spread = self.ensemble.device, spread
        self._list = SkinList(
            numbers=self.ensemble.numbers, cutoff=self.ensemble.cutoff_radius, skin=skin, dtype=self.ensemble.dtype, device=self.device
        )
        several = self.ensemble.n_members > 1
        self.knows_noise = any(member.noise.n_outputs > 0 for member in self.ensemble.members)
        known = {"extrapolation": self.ensemble.ranges, "mahalanobis": self.ensemble.mahalanobis}
        self.novelties = [name for name, ground in known.items() if ground is not None]
        extra = [*(_OF_AN_ENSEMBLE if several else ()), *(_OF_NOISE if self.knows_noise else ()), *self.novelties]
        self.implemented_properties = ["energy", "free_energy", "energies", "forces", "stress", *extra]

    def get_property(self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True) -> Any:
        """A result by its name; called by ASE.

        Raises:
            PropertyNotImplementedError: this potential has no such property, and why.
        """
        if name in _TAKES and name not in self.implemented_properties:
            raise PropertyNotImplementedError(f"{name} takes a potential that was trained with {_TAKES[name]}; this one was not")
        return super().get_property(name, atoms, allow_calculation)

    def calculate(self, atoms: Atoms | None = None, properties: list[str] | None = None, system_changes: list[str] = all_changes) -> None:
        """Evaluate the potential; called by ASE whenever a property is asked for and the structure has changed.

        Raises:
            PropertyNotImplementedError: the stress of a structure that is not periodic in all directions.
        """
        super().calculate(atoms, properties, system_changes)
        asked = properties or ["energy"]
        is_crystal = bool(self.atoms.pbc.all())
        if "stress" in asked and not is_crystal:
            raise PropertyNotImplementedError("the stress exists only for structures that are periodic in all three directions")
        with_spread = self.spread or "forces_std" in asked
        recorded = self.recordings.predict([self.atoms], self.atoms.positions, spread=with_spread)
        with self.ensemble.in_its_threads(len(self.atoms)):
            prediction = self.recordings.evaluate(*self._graph(), spread=with_spread) if recorded is None else recorded
        energy = float(prediction.energy[0])
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "energies": _numpy(prediction.atomic_energies),
            "forces": _numpy(prediction.forces),
        }
        if is_crystal:
            self.results["stress"] = full_3x3_to_voigt_6_stress(_numpy(prediction.stress[0]))
        if self.knows_noise:
            self.results["energy_noise"] = float(prediction.energy_noise[0])
            self.results["forces_noise"] = _numpy(prediction.forces_noise)
        if set(asked) & set(self.novelties):
            self.results.update({name: values.numpy() for name, values in novelty(self.ensemble, [self._graph()[0]]).items()})
        if self.ensemble.n_members > 1:
            self.results["energy_std"] = float(prediction.energy_std[0])
            if with_spread:
                self.results["forces_std"] = _numpy(prediction.forces_std)

    def _graph(self) -> tuple[AtomicGraph, Edges]:
        """The structure as the ensemble reads it."""
        return self._list.graph({f"structure {_formula(self.atoms.numbers.astype(np.int64).tobytes())}": self.atoms}, self.atoms.positions)

    def check_state(self, atoms: Atoms, tol: float = 0.0) -> list[str]:
        """What has changed since the last evaluation, exactly; ASE's own comparison takes as long as the neighbour list."""
        if self.atoms is None:
            return list(all_changes)
        old = self.atoms
        pairs = {
            "positions": (old.positions, atoms.positions),
            "numbers": (old.numbers, atoms.numbers),
            "cell": (old.cell.array, atoms.cell.array),
            "pbc": (old.pbc, atoms.pbc),
        }
        return [name for name, (before, now) in pairs.items() if not np.array_equal(before, now)]

    def todict(self, skip_default: bool = True) -> dict[str, Any]:
        """What ASE's databases write down beside the results."""
        return {"elements": self.ensemble.numbers, "n_members": self.ensemble.n_members, "dtype": str(self.ensemble.dtype)}


@lru_cache(maxsize=1)
def _formula(numbers: bytes) -> str:
    """What atoms are called in errors; kept, as every evaluation of the same atoms would put it together anew."""
    known = np.frombuffer(numbers, dtype=np.int64).clip(0, len(chemical_symbols) - 1)  # one of no element is refused by this name
    return str(Symbols(known))


def _precision(name: str) -> torch.dtype:
    if name not in _DTYPES:
        raise ConfigError("dtype", expected=" or ".join(_DTYPES), found=name, do='Choose dtype="float64".')
    return _DTYPES[name]


def _in_precision(potential: str | Path | Ensemble, dtype: torch.dtype, device: torch.device) -> Ensemble:
    """A potential of our own, for inference: nothing needs a gradient but the edge vectors.

    What is in memory in float32 keeps its constants to seven digits in float64 too; a file is read in the precision asked for.
    """
    if isinstance(potential, Ensemble):
        ensemble = copy.deepcopy(potential).to(device).eval()
        for member in ensemble.members:
            if isinstance(member, Potential):
                member.to_precision(dtype)
    else:
        ensemble = load(potential, dtype=dtype, device=str(device))
    return ensemble.requires_grad_(requires_grad=False)


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().to("cpu", torch.float64).numpy()
