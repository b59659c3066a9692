"""What the docstring of a class says of its arguments: in Google's style, with references such as "see `Dynamics`" followed."""

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

_SEE: Final = re.compile(r"see `(?:\w+\.)*(\w+)`[;.,]?\s*")
_DOI: Final = re.compile(r"(?:doi:\s*|https://doi\.org/)?(10\.\d{4,}/[^\s`,;]+)|arXiv:\s*(\d{4}\.\d{4,5})")
_UNITS: Final = (
    *("Å", "eV", "eV/Å", "eV/Å³", "K", "fs", "1/fs", "ps", "e", "hartree", "bohr", "s", "GPa", "MB"),
    *("steps", "cycles", "structures", "molecules", "electrons", "structures or fraction", "structures per update", "dimensionless"),
    *("per update", "per trajectory", "per temperature", "per size"),
)
#: the ends of names that say a unit
_SUFFIXES: Final = {
    **{f"_{unit}": unit for unit in ("fs", "ps", "K", "GPa", "MB", "s", "bohr")},
    **{"_per_fs": "1/fs", "_per_bohr2": "1/bohr²", "_epochs": "epochs", "_steps": "steps"},
}


def summary(text: str) -> str:
    """The first paragraph, in one line."""
    return " ".join(inspect.cleandoc(text).partition("\n\n")[0].split())


def argument(kind: Callable[..., Any], name: str) -> str:
    """What an argument means, in the words of the class or of the one that it refers to; empty if none says."""
    owners: tuple[type, ...] = getattr(kind, "__mro__", ())
    for owner in owners:
        words = dict(_arguments(vars(owner).get("__doc__") or "")).get(name)
        if words is not None:
            return _followed(kind, owner, name, words)
    return ""


def links(*texts: str) -> list[str]:
    """The addresses of every DOI and arXiv number in some texts."""
    found = [match for text in texts for match in _DOI.finditer(text)]
    addresses = [f"https://doi.org/{one[1].rstrip(').:?')}" if one[1] else f"https://arxiv.org/abs/{one[2]}" for one in found]
    return list(dict.fromkeys(addresses))


def unit(name: str, comment: str) -> str:
    """The unit that a key's name or the comment beside its value gives; empty if neither does."""
    first = re.split(r"[,;(]| of | for | in | between ", comment)[0].strip()
    suffix = next((mark for mark in sorted(_SUFFIXES, key=len, reverse=True) if name.endswith(mark)), "")
    return first if first in _UNITS else _SUFFIXES.get(suffix, "")


def _followed(kind: Callable[..., Any], owner: type, name: str, words: str) -> str:
    """The words with a reference to another class replaced by what that class says; what stands behind it is kept."""
    match = _SEE.match(words)
    other = next((base for base in getattr(kind, "__mro__", ()) if match and base.__name__ == match[1] and base is not owner), None)
    if match is None or other is None:
        return words
    rest = words[match.end() :]
    said = argument(other, name).rstrip(".")
    return f"{said}; {rest}" if said and rest else said or words


def _arguments(text: str) -> Iterator[tuple[str, str]]:
    """Every argument under `Args:` with its description in one line."""
    lines = inspect.cleandoc(text).splitlines()
    start = next((n for n, line in enumerate(lines) if line.strip() == "Args:"), len(lines))
    entries: list[str] = []
    for line in lines[start + 1 :]:
        depth = len(line) - len(line.lstrip())
        if line.strip() and depth == 0:
            break
        if depth == 4:
            entries.append(line.strip())
        elif entries and line.strip():
            entries[-1] += f" {line.strip()}"
    for entry in entries:
        names, _, words = entry.partition(": ")
        yield from ((name.strip().lstrip("*"), words) for name in names.split(","))
