"""CUDA graphs that are pretended on the processor, so that a machine without a GPU can tell whether what is recorded may be.

As with a graph, what is captured leaves no trace until it is replayed; a replay carries out the same operations at the same places,
whatever Python would do by then; and memory that was not allocated in the capture has to be there still: a graph does not keep it.
"""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

# all that ask whether a device captures: a module that is imported while this is pretended would believe it ever after
from nnpx.ensemble import recorded  # noqa: F401
from nnpx.optimizer import soap  # noqa: F401
from nnpx.speed.recording import reads_values
from nnpx.trainer import loop  # noqa: F401


class Outside:
    """A tensor that was there before the capture, as a graph knows it: by its place."""

    def __init__(self, tensor: Tensor) -> None:
        self.storage = StorageWeakRef(tensor.untyped_storage())
        self.layout = (tensor.storage_offset(), tensor.size(), tensor.stride())
        self.empty = torch.empty(0, dtype=tensor.dtype)

    def find(self) -> Tensor:
        storage = torch.UntypedStorage._new_with_weak_ptr(self.storage.cdata)
        assert storage is not None, "a graph reads memory that was given back"
        return self.empty.new_empty(0).set_(storage, *self.layout)


class PretendedGraph(TorchDispatchMode):
    """What `torch.cuda.CUDAGraph` does."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[tuple[Any, Any, Any, Any]] = []
        self.inside: dict[int, Any] = {}  # storages of the capture, kept as its memory is
        self.before: list[tuple[Tensor, Tensor]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if reads_values(function, tree_leaves((args, kwargs))):
            raise RuntimeError(f"{function} reads while it is captured")
        if function._schema.is_mutable:
            self.before += [(one, one.clone()) for one in tree_leaves(args[0]) if one.untyped_storage()._cdata not in self.inside]
        given = tree_map(self._known, (args, kwargs or {}))
        result = function(*args, **(kwargs or {}))
        read = {one.untyped_storage()._cdata for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)}
        made = [one for one in tree_leaves(result) if isinstance(one, Tensor)]
        for one in made:
            if one.untyped_storage()._cdata not in read:
                self.inside[one.untyped_storage()._cdata] = one.untyped_storage()
        self.steps.append((function, given, made, read))
        return result

    def _known(self, value: Any) -> Any:
        """An argument as it is found again: numbers stay, what is outside is known by its place."""
        if not isinstance(value, Tensor) or value.untyped_storage()._cdata in self.inside:
            return value
        return Outside(value)

    def finish(self) -> None:
        """Nothing has happened yet."""
        for tensor, values in reversed(self.before):
            tensor.copy_(values)
        for _, _, made, read in self.steps:
            for one in made:
                if one.untyped_storage()._cdata not in read and one.is_floating_point():
                    one.fill_(torch.nan)

    @torch.no_grad()
    def replay(self) -> None:
        for function, given, made, read in self.steps:
            args, kwargs = tree_map(lambda value: value.find() if isinstance(value, Outside) else value, given)
            found = [one for one in tree_leaves(function(*args, **kwargs)) if isinstance(one, Tensor)]
            for one, value in zip(made, found, strict=True):
                if one.untyped_storage()._cdata not in read:
                    one.copy_(value)


@contextmanager
def captured(graph: PretendedGraph, pool: Any = None, stream: Any = None) -> Iterator[None]:
    """What `torch.cuda.graph` does."""
    with graph:
        yield
    with torch.no_grad():
        graph.finish()


class Stream(torch.cuda.streams.Stream):
    device = torch.device("cpu")

    def __new__(cls, device: Any = None) -> "Stream":
        return object.__new__(cls)

    def __init__(self, device: Any = None) -> None:
        pass

    def wait_stream(self, other: "Stream") -> None:
        pass


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processor is a device whose work can be captured."""
    pretended = {
        "CUDAGraph": PretendedGraph,
        "graph": captured,
        "Stream": Stream,
        "current_stream": Stream,
        "stream": nullcontext,
        "set_sync_debug_mode": lambda mode: (
            warnings.warn("Synchronization debug mode is a prototype feature", stacklevel=2) if mode else None
        ),
        "get_sync_debug_mode": lambda: 0,
        "graph_pool_handle": lambda: None,
    }
    for name, value in pretended.items():
        monkeypatch.setattr(torch.cuda, name, value)
    for name, module in list(sys.modules.items()):
        if name.startswith("nnpx.") and hasattr(module, "captures"):
            monkeypatch.setattr(module, "captures", lambda device: True)
