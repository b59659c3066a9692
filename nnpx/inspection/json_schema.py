"""JSON Schema (draft 2020-12) of conf/, made from the constructors: an editor completes and checks what `nnpx check` would check.

One schema per noun checks the files of its options, which may leave out what they inherit through `defaults`; one checks experiments,
which hold deltas only; one checks the root file. Every class is one definition, named by its dotted path.
"""

import json
import types
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union, final, get_args, get_origin

from annotated_types import Ge, GroupedMetadata, Gt, Le, Lt, MaxLen, MinLen

from nnpx.configuration import signatures
from nnpx.configuration.option_files import read, relative
from nnpx.configuration.schema import NOUNS, SCALARS, parameters_of
from nnpx.configuration.targets import locate
from nnpx.inspection.docstrings import argument, summary, unit
from nnpx.inspection.yaml_lines import lines_of

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_TYPES: Final[dict[Any, dict[str, Any]]] = {
    float: {"type": "number"},
    int: {"type": "integer"},
    bool: {"type": "boolean"},
    str: {"type": "string"},
    type(None): {"type": "null"},
    Any: {},
}
#: what stands for a value anywhere: an interpolation, or ??? for what the user must give
_PLACEHOLDER: Final = {"type": "string", "pattern": r"^(.*\$\{.*\}.*|\?\?\?)$"}
_DEFAULTS: Final = {"type": "array", "description": "the options that this file is laid over", "items": {"type": ["string", "object"]}}


