"""From the configuration to a potential: the sizes that follow from other choices are wired here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from nnpx.config import instantiate
from nnpx.descriptor import Descriptor
from nnpx.network import Network
from nnpx.potential import Potential, Scales
from nnpx.prior import Prior
from nnpx.species_embedding import SpeciesEmbedding


@dataclass(frozen=True)
class Parts:
    """The modules of a potential, before anything is known about the scales of its energies."""

    numbers: list[int]
    cutoff_radius: float
    embedding: SpeciesEmbedding
    descriptor: Descriptor
    network: Network
    prior: Prior

    def potential(self, scales: Scales) -> Potential:
        """The potential made of these parts, in float64."""
        return Potential(
            numbers=self.numbers,
            cutoff_radius=self.cutoff_radius,
            embedding=self.embedding,
            descriptor=self.descriptor,
            network=self.network,
            prior=self.prior,
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
        config: nodes cutoff, radial, species_embedding, descriptor, network and prior.
        numbers: atomic numbers, in the order of the species index.
        seed: of the initial weights.

    Raises:
        ConfigError: a node does not fit the signature of its target, or two choices contradict each other.
    """
    generator = torch.Generator().manual_seed(seed)
    cutoff = instantiate(config["cutoff"])
    radial = instantiate(config["radial"], cutoff_radius=cutoff.radius)
    embedding = instantiate(config["species_embedding"], numbers=numbers, generator=generator)
    descriptor = instantiate(config["descriptor"], cutoff=cutoff, radial=radial, n_channels=embedding.n_channels)
    sizes = {"n_features": descriptor.n_features, "n_channels": embedding.n_channels, "n_species": len(numbers)}
    network = instantiate(config["network"], generator=generator, **sizes)
    prior = instantiate(config["prior"], numbers=numbers)
    parts = Parts(numbers, cutoff.radius, embedding, descriptor, network, prior)
    for module in (embedding, descriptor, network, prior):
        module.to(torch.float64)
    return parts
