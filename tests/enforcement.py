"""What is checked of every call of nnpx: types by beartype, and by jaxtyping the shapes, where a signature has any.

jaxtyping's own decorator binds the arguments of every call and checks them twice, whether there is an array among them or not, which takes
longer than what small evaluations do.
"""

import functools
import inspect
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any, get_args

import jaxtyping

Function = Callable[..., Any]
Decorator = Callable[[Any], Any]
of_jaxtyping = jaxtyping.jaxtyped
#: where beartype keeps the function that it checks
CHECKED = "__beartype_func"
#: functions within functions, which are made anew in every call, with what beartype wrote for the first of them
made: dict[CodeType, Any] = {}


def enforced(*, typechecker: Decorator) -> Decorator:
    """What the hook of jaxtyping writes over every function and class."""

    def decorate(thing: Any) -> Any:
        hints = inspect.isfunction(thing) and [*thing.__annotations__.values()]
        if hints is False or any(isinstance(hint, str) for hint in hints) or inspect.isgeneratorfunction(thing):
            return of_jaxtyping(thing, typechecker=typechecker)
        checked = checked_again(thing, typechecker) if "<locals>" in thing.__qualname__ else typechecker(thing)
        return with_sizes_of_its_own(checked) if any(map(has_arrays, hints)) else checked

    return decorate


def checked_again(function: Any, typechecker: Decorator) -> Any:
    """The function as the first one of this code was checked, if its signature says the same."""
    first = made.get(function.__code__)
    known = getattr(first, "__kwdefaults__", None) or {}
    if CHECKED not in known or repr(first.__annotations__) != repr(function.__annotations__):
        made[function.__code__] = typechecker(function)
        return made[function.__code__]
    again = FunctionType(first.__code__, first.__globals__, first.__name__, first.__defaults__, first.__closure__)
    again.__kwdefaults__ = {**known, CHECKED: function}
    return functools.update_wrapper(again, function)


def with_sizes_of_its_own(checked: Function) -> Function:
    """The function; in every call the words of its shapes stand for sizes anew."""

    @functools.wraps(checked)
    def call(*args: Any, **kwargs: Any) -> Any:
        with of_jaxtyping("context"):
            return checked(*args, **kwargs)

    return call


def has_arrays(hint: Any) -> bool:
    """Whether an annotation speaks of an array."""
    if inspect.isclass(hint) and issubclass(hint, jaxtyping.AbstractArray):
        return True
    return any(map(has_arrays, hint if isinstance(hint, list) else get_args(hint)))
