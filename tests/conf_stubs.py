"""A small experiment whose options are classes of this file: what the configuration layer does is tested without any physics."""

import shutil
from pathlib import Path
from typing import Annotated, Literal, final

import pytest
from annotated_types import Ge, Gt, Le, Len

from nnpx.configuration import resolvers, schema
from nnpx.wiring import Wired

CONF = Path(__file__).parent.parent / "conf"


NOUNS = ("data", "reference", "descriptor", "network", "optimizer")


class Shape:
    """What a nested option must be."""


@final
class Round(Shape):
    def __init__(self, *, radius: float) -> None:
        self.radius = radius


@final
class Square:
    def __init__(self, *, side: float) -> None:
        self.side = side


@final
class Option:
    """An option without numbers."""

    def __init__(self) -> None:
        self.built = True

    def inputs(self, folder: Path) -> list[Path]:
        return []


@final
class File:
    """A file of the user's own."""

    def __init__(self, *, path: str) -> None:
        self.path = path

    def inputs(self, folder: Path) -> list[Path]:
        return [Path(self.path)]


@final
class Open:
    """An option that takes whatever it is given."""

    def __init__(self, **anything: object) -> None:
        self.anything = anything


@final
class Descriptor:
    def __init__(
        self,
        *,
        n_radial: Annotated[int, Ge(1)],
        cutoff: Annotated[float, Gt(0)],
        kind: Literal["wide", "narrow"],
        shape: Shape,
        numbers: Wired[list[int]],
    ) -> None:
        self.n_radial, self.cutoff, self.kind, self.shape, self.numbers = n_radial, cutoff, kind, shape, numbers


@final
class Network:
    def __init__(self, *, hidden: Annotated[list[Annotated[int, Ge(1)]], Len(1)], dropout: Annotated[float, Ge(0), Le(1)] | None) -> None:
        self.hidden, self.dropout = hidden, dropout


@final
class Optimizer:
    def __init__(self, *, learning_rate: Annotated[float, Gt(0)], warm: bool) -> None:
        self.learning_rate, self.warm = learning_rate, warm


FILES = {
    "descriptor/acsf": """
_target_: conf_stubs.Descriptor
n_radial: 8
cutoff: 5.0
kind: wide
shape: {_target_: conf_stubs.Round, radius: "${descriptor.cutoff}"}
""",
    "descriptor/moments": "defaults: [acsf, _self_]\nn_radial: 4\n",
    "network/mlp": "_target_: conf_stubs.Network\nhidden: [64, 64]\ndropout: null\n",
    "optimizer/adamw": "_target_: conf_stubs.Optimizer\nlearning_rate: 1e-3\nwarm: false\n",
    "data/file": "_target_: conf_stubs.Round\nradius: ???\n",
    "experiment/quickstart": "# @package _global_\nname: quickstart\n",
    "experiment/small": "# @package _global_\ndefaults: [{override /descriptor: moments}]\nname: small\nnetwork: {hidden: [8]}\n",
}


def write_tree(folder: Path) -> Path:
    """A conf/ of a few nouns."""
    chosen = {"descriptor": "acsf", "network": "mlp", "optimizer": "adamw"}
    for noun in NOUNS:
        (folder / noun).mkdir(parents=True)
        if noun not in chosen:
            (folder / noun / "plain.yaml").write_text("_target_: conf_stubs.Option\n")
    for name, text in FILES.items():
        (folder / f"{name}.yaml").parent.mkdir(exist_ok=True)
        (folder / f"{name}.yaml").write_text(text)
    defaults = "".join(f"  - {noun}: {chosen.get(noun, 'plain')}\n" for noun in NOUNS)
    tail = (CONF / "config.yaml").read_text().partition("  - _self_\n")
    (folder / "config.yaml").write_text(f"defaults:\n{defaults}{tail[1]}{tail[2]}")
    return folder


def use_tree(folder: Path, monkeypatch: pytest.MonkeyPatch, *, trusted: str = "conf_stubs") -> Path:
    """Makes a small conf/ the shipped one."""
    tree = write_tree(folder / "conf")
    monkeypatch.setattr(resolvers, "conf_dir", lambda: tree)
    monkeypatch.setattr(schema, "NOUNS", NOUNS)
    monkeypatch.setenv("NNPX_TRUSTED", trusted)
    monkeypatch.chdir(folder)
    return tree


def copy_conf(folder: Path) -> Path:
    """A copy of the shipped conf/."""
    return Path(shutil.copytree(CONF, folder / "conf"))
