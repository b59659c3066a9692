"""What may stand next on a command line: verbs, flags, groups, options, keys, values. Answers from conf/ and the source, without Hydra.

A line is completed as a whole: what it has chosen so far (`--config-dir`, `--params`, `group=option`) decides which keys there are.
"""

import ast
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, final

from nnpx.configuration.option_files import OVERLAY, SEPARATE_GROUPS, content_of, groups_in, read_if_possible
from nnpx.flags import FLAGS

#: the words that a command takes first
SECOND_WORDS: Final = {"completion": ("bash", "zsh", "fish"), "config": ("show", "validate", "diff", "schema", "explain")}
#: the values of a flag; a flag with none takes a file or folder, which the shell completes itself
_VALUES: Final[dict[str, tuple[str, ...]]] = {
    "--cfg": ("job", "hydra", "all"),
    "-c": ("job", "hydra", "all"),
    **dict.fromkeys(("--params", "--config-dir", "-cd", "--package", "-p"), ()),
}
#: launchers of sweeps, with the module of those that are optional
_LAUNCHERS: Final = {
    "joblib": "hydra_plugins.hydra_joblib_launcher",
    "submitit_local": "hydra_plugins.hydra_submitit_launcher",
    "submitit_slurm": "hydra_plugins.hydra_submitit_launcher",
    "ray": "ray",
}
#: filled in, never set by hand
_NOT_OFFERED: Final = ("defaults", "hydra", "conf_hash", "_target_")


def candidates(line: str, verbs: Sequence[str], commands: Sequence[str], conf: Path) -> list[str]:
    """Every word that may stand where a line ends, in place of the word that it ends with.

    Args:
        line: the command line up to the cursor, beginning with the program.
        verbs: the verbs.
        commands: the commands beside them.
        conf: the shipped options.
    """
    *before, word = line.split(" ")
    before = [part for part in before[1:] if part]
    if not before:
        found: Sequence[str] = [*verbs, *commands, "--help", "--version"]
    elif before[-1] in _VALUES:
        found = _VALUES[before[-1]]
    elif len(before) == 1 and before[0] in SECOND_WORDS:
        found = SECOND_WORDS[before[0]]
    elif word.startswith("-"):
        found = FLAGS
    elif before[0] in verbs or before[0] in ("config", "tune"):
        found = list(_Line(before, conf).words(word))
    else:
        found = ()
    shown = [one for one in found if one.startswith(word)]
    return [one for one in shown if not one.startswith("-")] if not word else shown


