"""A trained potential in one file: weights, configuration, elements, units, calibration and provenance. Loading executes nothing from it.

The file is a safetensors file: tensors `member.<k>.<name>`, `ranges.<name>` and `mahalanobis.<name>`, and one JSON text in its metadata.
The classes named in the configuration are built through the same door as everywhere, which opens for nnpx's own classes only.
"""

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes

from nnpx import __version__
from nnpx.assembly import build_parts
from nnpx.ensemble import Ensemble
from nnpx.errors import ArtifactError, ConfigError, TrustError
from nnpx.files import to_disk, whole
from nnpx.registry import SCHEME
from nnpx.uncertainty import Calibration
from nnpx.uncertainty.mahalanobis import Mahalanobis
from nnpx.uncertainty.ranges import Ranges

#: what a potential knows of its training set
Ground = TypeVar("Ground", Ranges, Mahalanobis)
#: raised whenever the meaning of the file changes; older formats stay readable
FORMAT: Final = 1
#: key of the JSON text in the metadata
KEY: Final = "nnpx"
#: the nodes of the configuration that a potential is rebuilt from; older files lack the last two
NODES: Final = ("cutoff", "radial", "species_embedding", "descriptor", "network", "prior", "noise", "ensemble")
UNITS: Final = {"energy": "eV", "length": "Å", "forces": "eV/Å", "stress": "eV/Å³"}


def save(
    path: Path,
    ensemble: Ensemble,
    *,
    config: Mapping[str, Any],
    card: Mapping[str, Any],
    provenance: Mapping[str, Any],
    training: Mapping[str, Any],
) -> None:
    """Write the ensemble to one file, beside and then renamed, so that a half-written one is never found.

    Args:
        path: the file, by custom `potential.nnpx`.
        ensemble: the potential.
        config: the resolved experiment.
        card: the data card of the training set.
        provenance: git commit, versions, seeds.
        training: summary of the training: epochs, errors, wall time.
    """
    header = {
        "format": FORMAT,
        "version": __version__,
        "numbers": ensemble.numbers,
        "units": UNITS,
        "n_members": len(ensemble.members),
        "n_parameters": sum(weight.numel() for weight in ensemble.members[0].parameters()),
        "config": config,
        "card": card,
        "provenance": provenance,
        "training": training,
        "calibration": ensemble.calibration.for_json(),
    }
    tensors = {
        f"member.{k}.{name}": value.detach().cpu().contiguous().clone()
        for k, member in enumerate(ensemble.members)
        for name, value in member.state_dict().items()
    }
    for kind, ground in {"ranges": ensemble.ranges, "mahalanobis": ensemble.mahalanobis}.items():
        if ground is not None:
            tensors.update({f"{kind}.{name}": value.cpu().contiguous() for name, value in vars(ground).items()})
    with whole(path) as file:
        file.write(to_bytes(tensors, metadata={KEY: json.dumps(header, sort_keys=True)}))
        to_disk(file)


def read_header(path: str | Path) -> dict[str, Any]:
    """Everything but the weights: configuration, elements, data card, provenance.

    Raises:
        ArtifactError: the file is missing, truncated, not one of ours, or of a newer format.
    """
    path = local(path)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no such file"
        raise ArtifactError(str(path), expected="a saved potential", found=found, do="Run `nnpx train` first, or correct the path.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ArtifactError(
            str(path),
            expected="a complete nnpx potential",
            found=f"a truncated or foreign file ({error})",
            do="Copy it again, or train it again.",
        ) from error
    if KEY not in metadata:
        raise ArtifactError(
            str(path), expected="a potential written by nnpx", found="a safetensors file without its header", do="Correct the path."
        )
    try:
        header: dict[str, Any] = json.loads(metadata[KEY])
        newer = header["format"] > FORMAT
    except (ValueError, KeyError, TypeError) as error:
        found = f"a header that cannot be read ({error!r})"
        raise ArtifactError(
            str(path), expected="a potential written by nnpx", found=found, do="Copy it again, or train it again."
        ) from error
    if newer:
        raise ArtifactError(
            str(path),
            expected=f"format {FORMAT} or older, which nnpx {__version__} reads",
            found=f"format {header['format']}, written by nnpx {header['version']}",
            do=f"Install nnpx {header['version']} or newer.",
        )
    return header


