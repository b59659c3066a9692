"""From the configuration to a potential: the sizes that follow from other choices are wired here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from nnpx.config import instantiate
from nnpx.cutoff import Cutoff
from nnpx.descriptor import Descriptor
from nnpx.ensemble import Recruitment
from nnpx.errors import ConfigError
from nnpx.network import Network
from nnpx.noise import Noise
from nnpx.noise.none import NoNoise
from nnpx.potential import Potential, Scales
from nnpx.prior import Prior
from nnpx.radial import Radial
from nnpx.species_embedding import SpeciesEmbedding

Noun = TypeVar("Noun")


@dataclass(frozen=True)
class Parts:
    """The modules of a potential, before anything is known about the scales of its energies."""

    numbers: list[int]
    cutoff_radius: float
    embedding: SpeciesEmbedding
    descriptor: Descriptor
    network: Network
    prior: Prior
    noise: Noise
    n_heads: int

    @property
    def knows_spread(self) -> bool:
        """Whether one potential says how far from the truth it may be: by its heads or as noise of the labels."""
        return self.n_heads > 1 or self.noise.n_outputs > 0

    def potential(self, scales: Scales) -> Potential:
        """The potential made of these parts, in float64."""
        return Potential(
            numbers=self.numbers,
            cutoff_radius=self.cutoff_radius,
            embedding=self.embedding,
            descriptor=self.descriptor,
            network=self.network,
            prior=self.prior,
            noise=self.noise,
            n_heads=self.n_heads,
            scales=scales,
        ).to(torch.float64)

    def unscaled_potential(self) -> Potential:
        """A potential whose scales are placeholders, to be overwritten by saved ones."""
        shape = (len(self.numbers), self.descriptor.n_features)
        nothing = torch.zeros(len(self.numbers), dtype=torch.float64)
        return self.potential(Scales(torch.zeros(shape), torch.ones(shape), 1.0, 0.0, nothing))


def build_parts(config: Mapping[str, Any], *, numbers: list[int], seed: int) -> Parts:
    """The modules that the configuration describes, with initial weights drawn from the seed.

    Args:
        config: nodes cutoff, radial, species_embedding, descriptor, network and prior; ensemble where the network may have several heads,
            noise where it may describe that of the labels.
        numbers: atomic numbers, in the order of the species index.
        seed: of the initial weights.

    Raises:
        ConfigError: a node does not fit the signature of its target, or two choices contradict each other.
    """
    generator = torch.Generator().manual_seed(seed)
    cutoff = _noun("cutoff", Cutoff, config)
    radial = _noun("radial", Radial, config, cutoff_radius=cutoff.radius)
    embedding = _noun("species_embedding", SpeciesEmbedding, config, numbers=numbers, generator=generator)
    around = {"cutoff": cutoff, "radial": radial, "n_channels": embedding.n_channels}
    descriptor = _noun("descriptor", Descriptor, config, generator=generator, **around)
    noise = _noun("noise", Noise, config) if "noise" in config else NoNoise()
    n_heads = _noun("ensemble", Recruitment, config).n_heads if "ensemble" in config else 1
    sizes = {
        "n_features": descriptor.n_features,
        "n_channels": embedding.n_channels,
        "n_species": len(numbers),
        "n_outputs": n_heads + noise.n_outputs,
    }
    network = _noun("network", Network, config, generator=generator, **sizes)
    prior = _noun("prior", Prior, config, numbers=numbers)
    if prior.reach > cutoff.radius:
        raise ConfigError(
            "cutoff.radius",
            expected=f"at least {prior.reach:.2f} Å, where the prior ends",
            found=f"{cutoff.radius} Å",
            do="Raise cutoff.radius, or choose prior=zero.",
        )
    parts = Parts(numbers, cutoff.radius, embedding, descriptor, network, prior, noise, n_heads)
    for module in (embedding, descriptor, network, prior):
        module.to(torch.float64)
    return parts


def _noun(name: str, kind: type[Noun], config: Mapping[str, Any], **wired: Any) -> Noun:
    """The module that one node describes, if it is of the kind that its place asks for."""
    module = instantiate(config[name], **wired)
    if not isinstance(module, kind):
        found = f"{type(module).__name__}, which is none"
        raise ConfigError(name, expected=f"a {kind.__name__}", found=found, do=f"Choose a class below nnpx.{name}.")
    return module
