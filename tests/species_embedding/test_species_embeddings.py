"""Species vectors: what they hold and what trains them."""

import pytest
import torch
from ase.data import atomic_numbers, covalent_radii

from nnpx.errors import SpeciesError
from nnpx.species_embedding.atomic_number import AtomicNumber
from nnpx.species_embedding.learned import Learned
from nnpx.species_embedding.onehot import OneHot
from nnpx.species_embedding.periodic_table import group_of, period_of, standardised_properties, valence_electrons
from nnpx.species_embedding.properties import Properties


def test_onehot_gives_every_element_its_channel():
    embedding = OneHot(numbers=[1, 6, 8])
    assert embedding(torch.tensor([2, 0, 1])).tolist() == [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    assert list(embedding.parameters()) == []


def test_atomic_number_is_one_fixed_channel():
    embedding = AtomicNumber(numbers=[1, 6, 8])
    assert embedding(torch.tensor([2, 0, 1])).tolist() == [[8.0], [1.0], [6.0]]
    assert list(embedding.parameters()) == []


def test_learned_vectors_are_trained_and_depend_on_the_seed(generator):
    embedding = Learned(n_channels=3, numbers=[1, 8], generator=generator)
    other = Learned(n_channels=3, numbers=[1, 8], generator=torch.Generator().manual_seed(1))
    assert [tuple(parameter.shape) for parameter in embedding.parameters()] == [(2, 3)]
    assert not torch.equal(embedding.vectors, other.vectors)


def test_an_element_starts_at_the_same_vector_whichever_others_are_present():
    few = Learned(n_channels=3, numbers=[8], generator=torch.Generator().manual_seed(5))
    many = Learned(n_channels=3, numbers=[1, 6, 8], generator=torch.Generator().manual_seed(5))
    assert torch.equal(few.vectors[0], many.vectors[2])


@pytest.mark.parametrize(
    ("symbol", "period", "group", "valence"),
    [
        *[("H", 1, 1, 1), ("He", 1, 18, 2), ("C", 2, 14, 4), ("Cl", 3, 17, 7), ("K", 4, 1, 1), ("Fe", 4, 8, 8), ("Zn", 4, 12, 12)],
        *[("Ga", 4, 13, 3), ("Ag", 5, 11, 11), ("Xe", 5, 18, 8), ("La", 6, 3, 3), ("Gd", 6, 3, 3), ("Lu", 6, 3, 3)],
        *[("Hf", 6, 4, 4), ("Au", 6, 11, 11), ("Pb", 6, 14, 4), ("U", 7, 3, 3)],
    ],
)
def test_places_in_the_periodic_table(symbol, period, group, valence):
    number = atomic_numbers[symbol]
    assert (period_of(number), group_of(number), valence_electrons(number)) == (period, group, valence)


def test_properties_are_standardised_over_hydrogen_to_plutonium():
    table = standardised_properties(list(range(1, 95)))
    torch.testing.assert_close(table.mean(0), torch.zeros(5, dtype=torch.float64), rtol=0.0, atol=1e-12)
    torch.testing.assert_close(table.std(0, correction=0), torch.ones(5, dtype=torch.float64), rtol=0.0, atol=1e-12)


def test_properties_keep_the_order_of_the_table():
    """Fluorine is the most electronegative of the elements that bond; caesium is larger than lithium."""
    f, o, cs, li = standardised_properties([9, 8, 55, 3])
    assert f[0] > o[0] > li[0] > cs[0]
    assert (cs[1] - li[1]) / (o[1] - f[1]) == pytest.approx(
        (covalent_radii[55] - covalent_radii[3]) / (covalent_radii[8] - covalent_radii[9])
    )


def test_relatives_are_closer_than_strangers():
    vectors = standardised_properties([9, 17, 11])  # F, Cl, Na
    assert torch.dist(vectors[0], vectors[1]) < torch.dist(vectors[0], vectors[2])


def test_properties_without_channels_are_not_trained(generator):
    embedding = Properties(n_channels=None, numbers=[1, 6], generator=generator)
    assert embedding.n_channels == 5
    assert list(embedding.parameters()) == []
    assert torch.equal(embedding(torch.tensor([1])), standardised_properties([6]))


def test_properties_with_channels_are_mixed_by_a_trained_matrix(generator):
    embedding = Properties(n_channels=2, numbers=[1, 6], generator=generator)
    assert [tuple(parameter.shape) for parameter in embedding.parameters()] == [(5, 2)]
    assert embedding(torch.tensor([0, 1, 1])).shape == (3, 2)


def test_elements_beyond_the_table_are_refused(generator):
    with pytest.raises(SpeciesError, match=r"expected elements from H \(1\) to Pu \(94\), found atomic number 98"):
        Properties(n_channels=None, numbers=[98], generator=generator)
