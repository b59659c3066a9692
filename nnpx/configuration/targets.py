"""Which classes a configuration may name: the allow-list, and the import behind it.

A `_target_` is text from a file. It counts only if it lies below `nnpx.`, where it is read without importing it until something is
built, or belongs to a package that the user trusts on their own command line. The list of trusted packages travels to worker processes in
the environment of the user's process; no file, and least of all a saved potential, can add to it.
"""

import hashlib
import importlib
import inspect
import os
import pkgutil
import re
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from nnpx.configuration import signatures
from nnpx.errors import ConfigError, TrustError
from nnpx.trusted import ENVIRONMENT, reach, trusted_packages


def trust(packages: Sequence[str]) -> None:
    """Adds packages that the user named on their own command line, for this process and those that it starts."""
    packages = [packages] if isinstance(packages, str) else packages
    os.environ[ENVIRONMENT] = ",".join(dict.fromkeys([*trusted_packages(), *packages]))


def suggest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """`Did you mean x?` or nothing; a cutoff of 1 asks for the same word."""
    close = get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return f"Did you mean {close[0]}?" if close else ""


def locate(target: object, where: str, trusted: Sequence[str] = ()) -> Callable[..., Any]:
    """The class behind a `_target_`, for looking at: one of nnpx is read from its source, one that the user trusts is imported.

    Raises:
        ConfigError: if the target is outside the allow-list, does not exist or needs a package that is not installed.
    """
    packages = ["nnpx", *trusted_packages(), *trusted]
    if not isinstance(target, str) or not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", target):
        raise ConfigError(f"{where}._target_", expected="package.module.Class", found=repr(target), do="Name a class by its dotted path.")
    if not any(target.startswith(f"{package}.") for package in packages):
        package = target.split(".")[0]
        raise TrustError(
            f"{where}._target_",
            expected="a class below nnpx. or one that you trust",
            found=target,
            do=f"If the code is yours, say trusted=[{package}] on the command line, or set {ENVIRONMENT}={package} for `dvc repro`, "
            f'or call nnpx.trust(["{package}"]) in Python; otherwise do not use this configuration.',
        )
    found = _read(target, where) if target.startswith("nnpx.") else _imported(target, where, packages)
    if inspect.isabstract(found):
        lacking = ", ".join(sorted(getattr(found, "__abstractmethods__", ())))
        is_ours = target.startswith("nnpx.")
        said, do = (
            ("is abstract", "Name one of its options.")
            if is_ours
            else (f"lacks {lacking}", "Write them; its base class says what they do.")
        )
        raise ConfigError(f"{where}._target_", expected="a class that can be built", found=f"{target}, which {said}", do=do)
    return found


def load(target: str) -> Callable[..., Any]:
    """What `locate` found, imported: this is where code begins to run.

    Raises:
        ConfigError: if it needs a package that is not installed.
    """
    return _imported(target, target, ["nnpx", *trusted_packages()])


def _read(target: str, where: str) -> type:
    path, _, name = target.rpartition(".")
    if signatures.source(path) is None:
        parts = path.split(".")
        absent = next(n for n in range(1, len(parts)) if signatures.source(".".join(parts[: n + 1])) is None)
        raise _unknown(target, parts[absent], signatures.submodules(".".join(parts[:absent])), where)
    missing = signatures.missing_package(path)
    if missing is not None:
        raise _not_installed(target, missing, where)
    found = signatures.read(path, name)
    if found is None:
        raise _unknown(target, name, signatures.classes(path), where)
    return found


def _imported(target: str, where: str, packages: Sequence[str]) -> Callable[..., Any]:
    path, _, name = target.rpartition(".")
    found = getattr(_module(path, target, where), name, None)
    # a module's own imports are no options: mypkg.x.subprocess would otherwise open every door
    home = getattr(found, "__module__", None) or ""
    ours = any(home == package or home.startswith(f"{package}.") for package in packages)
    builds = inspect.isclass(found) or (inspect.isfunction(found) and not home.startswith("nnpx."))
    if not builds or not ours or found is None:
        raise _unknown(target, name, _classes(importlib.import_module(path)), where)
    return found  # type: ignore[no-any-return]  # a class or a function, as checked above


def _module(path: str, target: str, where: str) -> ModuleType:
    reach(path.split(".")[0])
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing == path.split(".")[0]:
            raise ConfigError(
                f"{where}._target_",
                expected=f"the package {missing}, installed or in {Path.cwd()} or above it",
                found="neither",
                do=f"Run nnpx in the folder that holds {missing}/, or name that folder in PYTHONPATH.",
            ) from error
        if path == missing or path.startswith(f"{missing}."):
            parent, _, name = missing.rpartition(".")
            raise _unknown(target, name, _submodules(parent), where) from error
        raise _not_installed(target, missing, where) from error


def _not_installed(target: str, package: str, where: str) -> ConfigError:
    return ConfigError(
        f"{where}._target_",
        expected=f"the package {package}, which {target} needs",
        found="that it is not installed",
        do=f"Run `pip install {package.split('.')[0]}`.",
    )


def trusted_code() -> str:
    """Twelve hexadecimal digits that change with any line of the packages that the user trusts."""
    digest = hashlib.sha256()
    for package in sorted(trusted_packages()):
        reach(package)
        name = package.split(".")[0]
        spec = find_spec(name) if name.isidentifier() else None
        if spec is None:
            continue
        folders = [Path(place) for place in spec.submodule_search_locations or []]  # of a package; one without __init__.py has no origin
        alone = [Path(spec.origin)] if spec.origin and not folders else []
        for path in [*alone, *(path for folder in folders for path in sorted(folder.rglob("*.py")))]:
            digest.update(package.encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _unknown(target: str, name: str, known: list[str], where: str) -> ConfigError:
    beside = ", ".join(known) or "nothing"
    hint = suggest(name, known) or "Correct the path."
    return ConfigError(f"{where}._target_", expected=f"a class that exists (beside it: {beside})", found=target, do=hint)


def _classes(module: ModuleType) -> list[str]:
    return [name for name, item in vars(module).items() if inspect.isclass(item) and item.__module__ == module.__name__]


def _submodules(package: str) -> list[str]:
    try:
        module = importlib.import_module(package) if package else None
    except ModuleNotFoundError:
        return []
    return sorted(found.name for found in pkgutil.iter_modules(getattr(module, "__path__", [])) if not found.name.startswith("_"))
