"""Recordings: what a function does to numbers, as a list of operations that is played without Python and without autograd between them.

For a few atoms, starting an operation takes longer than its arithmetic. A function that is called again and again for the same atoms is
therefore recorded once. What depends on its input is an operation of the recording; all the rest, which pairs there are, weights of
elements, products of constants, is a constant of it.
"""

import operator
import os
import shutil
import sys
import sysconfig
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, final

import torch
from jaxtyping import Float
from torch import Tensor, fx, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_unflatten

from nnpx.speed.cuda_graph import Captured, RecordingError, captures, rehearse
from nnpx.speed.threads import in_one_thread

#: several tensors from one
Function = Callable[[Float[Tensor, "..."]], tuple[Tensor, ...]]
#: largest error of a recording by precision, as a part of the change between the inputs that it is checked with
TOLERANCE: Final = {torch.float64: 1e-6, torch.float32: 1e-2}
#: and what such a change at least counts for (eV, eV/Å): where nothing changes, rounding does
SMALL: Final = 1e-6

#: one thread, or the bits would depend on how many there were when it was compiled
_OF_INDUCTOR: Final = {"cpp_wrapper": True, "cpp.threads": 1}

aten: Final = torch.ops.aten
#: operations that read no more than the shape of their input
_OF_SHAPES: Final = {
    aten.new_zeros.default,
    aten.new_ones.default,
    aten.new_full.default,
    aten.zeros_like.default,
    aten.ones_like.default,
    aten.full_like.default,
}
#: what torch says of operations that read numbers or shapes off their input, or draw at random
_READS: Final = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape, torch.Tag.nondeterministic_seeded}


def record(
    function: Function,
    given: Float[Tensor, "..."],
    *,
    truth: Function,
    others: Sequence[Float[Tensor, "..."]],
    dtype: torch.dtype,
    compiled: bool = False,
) -> Function:
    """The function as a recording of what it does to some numbers, positions of atoms say, checked at others.

    Two calls with the same numbers give the same bits, on a processor.

    Args:
        function: whose operations, and their shapes, are the same for all numbers.
        given: with which it is recorded, where it is to be carried out.
        truth: what it should give.
        others: with which it has to.
        dtype: precision of its arithmetic.
        compiled: whether a processor gets the operations as one function of C++, where that can be had; a GPU has its graph.

    Raises:
        RecordingError: it reads numbers or shapes off its input, the recording has other results than what it should give, or no place.
    """
    copy = given.detach().clone()

    def checked(play: Function) -> Function:
        for other in others:
            _check(play(other), truth(other), results, TOLERANCE[dtype])
        return play

    try:
        module, results = _taped(function, copy)
        if captures(copy.device):
            return checked(_captured(module, copy))
        if compiled:
            try:
                return checked(_compiled(module, copy))
            except Exception as error:  # noqa: BLE001  # whatever torch says: there is another way
                warnings.warn(f"a recording is not compiled, and slower therefore: {_reason(error)}", stacklevel=2)
        return checked(_scripted(module, copy))
    except torch.OutOfMemoryError as error:
        raise RecordingError("a recording needs more memory than the GPU has") from error


def _taped(function: Function, given: Float[Tensor, "..."]) -> tuple[fx.GraphModule, tuple[Tensor, ...]]:
    """The operations of the function, and its results."""
    tape = _Tape()
    tape.follow(given, tape.graph.placeholder("given"))
    # what other threads do, on a GPU those of autograd, would go unseen
    with tape, in_one_thread(), torch.autograd.set_multithreading_enabled(False):
        results = function(given)
    tape.graph.output(tuple(tape.output(result) for result in results))
    tape.graph.eliminate_dead_code()
    return fx.GraphModule(tape.constants, tape.graph), results


def reads_values(operation: Any, given: Sequence[Any]) -> bool:
    """Whether the operation reads numbers or shapes off what it is given."""
    has_masks = any(isinstance(value, Tensor) and value.dtype is torch.bool for value in given)
    # integers select as many rows wherever they point to
    return bool(_READS & set(operation.tags)) and (has_masks or operation is not aten.index.Tensor)


def can_compile() -> bool:
    """Whether this machine has a C++ compiler, and the headers of Python."""
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    return shutil.which(compiler) is not None and Path(sysconfig.get_path("include"), "Python.h").is_file()


def _compiled(module: fx.GraphModule, given: Float[Tensor, "..."]) -> Function:
    """The operations as one function of C++, in which what is done number by number is done in one go."""
    with torch.no_grad():
        compiled = torch._inductor.compile(module, [given], options=_OF_INDUCTOR)

    def play(now: Float[Tensor, "..."]) -> tuple[Tensor, ...]:
        with torch.no_grad():
            return tuple(compiled(now))

    return play


def _reason(error: Exception) -> str:
    """The line of what a compiler says that names the error."""
    lines = str(error).strip().splitlines() or [repr(error)]
    return next((line for line in lines if "error: " in line), lines[-1]).strip()


