"""Tensors that pretend to lie on a GPU, so that a machine without one can tell whether an operation mixes devices.

They are computed on the processor. A tensor that was not moved, met by one that was, raises as it would on a GPU; so does reading a moved
one by NumPy. Numbers (tensors without dimensions) and indices may come from anywhere, as in torch.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from nnpx.graph import AtomicGraph

GPU = torch.device("cuda", 0)
#: what copies from one device to another
_COPIES = ("aten::copy_", "aten::_to_copy", "aten::_foreach_copy_")


class OnGpu(Tensor):
    """A tensor that says it lies on the GPU; `kept` are its values."""

    device = property(lambda self: GPU)  # type: ignore[assignment]  # an attribute of any tensor
    is_cuda = property(lambda self: True)  # type: ignore[assignment]  # an attribute of any tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, kept: Tensor) -> "OnGpu":
        made = Tensor._make_wrapper_subclass(
            cls, kept.size(), strides=kept.stride(), storage_offset=kept.storage_offset(), dtype=kept.dtype
        )
        made.kept = kept
        return made

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = {**(kwargs or {}), **({"device": "cpu"} if (kwargs or {}).get("device") is not None else {})}
        seen = args[:1] if operation.name() == "aten::index.Tensor" else (args, kwargs)
        left = [one for one in tree_leaves(seen) if isinstance(one, Tensor) and not isinstance(one, OnGpu) and one.ndim]
        if left and operation.name() not in _COPIES:
            raise RuntimeError(f"{operation.name()} mixes devices: {[tuple(one.shape) for one in left]} on the processor")
        found = operation(*tree_map(_kept, args), **tree_map(_kept, kwargs))
        return args[0] if operation._schema.is_mutable else tree_map(moved, found)


class PretendedGpu(TorchFunctionMode):
    """Inside, `device=` and `.to` know the GPU."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = dict(kwargs or {}), getattr(function, "__name__", "")
        if name in ("tolist", "new_tensor") and isinstance(args[0], OnGpu):
            return moved(getattr(args[0].kept, name)(*args[1:], **kwargs))
        if name == "numpy" and isinstance(args[0], OnGpu):
            raise TypeError("NumPy cannot read a GPU")
        if name == "cpu" and isinstance(args[0], OnGpu):
            return _to(args[0], "cpu")
        if name == "to" and isinstance(args[0], Tensor):
            return _to(*args, **kwargs)
        if kwargs.get("device") is not None and torch.device(kwargs["device"]).type == "cuda":
            return tree_map(moved, function(*args, **{**kwargs, "device": "cpu"}))
        return function(*args, **kwargs)


def _to(tensor: Tensor, *where: Any, **kwargs: Any) -> Tensor:
    """`Tensor.to`, of which the device is taken apart from the rest."""
    where = (*where, *kwargs.values())
    devices = [
        torch.device(one.device if isinstance(one, Tensor) else one) for one in where if isinstance(one, str | torch.device | Tensor)
    ]
    types = [one.dtype if isinstance(one, Tensor) else one for one in where if isinstance(one, torch.dtype | Tensor)]
    cast = tensor.to(types[0]) if types else tensor
    if not devices:
        return cast
    return moved(cast) if devices[0].type == "cuda" else _kept(cast.detach())


def moved(value: Any) -> Any:
    """A tensor on the pretended GPU; anything else as it is."""
    return OnGpu(value) if isinstance(value, Tensor) and not isinstance(value, OnGpu) else value


def _kept(value: Any) -> Any:
    return value.kept if isinstance(value, OnGpu) else value


def move_module(module: nn.Module) -> nn.Module:
    """The module with its parameters and buffers there."""
    for part in module.modules():
        for name, weight in part._parameters.items():
            part._parameters[name] = None if weight is None else nn.Parameter(OnGpu(weight.data), requires_grad=weight.requires_grad)
        for name, buffer in part._buffers.items():
            part._buffers[name] = moved(buffer)
    return module


def move_graph(graph: AtomicGraph) -> AtomicGraph:
    """The graph there."""
    return graph.with_(**{name: OnGpu(value) for name, value in graph.to_dict().items() if isinstance(value, Tensor)})
