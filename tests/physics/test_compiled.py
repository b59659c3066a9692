"""What is compiled is what would have been computed, and a machine that cannot compile says so."""

import pytest
import torch
from every_option import case_of
from test_recorded import assert_equal, computed, positions_of, torn

from nnpx.calculator import Calculator
from nnpx.config import compose, instantiate
from nnpx.ensemble import Ensemble
from nnpx.ensemble.recorded import Recorded
from nnpx.errors import ConfigError
from nnpx.md.study import COMPILED_FROM, pays_to_compile
from nnpx.recording import can_compile, record

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
    monkeypatch.setattr("nnpx.recording._scripted", None)  # it is not the fallback
    one, other = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    play = record(pull, one, truth=pull, others=[other], dtype=torch.float64, compiled=True)
    for positions in (one, other, 2.0 * one):
        torch.testing.assert_close(play(positions), pull(positions), rtol=1e-12, atol=1e-12)
        assert all(torch.equal(*pair) for pair in zip(play(positions), play(positions), strict=True))


@pytest.mark.slow
@with_compiler
@pytest.mark.parametrize(("descriptor", "n_members"), [("acsf", 2), ("moments_messages", 1)])
def test_compiled_potentials_are_the_potentials(descriptor: str, n_members: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnpx.recording._scripted", None)
    case = case_of("descriptor", descriptor)
    ensemble = Ensemble([case.potential] * n_members).requires_grad_(requires_grad=False)
    compiled = Recorded(ensemble, [case.molecule], spread=n_members > 1, compiled=True)
    for atoms in (case.molecule, torn(case.molecule)):
        assert_equal(compiled(positions_of([atoms])), computed(ensemble, [atoms]))


def test_a_machine_that_cannot_compile_is_told_before_it_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ConfigError, match=r"compiled: expected a C\+\+ compiler and Python\.h.*apt install"):
        Calculator(Ensemble([case_of("descriptor", "nep").potential]), compiled=True)


def test_a_compiler_that_fails_costs_speed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("fatal error: no space left on device\nmuch more")

    monkeypatch.setattr("torch._inductor.compile", fail)
    one = torch.randn(4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with pytest.warns(UserWarning, match=r"a molecule is not compiled, and evaluated half as fast: fatal error: no space left on device$"):
        play = record(pull, one, truth=pull, others=[one + 0.1], dtype=torch.float64, compiled=True)
    torch.testing.assert_close(play(2.0 * one), pull(2.0 * one))


@pytest.mark.parametrize("md", ["nve", "replicas"])
def test_long_simulations_are_compiled_where_there_is_a_compiler(md: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr("nnpx.md.study.can_compile", lambda: True)
    options = [f"md={md}", "md.timestep_fs=1", *(["md.equilibration_ps=0"] if md == "nve" else ["md.look_every_fs=1"])]
    short, long = (instantiate(compose([*options, f"md.duration_ps={1e-3 * steps}"]).md) for steps in (COMPILED_FROM - 1, COMPILED_FROM))
    assert not pays_to_compile(short, tell=told.append)
    assert not told
    assert pays_to_compile(long, tell=told.append)
    assert f"{COMPILED_FROM} steps" in told[0]
    monkeypatch.setattr("nnpx.md.study.can_compile", lambda: False)
    assert not pays_to_compile(long, tell=told.append)
