"""Every option of every noun, built small."""

from functools import cache
from typing import Any

import torch
from ase import Atoms
from ase.build import molecule
from omegaconf import OmegaConf

from nnpx.assembly import Parts, build_parts
from nnpx.config import conf_dir
from nnpx.neighbors import graph_from_list
from nnpx.potential import Potential, Scales
from nnpx.statistics import typical_width
from nnpx.testing import Case
from nnpx.testing.structures import cluster, skewed_crystal

NUMBERS = [1, 6, 8]
#: the options beside the one that is under test
USUAL = {
    "cutoff": "polynomial",
    "radial": "gaussian",
    "species_embedding": "onehot",
    "descriptor": "acsf",
    "network": "mlp",
    "prior": "zero",
    "noise": "none",
}


def options(noun: str) -> list[str]:
    """The YAML files of a noun."""
    return sorted(path.stem for path in (conf_dir() / noun).glob("*.yaml"))


def node(noun: str, option: str) -> dict[str, Any]:
    """One YAML, with hidden layers kept small."""
    content = OmegaConf.to_container(OmegaConf.load(conf_dir() / noun / f"{option}.yaml"), resolve=True)
    assert isinstance(content, dict)
    return {key: [7, 6] if key == "hidden" else value for key, value in content.items()}


def parts_of(chosen: dict[str, str], numbers: list[int]) -> Parts:
    """The modules of a potential with random weights."""
    return build_parts({noun: node(noun, option) for noun, option in chosen.items()}, numbers=numbers, seed=0)


def potential_of(chosen: dict[str, str], examples: list[Atoms]) -> Potential:
    """A potential with random weights, whose features are standardised on the examples."""
    parts = parts_of(chosen, NUMBERS)
    graph = graph_from_list(examples, numbers=NUMBERS, cutoff=parts.cutoff_radius, where="the examples")
    with torch.no_grad():
        features = parts.descriptor(graph.edges(), parts.embedding(graph.species))
    mean, std = (values.repeat(len(NUMBERS), 1) for values in (features.mean(0), features.std(0)))
    scales = Scales(
        feature_mean=mean,
        feature_std=std.clamp_min(0.3 * typical_width(mean, std)),
        energy_scale=1.5,
        energy_shift=0.25,
        reference_energies=torch.tensor([-0.4, -1.7, -3.7], dtype=torch.float64),
    )
    return parts.potential(scales).eval()


def ethanol() -> Atoms:
    """Ethanol away from its minimum, without any symmetry."""
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.08, seed=1)
    return atoms


@cache
def case_of(noun: str, option: str) -> Case:
    """A potential with one option chosen and the usual others beside it; built once per run."""
    examples = [ethanol(), skewed_crystal(NUMBERS)]
    return Case(potential_of({**USUAL, noun: option}, [*examples, cluster(NUMBERS)]), *examples)


#: all options of all nouns of a potential, the usual combination once
CHOICES = [("cutoff", USUAL["cutoff"]), ("ensemble", "shallow")] + [
    (noun, option) for noun in USUAL for option in options(noun) if option != USUAL[noun]
]
