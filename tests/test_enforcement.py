"""A call of nnpx with a wrong type or shape fails in the tests."""

from dataclasses import dataclass
from typing import Any

import jaxtyping
import pytest
import torch
from beartype import beartype
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import Float, TypeCheckError
from torch import Tensor

from nnpx.files import write_text
from nnpx.reduce import sum_edges_to_atoms

checked = jaxtyping.jaxtyped(typechecker=beartype)
REFUSED = (BeartypeCallHintViolation, TypeCheckError)


@checked
def second(one: Float[Tensor, "atom 3"], other: Float[Tensor, " atom"], answer: Any = None) -> Float[Tensor, " atom"]:
    return other if answer is None else answer


@checked
def length(name: str, answer: Any = 1) -> int:
    return answer


@checked
def quoted(name: "str") -> "int":
    return len(name) if name else ""


def scaled(by: Any, value: Any) -> Any:
    @checked
    def scale(one: Float[Tensor, " atom"], other: Float[Tensor, " atom"]) -> Float[Tensor, " atom"]:
        return by * one

    return scale(*value)


@checked
@dataclass
class Pair:
    one: Float[Tensor, " atom"]
    other: Float[Tensor, " atom"]


def test_sizes_with_one_name_are_equal_within_a_call_and_new_in_the_next():
    for n in (2, 5):
        assert second(torch.zeros(n, 3), torch.zeros(n)).shape == (n,)
        assert Pair(torch.zeros(n), torch.zeros(n)).one.shape == (n,)


def test_a_function_within_a_function_is_its_own_each_time():
    one = torch.ones(3)
    assert [scaled(by, (one, one)).tolist() for by in (2.0, 3.0)] == [[2.0] * 3, [3.0] * 3]
    for wrong in ((3.0, (one, torch.ones(4))), (torch.ones(2, 3), (one, one))):
        with pytest.raises(REFUSED):
            scaled(*wrong)


@pytest.mark.parametrize(
    "call",
    [
        lambda: second(torch.zeros(4, 3), torch.zeros(5)),
        lambda: second(torch.zeros(4, 2), torch.zeros(4)),
        lambda: second(torch.zeros(4, 3), torch.zeros(4, dtype=torch.long)),
        lambda: second(torch.zeros(4, 3), torch.zeros(4), torch.zeros(5)),
        lambda: second(torch.zeros(4, 3), None),
        lambda: length(3),
        lambda: length("three", "3"),
        lambda: quoted(3),
        lambda: quoted(""),
        lambda: Pair(torch.zeros(4), torch.zeros(5)),
        lambda: sum_edges_to_atoms(torch.zeros(4, 3), torch.zeros(5, dtype=torch.long), 2),
        lambda: write_text("a path of text", ""),
    ],
)
def test_what_a_signature_does_not_say_is_refused(call):
    with pytest.raises(REFUSED):
        call()
