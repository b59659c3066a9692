"""Matrices of float32 are multiplied in full: where torch was told to round them to TF32 or bfloat16, nothing is computed."""

from collections.abc import Callable, Iterator

import pytest
import torch
from small import ethanols, graph_of, potential_for, stored

from nnpx.calculator import Calculator
from nnpx.ensemble import Ensemble
from nnpx.errors import ConfigError

REFUSED = r"expected products of matrices in full float32, found less.* Set torch\.set_float32_matmul_precision\(\"highest\"\)"


@pytest.fixture(autouse=True)
def precision() -> Iterator[None]:
    """In full again after a test, on every device."""
    yield
    torch.set_float32_matmul_precision("highest")
    assert not torch.backends.cuda.matmul.allow_tf32


def for_one_library() -> None:
    """As newer versions of torch want it; they then refuse to say what holds for all."""
    if not hasattr(torch.backends, "fp32_precision"):
        pytest.skip("this torch has one precision for all libraries")
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"


def for_gpus() -> None:
    """As it was said before there was a function."""
    torch.backends.cuda.matmul.allow_tf32 = True


@pytest.fixture(params=["high", "medium", for_gpus, for_one_library], ids=["high", "medium", "on GPUs", "for one library"])
def reduce(request: pytest.FixtureRequest) -> Callable[[], None]:
    """One of the ways to say it."""
    asked = request.param
    return asked if callable(asked) else lambda: torch.set_float32_matmul_precision(asked)


def test_an_evaluation_in_float32_is_refused_and_one_in_float64_is_what_it_was(reduce):
    structures = ethanols(2)
    graph = graph_of(structures)
    potential = potential_for(graph).eval()
    expected = potential(graph)
    narrow = potential_for(graph).to_precision(torch.float32).eval()
    reduce()
    torch.testing.assert_close(potential(graph).forces, expected.forces, rtol=0, atol=0)
    for evaluated in (narrow, Ensemble([narrow])):
        with pytest.raises(ConfigError, match=REFUSED):
            evaluated(graph.cast(torch.float32))


def test_within_autocast_nothing_is_computed():
    graph = graph_of(ethanols(1))
    potential = potential_for(graph).to_precision(torch.float32).eval()
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(ConfigError, match=REFUSED):
        potential(graph.cast(torch.float32))
    assert torch.isfinite(potential(graph.cast(torch.float32)).forces).all()


@pytest.mark.parametrize("record_after", [0, 10**9], ids=["recorded", "not recorded"])
def test_the_calculator_refuses_before_and_after_it_has_recorded(record_after):
    graph, (atoms,) = graph_of(ethanols(1)), ethanols(1)
    calculator = Calculator(Ensemble([potential_for(graph)]), dtype="float32", record_after=record_after)
    expected = calculator.get_property("energy", atoms)
    torch.set_float32_matmul_precision("medium")
    for _ in range(2):
        with pytest.raises(ConfigError, match=REFUSED):
            calculator.calculate(atoms, ["energy"])
    torch.set_float32_matmul_precision("highest")
    calculator.calculate(atoms, ["energy"])
    assert calculator.results["energy"] == expected


def test_an_update_of_a_training_is_refused():
    graph = graph_of(ethanols(3))
    potential = potential_for(graph)
    batch = stored(graph, potential, torch.float32)
    potential.to_precision(torch.float32).train()
    torch.set_float32_matmul_precision("high")
    with pytest.raises(ConfigError, match=REFUSED):
        potential(batch)
