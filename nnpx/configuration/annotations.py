"""What a type annotation means: in words for a message, and as a check of a value read from YAML."""

import json
import math
import types
from collections.abc import Iterable
from functools import cache
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from annotated_types import Ge, GroupedMetadata, Gt, Le, Lt, MaxLen, MinLen
from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

_WORDS: Final[dict[Any, tuple[str, str]]] = {
    float: ("a number", "numbers"),
    int: ("a whole number", "whole numbers"),
    bool: ("true or false", "true or false"),
    str: ("text", "texts"),
    type(None): ("null", "null"),
    Any: ("a value", "values"),
}


def describe(annotation: Any, *, plural: bool = False) -> str:
    """The annotation in words: `list[Annotated[int, Ge(1)]]` → `a list of whole numbers ≥ 1`."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return describe(arguments[0], plural=plural) + _limits(arguments[1:])
    if origin is Literal:
        return _either([show(choice) for choice in arguments])
    if origin in (Union, types.UnionType):
        return _either([describe(choice, plural=plural) for choice in arguments])
    if annotation in _WORDS:
        return _WORDS[annotation][plural]
    return _describe_class(annotation, origin or annotation, [choice for choice in arguments if choice is not Ellipsis], plural)


def _describe_class(annotation: Any, origin: Any, inner: list[Any], plural: bool) -> str:
    if origin in (list, tuple) and len(inner) > 1:
        return f"{'lists' if plural else 'a list'} of {len(inner)}: {', '.join(describe(choice) for choice in inner)}"
    if origin in (list, tuple):
        return f"{'lists' if plural else 'a list'} of {describe(inner[0] if inner else Any, plural=True)}"
    if origin is dict:
        return "mappings" if plural else f"a mapping to {describe(inner[1] if inner else Any, plural=True)}"
    name = getattr(annotation, "__name__", str(annotation))
    return f"{name} options" if plural else f"an option that is {'an' if name[0] in 'AEIOU' else 'a'} {name} (a mapping with _target_)"


def show(value: object) -> str:
    """A value as one would write it in YAML, cut short."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."


def check_value(annotation: Any, value: object) -> Any:
    """The value as the annotation wants it (a whole number where a number is asked for becomes one).

    Raises:
        ValueError: if the value does not fit; nothing is converted from text, and no number may be infinite or NaN.
    """
    if not _is_finite(value):
        raise ValueError("not finite")
    try:
        return _validated(annotation, json.dumps(value))
    except ValidationError as error:
        raise ValueError(str(error)) from error


def _validated(annotation: Any, text: str) -> Any:
    return _adapter(annotation).validate_json(text, strict=True)


@cache
def _adapter(annotation: Any) -> Any:
    try:
        return TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticUserError:  # a data class brings its own configuration
        return TypeAdapter(annotation)


def _is_finite(value: object) -> bool:
    if isinstance(value, dict):
        return all(_is_finite(item) for item in value.values())
    if isinstance(value, list):
        return all(_is_finite(item) for item in value)
    return not isinstance(value, float) or math.isfinite(value)


def _either(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _limits(metadata: Iterable[Any]) -> str:
    flat = [limit for item in metadata for limit in (item if isinstance(item, GroupedMetadata) else (item,))]
    words = []
    for limit in flat:
        match limit:
            case Gt():
                words.append(f"> {limit.gt}")
            case Ge():
                words.append(f"≥ {limit.ge}")
            case Lt():
                words.append(f"< {limit.lt}")
            case Le():
                words.append(f"≤ {limit.le}")
            case MinLen() if limit.min_length > 0:
                words.append(f"({limit.min_length} or more)")
            case MaxLen():
                words.append(f"(at most {limit.max_length})")
    return " " + " and ".join(words) if words else ""
