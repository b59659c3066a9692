"""How two experiments differ in what they mean: options by name first, then values; the order of keys and 1 against 1.0 mean nothing."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from omegaconf import OmegaConf

from nnpx.config import compose, load_params, read_kept
from nnpx.configuration.annotations import show
from nnpx.configuration.schema import NOUNS, is_node, leaves, plain

#: says when conf/ was composed, not what is computed
_MEANINGLESS: Final = ("conf_hash",)
#: stands for what one side does not have
_NOTHING: Final = object()


@final
@dataclass(frozen=True)
class Difference:
    """What changed from one experiment to another; every key is a dotted path.

    Attributes:
        options: noun → names of both options.
        values: key → both values, where both have it.
        added: key → value that only the second has.
        removed: key → value that only the first has.
    """

    options: Mapping[str, tuple[str, str]]
    values: Mapping[str, tuple[Any, Any]]
    added: Mapping[str, Any]
    removed: Mapping[str, Any]

    def __bool__(self) -> bool:
        return bool(self.options or self.values or self.added or self.removed)

    def lines(self) -> Iterator[str]:
        """The difference as text, one key per line."""
        parts: dict[str, Mapping[str, str]] = {
            "options": {key: f"{one} → {other}" for key, (one, other) in self.options.items()},
            "values": {key: f"{show(one)} → {show(other)}" for key, (one, other) in self.values.items()},
            "added": {key: show(value) for key, value in self.added.items()},
            "removed": {key: show(value) for key, value in self.removed.items()},
        }
        width = max((len(key) for part in parts.values() for key in part), default=0)
        for name, part in parts.items():
            yield from [f"{name}:"] if part else []
            yield from (f"  {key:<{width}}  {text}" for key, text in part.items())


def experiment_of(word: str, config_dir: Path | None) -> dict[str, Any]:
    """The composed experiment that a word names: a YAML file, a list of overrides in quotes, or a run of MLflow.

    Raises:
        ConfigError: if it names none of them.
    """
    if Path(word).is_file():
        return dict(plain(load_params(Path(word))))
    if "=" in word or not word.strip():
        return dict(plain(compose(shlex.split(word), config_dir)))
    if word.endswith((".yaml", ".yml")):
        load_params(Path(word))  # says that it is missing, and what it may be
    from nnpx.inspection.run_config import config_of_run

    return read_kept(config_of_run(word, Path.cwd()))


def difference(one: Mapping[str, Any], other: Mapping[str, Any], folders: Sequence[Path]) -> Difference:
    """What changed from one experiment to the other.

    Args:
        one: a composed experiment.
        other: another one.
        folders: the options that are known by name.
    """
    names = {noun: (option_of(noun, one.get(noun), folders), option_of(noun, other.get(noun), folders)) for noun in NOUNS}
    left, right = leaves(one), leaves(other)
    keys = list(dict.fromkeys([*left, *right]))
    pairs = {key: (left.get(key, _NOTHING), right.get(key, _NOTHING)) for key in keys if key not in _MEANINGLESS}
    told = {f"{noun}._target_" for noun in NOUNS}  # by the name of the option
    pairs = {key: pair for key, pair in pairs.items() if key not in told and not equal(*pair)}
    return Difference(
        options={noun: pair for noun, pair in names.items() if pair[0] != pair[1]},
        values={key: pair for key, pair in pairs.items() if _NOTHING not in pair},
        added={key: new for key, (old, new) in pairs.items() if old is _NOTHING},
        removed={key: old for key, (old, new) in pairs.items() if new is _NOTHING},
    )


def equal(one: Any, other: Any) -> bool:
    """Whether two values mean the same: numbers by value, but a number is never a truth value."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(equal(*pair) for pair in zip(one, other, strict=True))
    return bool(one == other)


def option_of(noun: str, node: Any, folders: Sequence[Path]) -> str:
    """The name of the option that a node was made from: of those with its class, the one that it agrees with most.

    A class that no option names is told as it is.
    """
    if not is_node(node):
        return show(node)
    own, agreement = leaves(node), {}
    for path in [path for folder in folders for path in sorted(folder.glob(f"{noun}/*.yaml"))]:
        content: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
        if isinstance(content, dict) and content.get("_target_") == node["_target_"]:
            # a nested class weighs more than any number: grids of one kind share their keys
            same = [key for key, value in leaves(content).items() if key in own and equal(value, own[key])]
            agreement[path.stem] = sum(100 if key.endswith("_target_") else 1 for key in same)
    return max(agreement, key=lambda name: agreement[name]) if agreement else str(node["_target_"])
