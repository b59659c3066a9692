"""Known ground: what was seen in training lies on it; what was not is named by atom, element and feature."""

import copy

import pytest
import torch
from ase.build import molecule
from small import CONFIG, ethanols, graph_of, potential_for

from nnpx import artifact
from nnpx.calculator import Calculator
from nnpx.ensemble import Ensemble
from nnpx.extrapolation import extrapolations, measure_mahalanobis, measure_ranges, novelty, worst_extrapolations
from nnpx.results import error_table, evaluation_sections, range_table


@pytest.fixture(scope="module")
def ensemble():
    graph = graph_of(ethanols(20))
    members = [potential_for(graph, seed).eval() for seed in range(2)]
    pieces = [graph_of(ethanols(10)), graph_of(ethanols(20)[10:])]
    return Ensemble(members, None, measure_ranges(Ensemble(members), pieces), measure_mahalanobis(Ensemble(members), pieces))


def test_structures_of_the_training_set_lie_within_and_touch_every_bound(ensemble):
    assert extrapolations(ensemble, ethanols(20)) == []
    member, graph = ensemble.members[0], graph_of(ethanols(20))
    with torch.no_grad():
        features = member.describe(graph, graph.edges(), graph.species)[1]
    for species in range(3):
        own = features[graph.species == species]
        torch.testing.assert_close(ensemble.ranges.low[species], own.min(0).values)
        torch.testing.assert_close(ensemble.ranges.high[species], own.max(0).values)


def test_single_precision_alone_leaves_no_range(ensemble):
    narrow = copy.deepcopy(ensemble)
    for member in narrow.members:
        member.to_precision(torch.float32)
    assert novelty(narrow, [graph_of(ethanols(20)).cast(torch.float32)])["extrapolation"].max() == 0


def test_a_stretched_bond_is_named_at_the_atoms_that_it_joins(ensemble):
    familiar, stretched = ethanols(1)[0], ethanols(1)[0]
    hydrogen = max((k for k, symbol in enumerate(stretched.symbols) if symbol == "H"), key=lambda k: -stretched.get_distance(2, k))
    stretched.set_distance(2, hydrogen, 1.8, fix=0)  # O–H
    assert stretched.symbols[2] == "O"
    found = extrapolations(ensemble, [familiar, stretched])
    assert {one.structure for one in found} == {1}
    assert {2, hydrogen} <= {one.atom for one in found}
    worst = found[0]
    assert not worst.low <= worst.value <= worst.high
    assert worst.feature in ensemble.members[0].descriptor.names()
    assert str(worst).startswith(f"structure 1, atom {worst.atom} ({worst.element}): G")
    by_atom = novelty(ensemble, [graph_of([familiar, stretched])])["extrapolation"]
    assert by_atom[:9].max() == 0
    assert by_atom[9 + worst.atom] == by_atom.max()


@pytest.mark.parametrize("count", [1, 10])
def test_the_worst_of_many_structures_are_the_worst_of_all_and_stand_in_a_report(ensemble, count):
    structures = [*ethanols(3), *ethanols(3, displacement=0.4), *ethanols(2)]
    known = {name: values.numpy() for name, values in novelty(ensemble, [graph_of(structures)]).items()}
    found = worst_extrapolations(ensemble, structures, known, count=count)
    expected = extrapolations(ensemble, structures)[:count]  # both atoms of a bond may be as far
    assert [(one.structure, one.feature, one.value) for one in found] == [(one.structure, one.feature, one.value) for one in expected]
    of_the_first = {name: values[:27] for name, values in known.items()}
    assert worst_extrapolations(ensemble, structures[:3], of_the_first, count=count) == worst_extrapolations(ensemble, structures, {}) == []
    (_, _, element, feature, value, _) = range_table(found).rows[0]
    assert (element, feature, value) == (found[0].element, found[0].feature, found[0].value)
    assert range_table(found) in evaluation_sections({}, {}, [], found)[1].tables
    assert evaluation_sections({}, {}, [])[1].tables == [error_table({})]


def test_the_calculator_says_it_of_every_atom(ensemble):
    far = ethanols(1, displacement=0.4)[0]
    found = Calculator(ensemble).get_property("extrapolation", far)
    assert found == pytest.approx(novelty(ensemble, [graph_of([far])])["extrapolation"].numpy())
    assert found.max() > 0
    distance = Calculator(ensemble).get_property("mahalanobis", far)
    assert distance == pytest.approx(novelty(ensemble, [graph_of([far])])["mahalanobis"].numpy())
    assert distance.max() > 3
    assert not {"extrapolation", "mahalanobis"} & set(Calculator(Ensemble([*ensemble.members])).implemented_properties)


def test_an_element_that_was_never_trained_on_is_off_all_ground():
    graph = graph_of(ethanols(4))
    member = potential_for(graph, 0).eval()
    water = molecule("H2O")
    pieces = [graph_of([water])]
    without_carbon = Ensemble([member], None, measure_ranges(Ensemble([member]), pieces), measure_mahalanobis(Ensemble([member]), pieces))
    for found in novelty(without_carbon, [graph_of([molecule("CH3CH2OH")])]).values():
        assert torch.isinf(found[:2]).all()


def test_the_file_keeps_what_training_covered_and_an_older_one_knows_none(tmp_path, ensemble):
    artifact.save(tmp_path / "p.nnpx", ensemble, config=CONFIG, card={}, provenance={}, training={})
    loaded = artifact.load(tmp_path / "p.nnpx")
    assert torch.equal(loaded.ranges.low, ensemble.ranges.low)
    assert torch.equal(loaded.ranges.high, ensemble.ranges.high)
    assert torch.equal(loaded.mahalanobis.mean, ensemble.mahalanobis.mean)
    assert torch.equal(loaded.mahalanobis.precision, ensemble.mahalanobis.precision)
    artifact.save(
        tmp_path / "p.nnpx", Ensemble([*ensemble.members], None, ensemble.ranges), config=CONFIG, card={}, provenance={}, training={}
    )
    assert list(novelty(artifact.load(tmp_path / "p.nnpx"), [graph_of(ethanols(1))])) == ["extrapolation"]
    artifact.save(tmp_path / "p.nnpx", Ensemble([*ensemble.members]), config=CONFIG, card={}, provenance={}, training={})
    older = artifact.load(tmp_path / "p.nnpx")
    assert extrapolations(older, ethanols(1, displacement=0.5)) == []
    assert novelty(older, [graph_of(ethanols(1))]) == {}
