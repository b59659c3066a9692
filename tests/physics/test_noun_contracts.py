"""Every law of a noun, over every YAML of it."""

import pytest
import torch
from every_option import NUMBERS, USUAL, node, options, parts_of

from nnpx.config import instantiate
from nnpx.species_embedding import SpeciesEmbedding
from nnpx.testing import CUTOFF_LAWS, DESCRIPTOR_LAWS, EMBEDDING_LAWS, NETWORK_LAWS, PRIOR_LAWS, RADIAL_LAWS
from nnpx.testing.descriptors import DescriptorCase
from nnpx.testing.nouns import NetworkCase, PriorCase


def named(law: object) -> str:
    return getattr(law, "__name__", str(law))


@pytest.mark.parametrize("law", CUTOFF_LAWS, ids=named)
@pytest.mark.parametrize("option", options("cutoff"))
def test_cutoff_obeys(option, law):
    law(instantiate(node("cutoff", option)))


@pytest.mark.parametrize("law", RADIAL_LAWS, ids=named)
@pytest.mark.parametrize("option", options("radial"))
def test_radial_obeys(option, law):
    law(instantiate(node("radial", option), cutoff_radius=5.0))


@pytest.mark.parametrize("law", EMBEDDING_LAWS, ids=named)
@pytest.mark.parametrize("option", options("species_embedding"))
def test_species_embedding_obeys(option, law):
    def build(numbers: list[int]) -> SpeciesEmbedding:
        return instantiate(node("species_embedding", option), numbers=numbers, generator=torch.Generator().manual_seed(3))

    law(build)


@pytest.mark.parametrize("law", DESCRIPTOR_LAWS, ids=named)
@pytest.mark.parametrize("option", options("descriptor"))
def test_descriptor_obeys(option, law):
    parts = parts_of({**USUAL, "descriptor": option}, [1, 6])
    law(DescriptorCase(parts.descriptor, parts.embedding.n_channels, parts.cutoff_radius))


@pytest.mark.parametrize("law", NETWORK_LAWS, ids=named)
@pytest.mark.parametrize("option", options("network"))
def test_network_obeys(option, law):
    sizes = {"n_features": 9, "n_channels": 4, "n_species": 3, "n_outputs": 2}
    network = instantiate(node("network", option), **sizes, generator=torch.Generator().manual_seed(3))
    law(NetworkCase(network, **{key: size for key, size in sizes.items() if key != "n_outputs"}))


@pytest.mark.parametrize("law", PRIOR_LAWS, ids=named)
@pytest.mark.parametrize("option", options("prior"))
def test_prior_obeys(option, law):
    law(PriorCase(instantiate(node("prior", option), numbers=NUMBERS), len(NUMBERS)))
