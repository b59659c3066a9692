"""What is read from the source of a class is what Python knows of the class once it is imported."""

import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Annotated, get_args, get_origin, get_type_hints

import pytest
import yaml

import nnpx
from nnpx.configuration import signatures
from nnpx.configuration.annotations import describe
from nnpx.wiring import WIRED

CONF = Path(nnpx.__file__).parent.parent / "conf"


def targets_in(value):
    """Every `_target_` of a YAML file, nested ones too."""
    if isinstance(value, dict):
        yield from [value["_target_"]] if "_target_" in value else []
        yield from (target for item in value.values() for target in targets_in(item))
    elif isinstance(value, list):
        yield from (target for item in value for target in targets_in(item))


TARGETS = sorted({target for path in CONF.rglob("*.yaml") for target in targets_in(yaml.safe_load(path.read_text()))})


def both(target):
    """The shadow of a class and the class."""
    module, _, name = target.rpartition(".")
    return signatures.read(module, name), getattr(importlib.import_module(module), name)


def is_wired(annotation):
    return get_origin(annotation) is Annotated and WIRED in get_args(annotation)


def parameters(kind):
    """Name, kind, whether it is required, and the annotation of every argument; classes by name."""
    hints = get_type_hints(kind.__init__, include_extras=True)
    found = {}
    for name, parameter in inspect.signature(kind).parameters.items():
        hint = hints.get(name)
        words = "wired" if is_wired(hint) else (describe(hint), str(hint).replace(f"{signatures.__name__}.", ""))
        found[name] = (parameter.kind, parameter.default is parameter.empty, words)
    return found


@pytest.mark.parametrize("target", TARGETS)
def test_the_signature_read_from_the_source_is_that_of_the_imported_class(target):
    shadow, real = both(target)
    assert parameters(shadow) == parameters(real)
    assert inspect.isabstract(shadow) == inspect.isabstract(real)
    assert inspect.getdoc(shadow) == inspect.getdoc(real)


@pytest.mark.parametrize("target", TARGETS)
def test_a_class_is_an_option_of_the_same_kinds_as_its_shadow(target):
    def ancestors(kind):
        return [f"{base.__module__}.{base.__qualname__}" for base in kind.__mro__ if base.__module__.startswith("nnpx.")]

    shadow, real = both(target)
    assert ancestors(shadow) == ancestors(real)


@pytest.mark.parametrize(
    "target", ["nnpx.cutoff.Cutoff", "nnpx.md.Dynamics", "nnpx.data.split.Split", "nnpx.descriptor.angular.AngularSet"]
)
def test_a_contract_is_abstract_and_its_options_are_found(target):
    shadow, real = both(target)
    assert inspect.isabstract(shadow)
    assert inspect.isabstract(real)
    found = {f"{kind.__module__}.{kind.__name__}" for kind in signatures.subclasses(shadow)}
    assert {named for named in TARGETS if issubclass(both(named)[1], real)} <= found
    assert signatures.subclasses(real) == signatures.subclasses(shadow)


def test_what_a_module_imports_or_computes_is_not_one_of_its_classes():
    assert signatures.read("nnpx.config", "Path") is None
    assert signatures.read("nnpx.configuration.targets", "os") is None
    assert signatures.read("nnpx.cli", "main") is None
    assert signatures.read("os", "system") is None


def test_reading_every_option_imports_nothing_heavy():
    script = (
        "import sys; from nnpx.configuration import signatures\n"
        f"for target in {TARGETS}:\n    assert signatures.read(*target.rsplit('.', 1)) is not None\n"
        "print(' '.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "ase", "mlflow", "torch_geometric", "hydra"} & set(done.stdout.split())
