"""What is compiled is what would have been computed, and a machine that cannot compile says so."""

import copy

import pytest
import torch
from every_option import case_of
from test_recorded import assert_equal, computed, positions_of, torn
from torch import fx
from torch._inductor.exc import CppCompileError

from nnpx.calculator import Calculator
from nnpx.ensemble import Ensemble
from nnpx.ensemble.recorded import Recorded
from nnpx.errors import ConfigError
from nnpx.speed.recording import can_compile, record

with_compiler = pytest.mark.skipif(not can_compile(), reason="there is no C++ compiler on this machine")


def pull(positions: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Energy and forces of springs between all atoms, and the shortest distance."""
    moved = positions.detach().requires_grad_()
    distance = torch.pdist(moved)
    energy = (distance - 1.0).square().sum()
    return energy.detach(), -torch.autograd.grad(energy, moved)[0], distance.detach().amin()


@pytest.mark.slow
@with_compiler
def test_compiled_operations_give_what_they_gave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnpx.speed.recording._scripted", None)  # nothing to fall back to
    one, other = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    play = record(pull, one, truth=pull, others=[other], dtype=torch.float64, compiled=True)
    for positions in (one, other, 2.0 * one):
        torch.testing.assert_close(play(positions), pull(positions), rtol=1e-12, atol=1e-12)
        assert all(torch.equal(*pair) for pair in zip(play(positions), play(positions), strict=True))


@pytest.mark.slow
@with_compiler
@pytest.mark.parametrize(("descriptor", "n_members"), [("acsf", 2), ("moments_messages", 1)])
def test_compiled_potentials_are_the_potentials(descriptor: str, n_members: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnpx.speed.recording._scripted", None)
    case = case_of("descriptor", descriptor)
    members = [copy.deepcopy(case.potential) for _ in range(n_members)]
    for scale, member in enumerate(members):
        member.energy_scale *= 1.0 + 0.1 * scale
    ensemble = Ensemble(members).requires_grad_(requires_grad=False)
    compiled = Recorded(ensemble, [case.molecule], spread=n_members > 1, compiled=True)
    for atoms in (case.molecule, torn(case.molecule)):
        assert n_members == 1 or computed(ensemble, [atoms]).forces_std.max() > 1e-3
        assert_equal(compiled(positions_of([atoms])), computed(ensemble, [atoms]))


def test_a_machine_that_cannot_compile_is_told_before_it_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ConfigError, match=r"compiled: expected a C\+\+ compiler and Python\.h.*apt install"):
        Calculator(Ensemble([case_of("descriptor", "nep").potential]), compiled=True)


@pytest.mark.parametrize(
    "failure",
    [
        CppCompileError(["g++"], "x.cpp:1: note: in this file\nx.cpp:1: fatal error: no space left on device\ncompilation terminated."),
        AssertionError("error: no space left on device"),
    ],
)
def test_a_compiler_that_fails_costs_speed_alone(failure: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr("torch._inductor.compile", fail)
    one = torch.randn(4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with pytest.warns(UserWarning, match=r"a recording is not compiled, and slower therefore: .*error: no space left on device$"):
        play = record(pull, one, truth=pull, others=[one + 0.1], dtype=torch.float64, compiled=True)
    torch.testing.assert_close(play(2.0 * one), pull(2.0 * one))


def test_what_was_compiled_wrongly_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch._inductor.compile", lambda module, *_, **__: lambda now: [2.0 * value for value in module(now)])
    one = torch.randn(4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with pytest.warns(UserWarning, match="a recording is not compiled, and slower therefore: a recording differs from what it recorded"):
        play = record(pull, one, truth=pull, others=[one + 0.1], dtype=torch.float64, compiled=True)
    torch.testing.assert_close(play(2.0 * one), pull(2.0 * one))


def test_a_calculator_and_its_copies_compile_what_they_record(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[fx.GraphModule] = []
    monkeypatch.setattr("nnpx.calculator.can_compile", lambda: True)
    monkeypatch.setattr("nnpx.speed.recording._compiled", lambda module, _: compiled.append(module) or module)
    case = case_of("descriptor", "nep")
    for calculator in (first := Calculator(Ensemble([case.potential]), record_after=0, compiled=True), copy.deepcopy(first)):
        before, atoms = len(compiled), case.molecule.copy()
        calculator.get_potential_energy(atoms)
        assert len(compiled) == before + 1
