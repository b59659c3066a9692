"""The name by which a trajectory is found again changes with whatever changes the trajectory."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from md_systems import settings, watchdog

from nnpx.errors import ConfigError
from nnpx.md import Dynamics
from nnpx.md import identity as module
from nnpx.md.identity import identity
from nnpx.md.langevin import Langevin
from nnpx.md.nve import NVE
from nnpx.provenance import version


def langevin(**changed: Any) -> Langevin:
    return Langevin(**settings(**changed))


def atoms() -> Atoms:
    return Atoms("Ar8", 4.0 * np.argwhere(np.ones((2, 2, 2))).astype(float), cell=[8.0] * 3, pbc=True)


def named(dynamics: Dynamics, *, potential: str = "potential", start: Atoms | None = None, seed: int = 3, trusted: str = "") -> str:
    return identity(potential, dynamics, start or atoms(), seed, trusted=trusted)


@pytest.mark.parametrize(
    "changed",
    [{"temperature_K": 31.0}, {"duration_ps": 0.3}, {"timestep_fs": 0.9}, {"friction_per_fs": 0.02}, {"sample_every_fs": 8.0}],
    ids=str,
)
def test_another_configuration_has_another_name(changed: dict[str, Any]) -> None:
    known = named(langevin())
    assert known == named(langevin(watchdog=watchdog()))
    heavier, moved = atoms(), atoms()
    heavier.set_masses([41.0] * 8)
    moved.positions[0, 0] += 1e-12
    others = [
        named(langevin(**changed)),
        named(langevin(), potential="another"),
        named(langevin(), seed=4),
        named(langevin(), trusted="their code"),
        named(NVE(**settings())),
        *(named(langevin(), start=other) for other in (heavier, moved)),
        named(langevin(watchdog=watchdog(max_force=1.0))),
    ]
    assert len({known, *others}) == 9


def test_other_code_has_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of nnpx, and of the packages that move the atoms."""
    known = {named(NVE(**settings()))}
    with monkeypatch.context() as patch:
        patch.setattr(module, "code_fingerprint", lambda: "of tomorrow")
        known.add(named(NVE(**settings())))
    monkeypatch.setattr(module, "version", lambda package: "99.0" if package == "ase" else version(package))
    assert len({*known, named(NVE(**settings()))}) == 3


class Stages:
    """What an own option may hold: any class, and any state."""

    def __init__(self, **settings: Any) -> None:
        self.__dict__ |= settings


class OtherStages(Stages):
    pass


@pytest.mark.parametrize(
    "pair",
    [
        ([300.0, 600.0], [300.0, 601.0]),
        ({"heat": [1, {"to": 2.0}]}, {"heat": [1, {"to": 3.0}]}),
        ({1: 2.0}, {"1": 2.0}),
        (Stages(rate=1.0, within=Stages(of=[1])), Stages(rate=1.0, within=Stages(of=[2]))),
        (Stages(rate=1.0), OtherStages(rate=1.0)),
        (np.arange(3.0), np.array([0.0, 1.0, 2.0 + 1e-15])),
        (np.float32(1.0), np.float32(1.5)),
        (Path("one"), Path("other")),
        (named, watchdog),
        (1, True),
    ],
    ids=str,
)
def test_every_setting_is_part_of_the_name(pair: tuple[Any, Any]) -> None:
    names = []
    for value in (*pair, deepcopy(pair[0])):
        dynamics = langevin()
        dynamics.schedule = value
        names.append(named(dynamics))
    assert names[0] != names[1]
    assert names[0] == names[2]


@pytest.mark.parametrize("value", [lambda: 1.0, (k for k in [1])], ids=["function", "generator"])
def test_a_setting_that_cannot_be_written_down_is_an_error(value: Any) -> None:
    dynamics = langevin()
    dynamics.watchdog.bias = [value]
    with pytest.raises(ConfigError, match=r"md\.watchdog\.bias: expected numbers, words"):
        named(dynamics)