@final
class _Line:
    """The experiment that the words of a line describe so far."""

    def __init__(self, before: Sequence[str], conf: Path) -> None:
        given = dict(pairwise(before))
        own = given.get("--config-dir") or given.get("-cd") or next((w[13:] for w in before if w.startswith("--config-dir=")), "")
        self.folders = [conf, *([Path(own)] if own else [])]
        known = groups_in(self.folders)
        self.groups = {group: options for group, options in known.items() if SEPARATE_GROUPS.get(group, before[0]) == before[0]}
        self.chosen = [word.partition("=")[::2] for word in before if "=" in word]
        params = Path(given.get("--params", ""))
        self.composed = read_if_possible(params) if params.is_file() else None

    def words(self, word: str) -> Iterator[str]:
        """Every word that may stand in place of this one."""
        lead = word[: len(word) - len(word.lstrip("+~"))]
        key, equals, value = word[len(lead) :].partition("=")
        if equals:
            start, comma, _ = value.rpartition(",")
            for option in self.values(key):
                if option not in start.split(","):
                    yield f"{lead}{key}={start}{comma}{option}"
            return
        end = "" if lead == "~" else "="
        groups = [] if self.composed is not None else [f"{group}{end}" for group in self.groups]
        for name in [*groups, "hydra/launcher=", *self.keys(key, end)]:
            if not name.startswith("hydra") or key.startswith("h"):
                yield f"{lead}{name}"

    def keys(self, key: str, end: str) -> Iterator[str]:
        """The keys on the level where a word stands: `optimizer.`, `optimizer.learning_rate=`."""
        path = key.split(".")[:-1]
        seen = set()
        for level in self.levels(path):
            for name, value in level.items():
                nested = isinstance(value, Mapping)
                text = ".".join([*path, str(name)])
                if name not in _NOT_OFFERED and not (nested and not value) and text not in seen:
                    seen.add(text)
                    yield f"{text}." if nested else f"{text}{end}"

    def values(self, key: str) -> list[str]:
        """What may stand behind the = of a key."""
        if key in self.groups and self.composed is None:
            return self.groups[key]
        if key == "hydra/launcher":
            return [
                "basic",
                *(name for name, module in _LAUNCHERS.items() if find_spec(module.partition(".")[0]) and find_spec(module)),
            ]
        *path, name = key.split(".")
        found = [value for level in self.levels(path) if "_target_" in level for value in _values_of(str(level["_target_"]), name)]
        return list(dict.fromkeys(found))

    def levels(self, path: Sequence[str]) -> list[Mapping[str, Any]]:
        """The mappings that a path leads to: several, where a sweep chooses several options."""
        roots: list[Mapping[str, Any]]
        if self.composed is not None:
            roots = [self.composed]
        elif not path:
            root = read_if_possible(self.folders[0] / "config.yaml")
            roots = [{**root, **{group: {"": None} for group in self.groups if group != OVERLAY}}]
        else:
            roots = [{path[0]: content_of(self.folders, path[0], one)} for one in self.options(path[0])]
        for name in path:
            roots = [inner for root in roots if isinstance(inner := root.get(name), Mapping)]
        return roots

    def options(self, group: str) -> list[str]:
        """The options of a group that the line, its experiment or config.yaml chooses."""
        chosen = [option.split(",") for name, option in self.chosen if name == group]
        if chosen:
            return chosen[-1]
        defaults = _defaults(read_if_possible(self.folders[0] / "config.yaml"))
        if group == OVERLAY:
            return [defaults.get(group, "")]
        for experiment in self.options(OVERLAY):
            defaults.update(_defaults(content_of(self.folders, OVERLAY, experiment)))
        return [defaults.get(group, "")]


def _defaults(content: Mapping[str, Any]) -> dict[str, str]:
    """The choices in a `defaults` list."""
    rows = [row for row in content.get("defaults") or [] if isinstance(row, dict)]
    return {str(key).removeprefix("override ").lstrip("/"): str(option) for row in rows for key, option in row.items()}


def _values_of(target: str, name: str) -> list[str]:
    """The values of an argument that is a choice or a switch, read from the source of its class."""
    module, _, kind = target.rpartition(".")
    path = next((path for path in _sources(module) if path.is_file()), None)
    if path is None:
        return []
    tree = ast.parse(path.read_text(encoding="utf-8"))
    defined = {
        part.targets[0].id: part.value for part in tree.body if isinstance(part, ast.Assign) and isinstance(part.targets[0], ast.Name)
    }
    classes = [part for part in tree.body if isinstance(part, ast.ClassDef) and part.name == kind]
    starts = [part for one in classes for part in one.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
    arguments = [argument for start in starts for argument in (*start.args.args, *start.args.kwonlyargs)]
    return [value for argument in arguments if argument.arg == name for value in _choices(argument.annotation, defined)]


def _sources(module: str) -> Iterator[Path]:
    package = Path(__file__).parent.parent
    for folder in (package, Path.cwd(), *map(Path, sys.path)):
        yield folder.joinpath(*module.split(".")).with_suffix(".py")
        yield folder.joinpath(*module.split("."), "__init__.py")


def _choices(annotation: ast.expr | None, defined: Mapping[str, ast.expr]) -> list[str]:
    found: list[str] = []
    match annotation:
        case ast.Name(id="bool"):
            found = ["true", "false"]
        case ast.Name(id=name) if name in defined:
            found = _choices(defined[name], {})
        case ast.Constant(value=None):
            found = ["null"]
        case ast.BinOp(left=left, right=right):
            found = [*_choices(left, defined), *_choices(right, defined)]
        case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[inner, *_])):
            found = _choices(inner, defined)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inner):
            words = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            found = [str(word.value) for word in words if isinstance(word, ast.Constant)]
    return found
