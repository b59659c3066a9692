"""Eight numbers at once in compiled loops: what a processor does to all of them in one step, which Numba does not find by itself.

A loop over so few numbers is left to go one by one, as its compiler cannot know that there are never fewer than eight. These functions say
so in LLVM's terms, which hold for any processor. An array is read and written from a place on, counted in the order in which it lies in
memory, where it has no gaps; whether there are eight numbers is looked at where Numba is told to check bounds (NUMBA_BOUNDSCHECK=1).
"""

import operator
from collections.abc import Callable
from typing import Any, Final

from llvmlite import ir
from numba.core import config, types
from numba.extending import intrinsic, models, overload, register_model

from nnpx.speed.loops import part_of_loop

#: how many numbers
EIGHT: Final = 8
#: as in all loops, see `nnpx.speed.loops`
_FAST: Final = ("contract", "reassoc", "nsz")
#: whether bounds are checked, as of arrays in general
_CHECKS: Final = bool(config.BOUNDSCHECK)  # type: ignore[attr-defined]  # set when Numba is loaded
#: LLVM's names of the precisions
_PRECISIONS: Final = {"float32": "f32", "float64": "f64"}


def _in_loops(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that compiled loops call, written in LLVM's terms: it is given types, and gives the type of what it finds and its code."""
    known: Callable[..., Any] = intrinsic(function)
    return known


class _Eight(types.Type):
    """Eight numbers of one precision."""

    def __init__(self, dtype: Any) -> None:
        super().__init__(name=f"Eight({dtype})")
        self.dtype = dtype


@register_model(_Eight)
class _EightModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: _Eight) -> None:
        super().__init__(dmm, fe_type, ir.VectorType(dmm.lookup(fe_type.dtype).get_value_type(), EIGHT))  # type: ignore[no-untyped-call]  # Numba has no types


def _pointer(context: Any, builder: Any, array_type: Any, given: Any, vector: Any) -> Any:
    """To eight numbers of an array, from a place on."""
    array, place = given
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [place]), vector.as_pointer())


@_in_loops
def _load(typingctx: Any, array: Any, place: Any) -> Any:
    """The instruction for `load`."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], arguments, context.get_value_type(signature.return_type))
        return builder.load(pointer, align=array.dtype.bitwidth // 8)

    return _Eight(array.dtype)(array, types.intp), code


@_in_loops
def _store(typingctx: Any, array: Any, place: Any, numbers: Any) -> Any:
    """The instruction for `store`."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], arguments[:2], context.get_value_type(numbers))
        builder.store(arguments[2], pointer, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, numbers), code


@part_of_loop
def load(array: Any, place: int) -> Any:
    """Eight numbers of an array, from a place on."""
    if _CHECKS and not 0 <= place <= array.size - EIGHT:
        raise IndexError("eight numbers reach beyond their array")
    return _load(array, place)


@part_of_loop
def store(array: Any, place: int, numbers: Any) -> None:
    """Write eight numbers into an array, from a place on."""
    if _CHECKS and not 0 <= place <= array.size - EIGHT:
        raise IndexError("eight numbers reach beyond their array")
    _store(array, place, numbers)


@_in_loops
def eight(typingctx: Any, number: Any) -> Any:
    """The same number eight times."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector, index = context.get_value_type(signature.return_type), ir.IntType(32)
        one = builder.insert_element(ir.Constant(vector, ir.Undefined), arguments[0], index(0))
        return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(index, EIGHT), [0] * EIGHT))

    return _Eight(number)(number), code


@_in_loops
def total(typingctx: Any, numbers: Any) -> Any:
    """The sum of eight numbers."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector, number = context.get_value_type(numbers), context.get_value_type(numbers.dtype)
        name = f"llvm.vector.reduce.fadd.v{EIGHT}{_PRECISIONS[str(numbers.dtype)]}"
        add_up = builder.module.declare_intrinsic(name, fnty=ir.FunctionType(number, [number, vector]))
        return builder.call(add_up, [number(-0.0), arguments[0]], fastmath=_FAST)

    return numbers.dtype(numbers), code


def _elementwise(instruction: str) -> Callable[..., Any]:
    @_in_loops
    def operate(typingctx: Any, one: Any, other: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return getattr(builder, instruction)(*arguments, flags=_FAST)

        return one(one, other), code

    return operate


def _write(symbol: Callable[..., Any], operate: Callable[..., Any]) -> None:
    """Let loops write it as a sign between eight numbers and eight others, or one."""

    @overload(symbol, strict=False)  # lambdas have no annotations
    def of_eights(one: Any, other: Any) -> Any:
        if isinstance(one, _Eight) and isinstance(other, _Eight):
            return lambda one, other: operate(one, other)
        if isinstance(one, _Eight) and one.dtype == other:
            return lambda one, other: operate(one, eight(other))
        return None


_write(operator.add, _elementwise("fadd"))
_write(operator.mul, _elementwise("fmul"))
