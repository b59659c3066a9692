"""Residual and film networks: the formulas written out, what they reduce to, and where they start."""

import itertools

import pytest
import torch

from nnpx.network.film import Film
from nnpx.network.residual import Residual

N_FEATURES, N_CHANNELS, WIDTH, N_BLOCKS = 6, 2, 5, 3
KINDS = {"residual": Residual, "film": Film}
ACTIVATION = {"tanh": torch.tanh, "silu": lambda x: x / (1.0 + torch.exp(-x))}


def build(kind, activation="silu", output_scale=1.0, n_channels=N_CHANNELS):
    numbers = {"width": WIDTH, "n_blocks": N_BLOCKS, "activation": activation, "output_scale": output_scale}
    generator = torch.Generator().manual_seed(4)
    return kind(**numbers, n_features=N_FEATURES, n_channels=n_channels, n_outputs=1, generator=generator)


def shuffled(network, generator):
    """The network with every parameter drawn anew, biases and modulation too."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return network


@pytest.fixture
def atoms(generator):
    """Geometry, chemistry and species of four atoms."""
    shapes = ((4, N_FEATURES), (4, N_CHANNELS))
    geometry, chemistry = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    return geometry, chemistry, torch.zeros(4, dtype=torch.long)


@pytest.mark.parametrize("activation", ACTIVATION)
def test_residual_is_the_formula_written_out(generator, atoms, activation):
    network = shuffled(build(Residual, activation), generator)
    geometry, chemistry, _ = atoms
    blocks, expected = network.blocks, []
    for row in torch.cat([geometry, chemistry], dim=1):
        h = row @ blocks.enter + blocks.bias
        for bias, inner, outer in zip(network.biases, blocks.inner, blocks.outer, strict=True):
            h = h + ACTIVATION[activation](h @ inner + bias) @ outer
        expected.append(h @ blocks.leave + blocks.offset)
    torch.testing.assert_close(network(*atoms), torch.stack(expected), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("activation", ACTIVATION)
def test_film_is_the_formula_written_out(generator, atoms, activation):
    network = shuffled(build(Film, activation), generator)
    geometry, chemistry, _ = atoms
    blocks, expected = network.blocks, []
    rows, start = (part.detach().reshape(2, N_BLOCKS, WIDTH, -1) for part in (network.slope, network.start))
    for row, element in zip(geometry, chemistry, strict=True):
        h = row @ blocks.enter + blocks.bias
        for k, (inner, outer) in enumerate(zip(blocks.inner, blocks.outer, strict=True)):
            gain, shift = (rows[part, k] @ element + start[part, k, :, 0] for part in (0, 1))
            h = h + ACTIVATION[activation](gain * (h @ inner) + shift) @ outer
        expected.append(h @ blocks.leave + blocks.offset)
    torch.testing.assert_close(network(*atoms), torch.stack(expected), rtol=1e-12, atol=1e-12)


def test_film_starts_as_the_residual_network_that_does_not_know_the_element(atoms):
    geometry, chemistry, species = atoms
    film, residual = build(Film), build(Residual, n_channels=0)
    torch.testing.assert_close(film(geometry, chemistry, species), residual(geometry, chemistry[:, :0], species), rtol=1e-13, atol=0.0)


def test_film_with_one_channel_per_element_can_be_a_network_of_its_own_for_each(generator):
    """A gain of zero shuts an activation off for an element, so that two elements can use different ones."""
    network = build(Film, "tanh", n_channels=2)
    geometry = torch.randn(3, N_FEATURES, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        network.blocks.enter.normal_(generator=generator)
        network.blocks.leave.normal_(generator=generator)
        network.start.zero_()
        network.slope[: N_BLOCKS * WIDTH, 0] = 1.0  # only the first element has gains
    elements = torch.eye(2, dtype=torch.float64)
    first, second = (network(geometry, element.expand(3, -1), torch.zeros(3, dtype=torch.long)) for element in elements)
    linear = geometry @ network.blocks.enter @ network.blocks.leave
    torch.testing.assert_close(second, linear, rtol=1e-12, atol=1e-12)
    assert (first - linear).abs().min() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_without_its_blocks_the_energy_is_linear_in_the_features(generator, atoms, kind):
    network = shuffled(build(KINDS[kind]), generator)
    geometry, chemistry, species = atoms
    with torch.no_grad():
        for outer in network.blocks.outer:
            outer.zero_()
    one, other = geometry, geometry.flip(0)
    middle = network(0.3 * one + 0.7 * other, chemistry, species)
    torch.testing.assert_close(
        middle, 0.3 * network(one, chemistry, species) + 0.7 * network(other, chemistry, species), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("kind", KINDS)
def test_output_scale_multiplies_the_initial_energy(atoms, kind):
    full, tenth = (build(KINDS[kind], output_scale=scale)(*atoms) for scale in (1.0, 0.1))
    torch.testing.assert_close(tenth, 0.1 * full, rtol=1e-14, atol=0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_start_as_lecun_normals(kind):
    numbers = {"width": 300, "n_blocks": 2, "activation": "silu", "output_scale": 1.0}
    generator = torch.Generator().manual_seed(1)
    blocks = KINDS[kind](**numbers, n_features=40, n_channels=0, n_outputs=1, generator=generator).blocks
    for weight in (blocks.enter, *blocks.inner, *blocks.outer):
        assert float(weight.detach().var()) == pytest.approx(1.0 / weight.shape[0], rel=0.05)
    assert all(not torch.equal(one, other) for one, other in itertools.combinations([*blocks.inner, *blocks.outer], 2))


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_takes_part_in_training(generator, atoms, kind):
    network = shuffled(build(KINDS[kind]), generator)
    gradients = torch.autograd.grad(network(*atoms).square().sum(), list(network.parameters()))
    assert all(bool((gradient != 0).any()) for gradient in gradients)


@pytest.mark.parametrize("kind", KINDS)
def test_building_a_network_leaves_the_global_random_state_alone(kind):
    before = torch.random.get_rng_state()
    build(KINDS[kind])
    assert torch.equal(before, torch.random.get_rng_state())
