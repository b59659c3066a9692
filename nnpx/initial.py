"""Where a training starts that goes on from a potential: fine-tuning on other structures, or a last polish on the same."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from omegaconf import DictConfig

from nnpx.artifact import local, read_header
from nnpx.config import instantiate
from nnpx.configuration.annotations import show
from nnpx.configuration.schema import leaves, plain
from nnpx.errors import ConfigError

#: the nodes that give a potential its weights, and these their meaning
DECISIVE: Final = ("cutoff", "radial", "species_embedding", "descriptor", "network", "prior", "noise")
#: what the potentials of versions have that knew no other, as `build_parts` has it
_NO_NOISE: Final = {"_target_": "nnpx.noise.none.NoNoise"}


def initial_file(config: DictConfig, workspace: Path) -> Path | None:
    """The file of the potential that a training starts from, also of a registered one; None for random weights.

    Raises:
        ArtifactError, ConfigError: see `nnpx.artifact.local`.
    """
    name: str | None = config.get("initial")  # an experiment that was composed before there was a choice has none
    return None if name is None else local(name, workspace)


def initial_potential(config: DictConfig, workspace: Path) -> Path | None:
    """The file whose weights and scales a training starts from; None for random weights.

    Args:
        config: the experiment.
        workspace: the folder that the file is named from.

    Raises:
        ArtifactError: there is no such file, or it is no potential; no such registered potential, or the store does not answer.
        ConfigError: the weights of the experiment are others; all that differs is named.
    """
    file = initial_file(config, workspace)
    if file is None:
        return None
    header = read_header(file)
    n_members = len(instantiate(config.ensemble).seeds(config.seed))
    wanted, there = _of_weights(plain(config), n_members), _of_weights(header["config"], header["n_members"])
    differing = [key for key in {**there, **wanted} if wanted.get(key) != there.get(key)]
    if differing:
        expected = f"the choices that {config.initial} was trained with, {_told(differing, there)}"
        do = "Choose the same, or leave initial out, for random weights."
        raise ConfigError("initial", expected=expected, found=_told(differing, wanted), do=do)
    return file


def _of_weights(config: Mapping[str, Any], n_members: int) -> dict[str, Any]:
    """What decides number and meaning of the weights, by dotted path."""
    nodes = {"noise": _NO_NOISE, **{name: config[name] for name in DECISIVE if name in config}}  # files of older versions have no noise
    n_heads = instantiate(config["ensemble"]).n_heads if "ensemble" in config else 1
    return {**leaves(nodes), "members": n_members, "heads": n_heads}


def _told(keys: list[str], values: Mapping[str, Any]) -> str:
    """The values; of a node of another class, this alone."""
    others = {key.removesuffix("_target_") for key in keys if key.endswith("._target_")}
    shown = [key for key in keys if key.endswith("._target_") or not any(key.startswith(other) for other in others)]
    return ", ".join(f"{key.removesuffix('._target_')}={show(values.get(key))}" for key in shown)
