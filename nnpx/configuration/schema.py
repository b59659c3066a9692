"""The signature is the schema: a configuration is checked against the constructors that it names, before any of them runs.

Nothing is declared twice: the keys, types and ranges that a YAML file may hold are the keyword arguments of the class behind its
`_target_`. Arguments annotated `Wired` follow from other choices and are refused in a file.
"""

import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Union, final, get_args, get_origin, get_type_hints

from annotated_types import Ge, Len, Lt
from omegaconf import DictConfig, ListConfig, OmegaConf

from nnpx.configuration.annotations import check_value, describe, show
from nnpx.configuration.signatures import subclasses
from nnpx.configuration.targets import load, locate, suggest
from nnpx.errors import ConfigError
from nnpx.wiring import WIRED

#: the config groups of an experiment
NOUNS: Final = (
    *("data", "reference", "executor", "cutoff", "radial", "species_embedding", "descriptor", "network", "prior", "noise"),
    *("loss", "optimizer", "schedule", "trainer", "ensemble", "uncertainty", "md", "acquisition", "learning", "tracking"),
)
#: what an experiment holds beside its nouns
SCALARS: Final[dict[str, Any]] = {
    "name": Annotated[str, Len(1)],
    "seed": Annotated[int, Ge(0), Lt(2**32)],
    "initial": Annotated[str, Len(1)] | None,
    "conf_hash": str,
}
#: those of them that experiments composed by earlier versions lack
OPTIONAL: Final = ("initial",)


@final
class JoinedConfigError(ConfigError):
    """Several errors of one configuration, told at once."""

    def __init__(self, problems: list[ConfigError]) -> None:
        super().__init__("configuration", expected="no errors", found=f"{len(problems)}", do="Correct them.")
        self.problems = problems
        self.args = ("\n".join(str(problem) for problem in problems),)

    def __reduce__(self) -> tuple[type["JoinedConfigError"], tuple[list[ConfigError]]]:
        return JoinedConfigError, (self.problems,)


@final
class UnknownKeyError(ConfigError):
    """A key that the class does not take, or that an experiment does not have."""


def raise_all(problems: Sequence[ConfigError]) -> None:
    """Raises the problems together; one alone is raised as it is.

    Raises:
        ConfigError: if there is any.
    """
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise JoinedConfigError(list(problems))


@dataclass(frozen=True)
class Plan:
    """A node that passed the check: what to build from which arguments; plans among the arguments are built first."""

    target: str  #: dotted path; imported when it is built, not before
    kind: Callable[..., Any]  #: what is known of it without importing it
    arguments: dict[str, Any]
    asks_for: tuple[str, ...]  #: all arguments that the target takes

    def build(self, wired: Mapping[str, Any]) -> Any:
        """The object; wired arguments reach the nested ones too, and are left out where the target does not take them."""
        taken = {key: value for key, value in wired.items() if key in self.asks_for}
        return load(self.target)(**{key: _built(value, wired) for key, value in self.arguments.items()}, **taken)


def is_node(value: object) -> bool:
    """Whether a value names a class to build."""
    return isinstance(value, Mapping) and "_target_" in value


def plain(value: Any) -> Any:
    """The value as plain lists, dictionaries and scalars, interpolations resolved."""
    return OmegaConf.to_container(value, resolve=True) if isinstance(value, DictConfig | ListConfig) else value


def check_root(config: Mapping[str, Any], trusted: Sequence[str]) -> list[ConfigError]:
    """Every problem of a composed experiment."""
    known = (*SCALARS, *NOUNS)
    problems = [_unknown(key, key, known, "an experiment") for key in config if key not in known]
    typo_of = {_meant(key, known) for key in config if key not in known}
    for key in known:
        if key not in config:
            if key not in typo_of and key not in OPTIONAL:
                problems.append(ConfigError(key, expected=_expected_at_root(key), found="nothing", do=f"Give it as {key}=… ."))
        elif key in SCALARS:
            problems += _check_field(SCALARS[key], config[key], key, trusted)[1]
        elif not is_node(config[key]):
            do = f"Choose one of its options as {key}=OPTION when composing."
            problems.append(ConfigError(key, expected=_expected_at_root(key), found=show(config[key]), do=do))
        else:
            problems += _check_noun(key, config[key], trusted)
    return problems