def _scripted(module: fx.GraphModule, given: Float[Tensor, "..."]) -> Function:
    """The operations as TorchScript, whose interpreter starts them a few times faster than Python.

    Made of a graph, as what `torch.jit.trace` returns stays in memory, with all its constants, until the process ends.

    Raises:
        RecordingError: TorchScript does not follow.
    """
    try:
        with torch.no_grad():
            graph, _ = torch._C._create_graph_by_tracing(module.forward, (given,), lambda _: "", True, False)
        torch._C._jit_pass_constant_propagation(graph)
        torch._C._jit_pass_cse(graph)  # what is computed twice
        script = torch._C._create_function_from_graph("play", graph)
    except (RuntimeError, AttributeError, TypeError) as error:  # torch may change what is asked of it here
        raise RecordingError("TorchScript cannot follow the recording") from error

    def play(now: Float[Tensor, "..."]) -> tuple[Tensor, ...]:
        # as they are: rearranged ones are not faster, round otherwise from the third call on, and some do not run
        with torch.no_grad(), torch.jit.optimized_execution(False):  # type: ignore[attr-defined]  # torch does not list it
            results: tuple[Tensor, ...] = script(now)
        return results

    return play


def _captured(module: fx.GraphModule, given: Float[Tensor, "..."]) -> Function:
    """The operations as a CUDA graph, which a GPU starts all at once."""
    work, stream = partial(module, given), torch.cuda.Stream(given.device)
    with torch.no_grad():
        rehearse(work, stream)
        captured = Captured(work, stream)

    def play(now: Float[Tensor, "..."]) -> tuple[Tensor, ...]:
        given.copy_(now)
        return tuple(value.clone() for value in captured.replay())

    return play


def _check(found: tuple[Tensor, ...], expected: tuple[Tensor, ...], before: tuple[Tensor, ...], tolerance: float) -> None:
    """Compare results, whose rounding errors may differ: they miss a part of the change that is no larger than the tolerance.

    Raises:
        RecordingError: they differ.
    """
    for one, other, start in zip(found, expected, before, strict=True):
        if not one.shape == other.shape == start.shape:
            raise RecordingError("the shapes of what a function gives depend on its input")
        missed, moved = ((other - value).nan_to_num().abs().amax() for value in (one, start))
        if not torch.equal(one.isnan(), other.isnan()) or bool(missed > tolerance * (moved + SMALL)):
            raise RecordingError("a recording differs from what it recorded")


@final
class _Tape(TorchDispatchMode):
    """Notes every operation, also of backward passes, that depends on what is followed; others are carried out once, here.

    Attributes:
        graph: the operations.
        constants: what they read besides.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as torch has it
        self.graph, self.constants = fx.Graph(), nn.Module()
        self._followed: dict[int, fx.Node] = {}
        self._constant: dict[int, fx.Node] = {}
        self._alive: list[Tensor] = []  # a tensor is told by its address, which must not be given to another

    def follow(self, tensor: Tensor, node: fx.Node) -> None:
        """From now on the tensor stands for what the node gives."""
        self._followed[id(tensor)] = node
        self._alive.append(tensor)

    def node_of(self, value: Any) -> Any:
        """What gives the value: a node for a tensor, which is a constant unless it is followed; others stand for themselves."""
        if not isinstance(value, Tensor):
            return value
        if id(value) not in self._followed and id(value) not in self._constant:
            name = f"constant{len(self._constant)}"
            self.constants.register_buffer(name, value.detach().clone())
            self._constant[id(value)] = self.graph.get_attr(name)
            self._alive.append(value)
        return self._followed.get(id(value)) or self._constant[id(value)]

    def output(self, value: Tensor) -> fx.Node:
        """What gives the value; a constant as the result of an operation, because tracing asks for one."""
        node: fx.Node = self.node_of(value)
        return node if id(value) in self._followed else self.graph.call_function(aten.clone.default, (node,))

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        """One operation, below autograd."""
        given, layout = tree_flatten((args, kwargs or {}))
        if func in _OF_SHAPES or not any(id(value) in self._followed for value in given):
            return func(*args, **(kwargs or {}))
        if reads_values(func, [value for value in given if id(value) in self._followed]):
            raise RecordingError(f"{func} reads off its input what to do")
        if func._schema.is_mutable and id(args[0]) not in self._followed:
            # what is written to begins anew in every call
            self.follow(args[0], self.graph.call_function(aten.clone.default, (self.node_of(args[0].clone()),)))
        nodes, named = tree_unflatten([self.node_of(value) for value in given], layout)
        result = func(*args, **(kwargs or {}))
        node = nodes[0] if func is aten.detach.default else self.graph.call_function(func, nodes, named)
        if isinstance(result, Tensor):
            self.follow(result, node)
        elif isinstance(result, tuple | list):
            for place, one in enumerate(result):
                if isinstance(one, Tensor):
                    self.follow(one, self.graph.call_function(operator.getitem, (node, place)))
        else:
            raise RecordingError(f"{func} gives no tensor")
        return result