def write_schemas(folder: Path, folders: Sequence[Path]) -> dict[str, list[str]]:
    """Writes a schema per noun, one for experiments and one for the root file; returns the patterns of files that each is for."""
    written = {}
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in schemas(folders).items():
        path = folder / f"{name}.json"
        path.write_text(json.dumps(schema, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        files = "config.yaml" if name == "config" else f"{name}/*.yaml"
        written[path.as_posix()] = [f"{relative(place)}/{files}" for place in (folders[:1] if name == "config" else folders)]
    return written


def schemas(folders: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Every schema by name.

    Args:
        folders: the options; the classes that their files name are those that can be chosen.

    Raises:
        ConfigError: if a file names a class that does not exist or is not trusted.
    """
    made = {noun: _Definitions(folders).noun(noun) for noun in NOUNS}
    experiment = _Definitions(folders).experiment()
    root = {**experiment, "properties": {**experiment["properties"], "hydra": {}, "conf_hash": {}}}
    return {**made, "experiment": experiment, "config": root}


@final
class _Definitions:
    """The definitions that one schema refers to, collected while it is made."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = folders
        self.made: dict[str, Any] = {}
        self.nested: list[tuple[type, str]] = []

    def noun(self, noun: str) -> dict[str, Any]:
        """The schema of the files of a noun."""
        kinds = _chosen(noun, self.folders)
        names = [_path(kind) for kind in kinds]
        per_class = [
            {
                "if": _names(kind),
                "then": {**self._keys(kind, noun), "if": {"not": {"required": ["defaults"]}}, "then": self._required(kind)},
            }
            for kind in kinds
        ]
        inherits = {"if": {"not": {"required": ["_target_"]}}, "then": {**self._delta(kinds, noun), "required": ["defaults"]}}
        return self._document(noun, summary(signatures.docstring(f"nnpx.{noun}")), {
            "properties": {"_target_": {"enum": names, "description": "the class that is built"}},
            "allOf": [*per_class, inherits],
        })  # fmt: skip

    def experiment(self) -> dict[str, Any]:
        """The schema of files that are laid over a whole experiment."""
        scalars = {key: self.value(annotation, key) for key, annotation in SCALARS.items() if key != "conf_hash"}
        nouns = {noun: self._named_delta(_chosen(noun, self.folders), noun) for noun in NOUNS}
        keys = {"properties": {"defaults": _DEFAULTS, **scalars, **nouns}, "additionalProperties": False}
        return self._document("experiment", "What an experiment changes", keys)

    def value(self, annotation: Any, place: str) -> dict[str, Any]:
        """What may stand where the annotation is."""
        schema = self._typed(annotation, place)
        return {"anyOf": [schema, _PLACEHOLDER]} if schema else {}

    def _typed(self, annotation: Any, place: str) -> dict[str, Any]:
        origin, arguments = get_origin(annotation), get_args(annotation)
        if origin is Annotated:
            return _limited(self._typed(arguments[0], place), arguments[1:])
        if origin is Literal:
            return {"enum": list(arguments)}
        if origin in (Union, types.UnionType):
            return {"anyOf": [self._typed(choice, place) for choice in arguments]}
        if origin in (list, tuple, dict):
            return self._container(origin, arguments, place)
        if annotation in _TYPES:
            return dict(_TYPES[annotation])
        kinds = signatures.subclasses(annotation) if isinstance(annotation, type) else []
        return {"anyOf": [self._node(kind, place) for kind in kinds]} if kinds else {"type": "object"}  # a package of the user's own

    def _container(self, origin: Any, arguments: tuple[Any, ...], place: str) -> dict[str, Any]:
        if origin is dict:
            names = {} if arguments[0] is str else {"propertyNames": self._typed(arguments[0], place)}
            return {"type": "object", "additionalProperties": self.value(arguments[1], place), **names}
        if origin is list or Ellipsis in arguments:
            return {"type": "array", "items": self.value(arguments[0], place)}
        items = [self.value(item, place) for item in arguments]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}

    def _node(self, kind: type, place: str) -> dict[str, Any]:
        """A nested option, complete."""
        return self._reference(_path(kind), lambda: {**self._keys(kind, place), **self._required(kind, "_target_")})

    def _named_delta(self, kinds: Sequence[type], place: str) -> dict[str, Any]:
        return self._reference(f"changes of {place}", lambda: self._delta(kinds, place))

    def _nested_delta(self, annotation: type, place: str) -> dict[str, Any]:
        """What may change in a nested option; one that is nested in its own kind, to any depth, is described as that is."""
        outer = next((above for kind, above in self.nested if kind is annotation and place.startswith(f"{above}.")), place)
        self.nested.append((annotation, outer))
        return self._named_delta(signatures.subclasses(annotation), outer)

    def _delta(self, kinds: Sequence[type], place: str) -> dict[str, Any]:
        """Some keys of any of the classes; those of nested options likewise."""
        found: dict[str, list[dict[str, Any]]] = {}
        for kind in kinds:
            for key, taken in parameters_of(kind).items():
                if not taken.wired:
                    nested = isinstance(taken.annotation, type) and taken.annotation not in _TYPES
                    schema = self._nested_delta(taken.annotation, f"{place}.{key}") if nested else self._described(kind, key, place)
                    found.setdefault(key, []).extend([] if schema in found.get(key, []) else [schema])
        properties = {key: each[0] if len(each) == 1 else {"anyOf": each} for key, each in found.items()}
        target = {"_target_": {"enum": [_path(kind) for kind in kinds]}}
        return {"type": "object", "properties": {**target, "defaults": _DEFAULTS, **properties}, "additionalProperties": False}

    def _keys(self, kind: type, place: str) -> dict[str, Any]:
        own = {key: self._described(kind, key, place) for key, taken in parameters_of(kind).items() if not taken.wired}
        properties = {"_target_": {"const": _path(kind)}, "defaults": _DEFAULTS, **own}
        said = {"title": kind.__name__, "description": summary(kind.__doc__ or "")}
        return {**said, "type": "object", "properties": properties, "additionalProperties": False}

    def _described(self, kind: type, key: str, place: str) -> dict[str, Any]:
        words, measure = argument(kind, key), unit(key, _comment(place, key, self.folders))
        said = {"title": key, "description": f"{words} [{measure}]" if measure else words}
        return {**said, **self.value(parameters_of(kind)[key].annotation, f"{place}.{key}")}

    def _required(self, kind: type, *more: str) -> dict[str, Any]:
        return {"required": [*more, *(key for key, taken in parameters_of(kind).items() if taken.required and not taken.wired)]}

    def _reference(self, name: str, make: Any) -> dict[str, Any]:
        key = name.replace(" ", "-")
        if key not in self.made:
            self.made[key] = {}  # a class may be nested in itself
            self.made[key] = make()
        return {"$ref": f"#/$defs/{key}"}

    def _document(self, title: str, description: str, schema: Mapping[str, Any]) -> dict[str, Any]:
        head = {"$schema": _DIALECT, "title": title, "description": description, "type": "object"}
        return {**head, **schema, "$defs": self.made}


def _limited(schema: dict[str, Any], marks: Iterable[Any]) -> dict[str, Any]:
    """The schema with the limits of an annotation."""
    length = "Items" if schema.get("type") == "array" else "Length"
    limits = {Gt: ("exclusiveMinimum", "gt"), Ge: ("minimum", "ge"), Lt: ("exclusiveMaximum", "lt"), Le: ("maximum", "le")}
    limits |= {MinLen: (f"min{length}", "min_length"), MaxLen: (f"max{length}", "max_length")}
    for mark in marks:
        for limit in mark if isinstance(mark, GroupedMetadata) else (mark,):
            key, attribute = limits.get(type(limit), ("", ""))
            schema |= {key: getattr(limit, attribute)} if key else {}
    return schema


def _chosen(noun: str, folders: Sequence[Path]) -> list[type]:
    """The classes that the files of a noun name."""
    files = [path for folder in folders for path in sorted(folder.glob(f"{noun}/*.yaml"))]
    found = {}
    for path in files:
        content = read(path)
        if isinstance(content, dict) and "_target_" in content:
            found[content["_target_"]] = locate(content["_target_"], f"{noun} in {path.name}")
    return [kind for kind in found.values() if isinstance(kind, type)]


def _comment(place: str, key: str, folders: Sequence[Path]) -> str:
    """What stands beside a key in the first file of its noun that has it."""
    noun, _, rest = f"{place}.{key}".partition(".")
    lines = (lines_of(path).get(rest) for folder in folders for path in sorted(folder.glob(f"{noun}/*.yaml")))
    return next((line.comment for line in lines if line is not None), "")


def _is_class(annotation: Any) -> bool:
    return isinstance(annotation, type) and annotation not in _TYPES and get_origin(annotation) is None


def _names(kind: type) -> dict[str, Any]:
    return {"properties": {"_target_": {"const": _path(kind)}}, "required": ["_target_"]}


def _path(kind: type) -> str:
    return f"{kind.__module__}.{kind.__name__}"