def check_node(
    node: Mapping[str, Any], path: str, trusted: Sequence[str], wired: Sequence[str] = ()
) -> tuple[Plan | None, list[ConfigError]]:
    """A plan to build the node, and every problem that stands in the way of it."""
    try:
        target = locate(node["_target_"], path, trusted)
    except ConfigError as error:
        return None, [error]
    parameters = parameters_of(target)
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in inspect.signature(target).parameters.values())
    given = {key: value for key, value in node.items() if key != "_target_"}
    asked = [key for key, parameter in parameters.items() if not parameter.wired]
    name = getattr(target, "__name__", str(node["_target_"]))
    problems, arguments = [], {}
    typo_of = set()
    for key, value in given.items():
        where = f"{path}.{key}"
        if key in parameters and parameters[key].wired:
            do = f"Remove {where}."
            problems.append(ConfigError(where, expected="no value, it follows from other choices", found=show(value), do=do))
        elif key not in parameters and (not takes_any or str(key).startswith("_")):  # `_partial_` and its like are Hydra's
            problems.append(_unknown(where, str(key), asked, name))
            typo_of.add(_meant(str(key), asked))
        else:
            annotation = parameters[key].annotation if key in parameters else Any
            arguments[key], found = _check_field(annotation, value, where, trusted)
            problems += found
    for key in asked:
        if parameters[key].required and key not in given and key not in wired and key not in typo_of:
            where, do = f"{path}.{key}", f"Give it as {path}.{key}=… ."
            problems.append(ConfigError(where, expected=describe(parameters[key].annotation), found="nothing", do=do))
    return Plan(str(node["_target_"]), target, arguments, tuple(parameters)), problems


@dataclass(frozen=True)
class Parameter:
    """One keyword argument of a class: its type, whether it follows from other choices, whether it must be given."""

    annotation: Any
    wired: bool
    required: bool


def parameters_of(target: Callable[..., Any]) -> dict[str, Parameter]:
    """The keyword arguments of a target, with their annotations."""
    constructor = target.__init__ if inspect.isclass(target) else target
    hints = get_type_hints(constructor, include_extras=True)
    found = {}
    for key, parameter in inspect.signature(target).parameters.items():
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            annotation = hints.get(key, Any)
            marks = get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
            found[key] = Parameter(annotation, WIRED in marks, required=parameter.default is parameter.empty)
    return found


def _check_field(annotation: Any, value: Any, path: str, trusted: Sequence[str]) -> tuple[Any, list[ConfigError]]:
    """The value as the annotation wants it, nested nodes as plans."""
    if value == "???":
        return value, [ConfigError(path, expected=describe(annotation), found="nothing", do=f"Give it as {path}=… .")]
    if is_node(value):
        plan, problems = check_node(value, path, trusted)
        if plan is not None and not _fits(plan.kind, annotation):
            found = f"the class {value['_target_']}"
            problems = [ConfigError(path, expected=describe(annotation), found=found, do=f"Change {path}."), *problems]
        return plan, problems
    if _holds_node(value):
        keyed = value.items() if isinstance(value, Mapping) else enumerate(value)
        inner = _items(annotation)
        checked = {key: _check_field(inner, item, f"{path}.{key}", trusted) for key, item in keyed}
        problems = [problem for _, found in checked.values() for problem in found]
        items = {key: item for key, (item, _) in checked.items()}
        return (items if isinstance(value, Mapping) else list(items.values())), problems
    try:
        return check_value(annotation, value), []
    except ValueError:
        choices = [choice for choice in get_args(annotation) if isinstance(choice, str)]
        near = suggest(value, choices) if isinstance(value, str) else ""
        do = near or _as_list(annotation, value, path) or _as_class(annotation, path) or f"Change {path}."
        found = "an infinite number or NaN" if isinstance(value, float) and not abs(value) < float("inf") else show(value)
        return value, [ConfigError(path, expected=describe(annotation), found=found, do=do)]


