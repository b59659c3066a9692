"""Networks: how they start, and that each path through them is the same function."""

import pytest
import torch

from nnpx.network import Network
from nnpx.network.initial import lecun_normal
from nnpx.network.linear import Linear
from nnpx.network.mlp import MLP
from nnpx.network.per_species import STACKED_IN_EVALUATION, STACKED_IN_TRAINING, PerSpecies
from nnpx.network.residual import Residual
from nnpx.testing.nouns import NetworkCase, network_has_the_slopes_that_it_says


def per_species(generator: torch.Generator, n_species: int = 3, n_outputs: int = 1) -> PerSpecies:
    return PerSpecies(
        hidden=[8, 5], activation="tanh", output_scale=1.0, n_features=6, n_species=n_species, n_outputs=n_outputs, generator=generator
    )


def mlp(generator: torch.Generator, output_scale: float = 1.0) -> MLP:
    return MLP(hidden=[8, 5], activation="silu", output_scale=output_scale, n_features=6, n_channels=2, n_outputs=1, generator=generator)


def test_lecun_weights_have_variance_one_over_the_number_of_inputs(generator):
    weights = lecun_normal((400, 500), 400, generator)
    assert float(weights.var()) == pytest.approx(1.0 / 400.0, rel=0.02)


def test_same_seed_same_network():
    one, other = (mlp(torch.Generator().manual_seed(4)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_building_a_network_leaves_the_global_random_state_alone(generator):
    before = torch.random.get_rng_state()
    mlp(generator)
    per_species(generator)
    assert torch.equal(before, torch.random.get_rng_state())


def test_output_scale_multiplies_the_initial_energy(generator):
    geometry, chemistry = torch.randn(4, 6, generator=generator, dtype=torch.float64), torch.ones(4, 2, dtype=torch.float64)
    species = torch.zeros(4, dtype=torch.long)
    full, tenth = (mlp(torch.Generator().manual_seed(4), scale)(geometry, chemistry, species) for scale in (1.0, 0.1))
    torch.testing.assert_close(tenth, 0.1 * full, rtol=1e-14, atol=0.0)


def test_mlp_is_the_formula_written_out(generator):
    network = mlp(generator)
    geometry, chemistry = (
        torch.randn(1, 6, generator=generator, dtype=torch.float64),
        torch.randn(1, 2, generator=generator, dtype=torch.float64),
    )
    signal = torch.cat([geometry[0], chemistry[0]])
    for weight, bias in zip(network.weights[:-1], network.biases[:-1], strict=True):
        before = weight @ signal + bias
        signal = before / (1.0 + torch.exp(-before))
    expected = network.weights[-1] @ signal + network.biases[-1]
    torch.testing.assert_close(network(geometry, chemistry, torch.tensor([0]))[0], expected, rtol=1e-13, atol=0.0)


def test_a_linear_network_is_a_weighted_sum_for_each_element(generator):
    network = Linear(output_scale=0.5, n_features=3, n_species=2, n_outputs=1, generator=generator)
    with torch.no_grad():
        network.weights.copy_(torch.tensor([[[1.0, 2.0, 3.0]], [[10.0, 20.0, 30.0]]]))
        network.biases.copy_(torch.tensor([[0.5], [-0.5]]))
    geometry = torch.tensor([[1.0, 0.0, -1.0], [1.0, 1.0, 1.0]], dtype=torch.float64)
    assert network(geometry, geometry[:, :1], torch.tensor([0, 1])).tolist() == [[-1.5], [59.5]]


def test_stacked_and_sorted_evaluation_agree(generator):
    network = per_species(generator)
    geometry = torch.randn(50, 6, generator=generator, dtype=torch.float64)
    species = torch.randint(0, 3, (50,), generator=generator)
    stacked, grouped = network.stacked(geometry, species), network.sorted_by_species(geometry, species)
    torch.testing.assert_close(stacked, grouped, rtol=0.0, atol=1e-14)


@pytest.mark.parametrize(("training", "most"), [(True, STACKED_IN_TRAINING), (False, STACKED_IN_EVALUATION)])
@pytest.mark.parametrize("few", [True, False])
def test_either_way_is_taken_and_an_element_without_atoms_is_no_obstacle(generator, monkeypatch, training, most, few):
    network, taken = per_species(generator).train(training), []
    for way in ("stacked", "sorted_by_species"):
        usual = getattr(network, way)
        monkeypatch.setattr(network, way, lambda *inputs, way=way, usual=usual: (taken.append(way), usual(*inputs))[1])
    n_atoms = most // 3 if few else most // 3 + 1  # times three elements
    geometry = torch.randn(n_atoms, 6, generator=generator, dtype=torch.float64)
    species = 2 * torch.randint(0, 2, (n_atoms,), generator=generator)
    energies = network(geometry, torch.zeros(n_atoms, 1, dtype=torch.float64), species)
    assert taken == ["stacked" if few else "sorted_by_species"]
    torch.testing.assert_close(energies, network.stacked(geometry, species), rtol=0.0, atol=1e-13)


def test_each_element_has_a_network_of_its_own(generator):
    network = per_species(generator)
    geometry = torch.randn(1, 6, generator=generator, dtype=torch.float64).expand(3, -1)
    energies = network(geometry, torch.zeros(3, 1, dtype=torch.float64), torch.arange(3))
    assert torch.pdist(energies).min() > 1e-3


def test_chemistry_is_not_an_input_of_the_classic_method(generator):
    network = per_species(generator)
    geometry, species = torch.randn(3, 6, generator=generator, dtype=torch.float64), torch.arange(3)
    one, other = (network(geometry, torch.full((3, 2), value, dtype=torch.float64), species) for value in (0.0, 9.0))
    assert torch.equal(one, other)


def networks(generator: torch.Generator) -> dict[str, Network]:
    words = {"output_scale": 1.0, "n_features": 6, "n_outputs": 3, "generator": generator}
    layers, species = {"hidden": [8, 5], **words}, {"n_species": 3, **words}
    return {
        "of each element": PerSpecies(activation="tanh", **layers, n_species=3),
        "of each element, silu": PerSpecies(activation="silu", **layers, n_species=3),
        "of one element": PerSpecies(activation="silu", **layers, n_species=1),
        "linear": Linear(**species),
        "for all elements": MLP(activation="tanh", **layers, n_channels=2),
        "residual": Residual(width=5, n_blocks=2, activation="silu", **words, n_channels=2),
    }


@pytest.mark.parametrize("kind", networks(torch.Generator()))
def test_slopes_are_right_also_where_an_element_has_no_atoms(kind, generator):
    network = networks(generator)[kind]
    network_has_the_slopes_that_it_says(
        NetworkCase(network, n_features=6, n_channels=2, n_species=min(2, getattr(network, "n_species", 2)))
    )


@pytest.mark.parametrize("kind", ["of each element", "of one element", "for all elements"])
def test_layers_have_slopes_that_autograd_does_not_take_for_constant(kind, generator):
    """In evaluation nothing of them can be differentiated, in training once, and once more is an error."""
    network, n_atoms = networks(generator)[kind], STACKED_IN_TRAINING
    geometry = torch.randn(n_atoms, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    species = torch.arange(n_atoms) % getattr(network, "n_species", 1)
    given = geometry, torch.ones(n_atoms, 2, dtype=torch.float64), species, torch.eye(3, dtype=torch.float64)
    assert not network.eval().with_slopes(*given)[1].requires_grad
    _, slopes = network.train().with_slopes(*given)
    assert torch.autograd.grad(slopes.sum(), geometry, retain_graph=True)[0].any()
    with pytest.raises(RuntimeError, match="slopes"):
        torch.autograd.grad(slopes.sum(), geometry, create_graph=True)
