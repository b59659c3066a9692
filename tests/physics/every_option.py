"""Every option of every noun, built small."""

from functools import cache
from typing import Any

import torch
from ase import Atoms
from ase.build import molecule
from omegaconf import OmegaConf

from nnpx.config import conf_dir, instantiate
from nnpx.neighbors import graph_from_atoms
from nnpx.potential import Potential, Scales
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
}


def options(noun: str) -> list[str]:
    """The YAML files of a noun."""
    return sorted(path.stem for path in (conf_dir() / noun).glob("*.yaml"))


def node(noun: str, option: str) -> dict[str, Any]:
    """One YAML, with hidden layers kept small."""
    content = OmegaConf.to_container(OmegaConf.load(conf_dir() / noun / f"{option}.yaml"), resolve=True)
    assert isinstance(content, dict)
    return {key: [7, 6] if key == "hidden" else value for key, value in content.items()}


def build_parts(chosen: dict[str, str], numbers: list[int]) -> dict[str, Any]:
    """The nouns of a potential, in the order in which their sizes follow from one another."""
    parts: dict[str, Any] = {}
    wired: dict[str, Any] = {"numbers": numbers, "n_species": len(numbers), "generator": torch.Generator().manual_seed(0)}
    for noun in ("cutoff", "radial", "species_embedding", "descriptor", "network", "prior"):
        parts[noun] = wired[noun] = instantiate(node(noun, chosen[noun]), **wired)
        if noun == "cutoff":
            wired["cutoff_radius"] = parts[noun].radius
        if noun == "species_embedding":
            wired["n_channels"] = parts[noun].n_channels
        if noun == "descriptor":
            wired["n_features"] = parts[noun].n_features
    return parts


def build_potential(chosen: dict[str, str], examples: list[Atoms]) -> Potential:
    """A potential with random weights, whose features are standardised on the examples."""
    parts = build_parts(chosen, NUMBERS)
    radius = parts["cutoff"].radius
    features = []
    with torch.no_grad():
        for atoms in examples:
            graph = graph_from_atoms(atoms, numbers=NUMBERS, cutoff=radius, where="an example")
            features.append(parts["descriptor"](graph.edges(), parts["species_embedding"](graph.species)))
    together = torch.cat(features)
    scales = Scales(
        feature_mean=together.mean(0).repeat(len(NUMBERS), 1),
        feature_std=together.std(0).clamp_min(0.05).repeat(len(NUMBERS), 1),
        energy_scale=1.5,
        energy_shift=0.25,
        reference_energies=torch.tensor([-0.4, -1.7, -3.7], dtype=torch.float64),
    )
    return Potential(
        numbers=NUMBERS,
        cutoff_radius=radius,
        embedding=parts["species_embedding"],
        descriptor=parts["descriptor"],
        network=parts["network"],
        prior=parts["prior"],
        scales=scales,
    ).eval()


def ethanol() -> Atoms:
    """Ethanol away from its minimum, without any symmetry."""
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.08, seed=1)
    return atoms


@cache
def case_of(noun: str, option: str) -> Case:
    """A potential with one option chosen and the usual others beside it; built once per run."""
    examples = [ethanol(), skewed_crystal(NUMBERS)]
    return Case(build_potential({**USUAL, noun: option}, [*examples, cluster(NUMBERS)]), *examples)


#: all options of all nouns of a potential, the usual combination once
CHOICES = [("cutoff", USUAL["cutoff"])] + [(noun, option) for noun in USUAL for option in options(noun) if option != USUAL[noun]]