def _as_list(annotation: Any, value: Any, path: str) -> str:
    """What to write where a list of one was meant, or nothing."""
    try:
        check_value(annotation, [value])
    except ValueError:
        return ""
    is_one = not isinstance(value, list | Mapping)
    return f"Write {path}=[{value if isinstance(value, str) else show(value)}]." if is_one else ""


def _as_class(annotation: Any, path: str) -> str:
    """How to name one of the classes that are wanted, or nothing where no class is."""
    is_ours = inspect.isclass(annotation) and annotation.__module__.startswith("nnpx.")
    known = [f"{one.__module__}.{one.__name__}" for one in subclasses(annotation)] if is_ours else []
    return f"Write {path}._target_={' or '.join(known)}." if known else ""


def _check_noun(noun: str, node: Mapping[str, Any], trusted: Sequence[str]) -> list[ConfigError]:
    target = str(node["_target_"])
    if target.startswith("nnpx.") and not target.startswith(f"nnpx.{noun}."):
        where, expected = f"{noun}._target_", f"a class below nnpx.{noun}."
        return [ConfigError(where, expected=expected, found=target, do=f"Choose one of its options as {noun}=OPTION.")]
    return check_node(node, noun, trusted)[1]


def _fits(target: Callable[..., Any], annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _fits(target, get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return any(_fits(target, choice) for choice in get_args(annotation))
    if annotation is Any or origin is not None or not inspect.isclass(target):
        return annotation is Any or origin is Callable or inspect.isfunction(target)
    return isinstance(annotation, type) and _name(annotation) in [_name(base) for base in target.__mro__]


def _name(kind: type) -> str:
    """What a class and its shadow have in common."""
    return f"{kind.__module__}.{kind.__qualname__}"


def _items(annotation: Any) -> Any:
    """What the items of a list or the values of a mapping must be."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _items(arguments[0])
    if origin in (Union, types.UnionType):
        return next((_items(choice) for choice in arguments if get_args(choice)), Any)
    return arguments[-1] if origin in (list, dict) else Any


def _holds_node(value: object) -> bool:
    if isinstance(value, Mapping):
        return is_node(value) or any(_holds_node(item) for item in value.values())
    return isinstance(value, list) and any(_holds_node(item) for item in value)


def _built(value: Any, wired: Mapping[str, Any]) -> Any:
    if isinstance(value, Plan):
        return value.build(wired)
    if isinstance(value, dict):
        return {key: _built(item, wired) for key, item in value.items()}
    return [_built(item, wired) for item in value] if isinstance(value, list) else value


def _meant(word: str, known: Sequence[str]) -> str:
    return suggest(word, known).removeprefix("Did you mean ").removesuffix("?")


def _unknown(path: str, key: str, known: Sequence[str], owner: str) -> ConfigError:
    expected = f"one of the keys of {owner} ({', '.join(known)})" if known else f"no keys: {owner} has none"
    return UnknownKeyError(path, expected=expected, found=key, do=suggest(key, known) or f"Remove {path}.")


def paths_in(config: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The dotted path of every key of a configuration, in its order."""
    found = []
    for key, value in config.items():
        found.append(f"{prefix}{key}")
        found += paths_in(value, f"{prefix}{key}.") if isinstance(value, Mapping) else []
    return found


def leaves(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Every value that is no mapping with keys, by its dotted path."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        found |= leaves(value, f"{prefix}{key}.") if isinstance(value, Mapping) and value else {f"{prefix}{key}": value}
    return found


def _expected_at_root(key: str) -> str:
    return describe(SCALARS[key]) if key in SCALARS else f"an option of the group {key} (a mapping with _target_)"