def load(path: str | Path, *, dtype: torch.dtype = torch.float64, device: str = "cpu") -> Ensemble:
    """The potential in a file, ready to be evaluated.

    Args:
        path: a file written by `save`, or a registered potential of the project in the current folder, `models:/name@champion`.
        dtype: precision of the arithmetic.
        device: where to evaluate.

    Raises:
        ArtifactError: the file is missing, truncated, of a newer format, names a class that is not allowed, or does not fit its
            configuration.
        ConfigError: this machine has no such device.
    """
    path, where = local(path), find_device(device)
    header = read_header(path)
    try:
        nodes = {node: header["config"][node] for node in NODES if node in header["config"]}
        parts = [build_parts(nodes, numbers=header["numbers"], seed=0) for _ in range(header["n_members"])]
    except TrustError as error:
        do = f"{error.do.rstrip('.')}; never load a potential from where you do not trust."
        raise ArtifactError(str(path), expected=error.expected, found=error.found, do=do) from error
    except (ConfigError, KeyError) as error:
        raise ArtifactError(
            str(path),
            expected=f"a configuration that nnpx {__version__} can build from its own classes",
            found=f"one of nnpx {header['version']} that it cannot ({error})",
            do=f"Use the file with nnpx {header['version']}, or train it again; never load a potential from where you do not trust.",
        ) from error
    members = [part.unscaled_potential() for part in parts]
    with safe_open(path, framework="pt") as file:
        for k, member in enumerate(members):
            own = f"member.{k}."
            weights = {name.removeprefix(own): file.get_tensor(name) for name in file.keys() if name.startswith(own)}  # noqa: SIM118  it is no mapping
            _fill(member, weights, str(path))
            member.to_precision(dtype)
        ranges, mahalanobis = _ground(file, "ranges", Ranges), _ground(file, "mahalanobis", Mahalanobis)
    calibration = Calibration.from_json(header.get("calibration", {}))
    return Ensemble(members, calibration, ranges, mahalanobis).to(where).eval()


def find_device(name: str) -> torch.device:
    """The device of this machine that has the name.

    Raises:
        ConfigError: it has none, or none of that name.
    """
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # the latter where torch was built without the device
        expected = "cpu" + (" or cuda" if torch.cuda.is_available() else ", the only device that torch finds on this machine")
        found = f"{name} ({str(error).splitlines()[0]})"
        raise ConfigError("device", expected=expected, found=found, do='Choose device="cpu", or another machine.') from error


def local(path: str | Path, folder: Path = Path()) -> Path:
    """The file itself, named from a folder; that of a registered potential is asked for in the store of the project in the current folder.

    Raises:
        ArtifactError: there is no such registered potential, or the store does not answer.
        ConfigError: the project keeps no runs.
    """
    if not str(path).startswith(SCHEME):
        return folder / path
    from nnpx.runs import registered_file  # MLflow is imported for registered potentials only

    return registered_file(str(path), Path.cwd())


def _ground(file: Any, kind: str, made: type[Ground]) -> Ground | None:
    """What a potential knows of its training set; None in an older file."""
    names = [field.name for field in fields(made)]
    known = {f"{kind}.{name}" for name in names} <= set(file.keys())
    return made(**{name: file.get_tensor(f"{kind}.{name}") for name in names}) if known else None


def _fill(member: torch.nn.Module, weights: dict[str, torch.Tensor], where: str) -> None:
    try:
        member.load_state_dict(weights)
    except RuntimeError as error:
        raise ArtifactError(
            where, expected="weights that fit the file's configuration", found=str(error).splitlines()[-1].strip(), do="Train it again."
        ) from error
