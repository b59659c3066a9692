"""What a GPU was told once, repeated: CUDA graphs of functions that read nothing back.

For some thousand atoms, starting an operation on a GPU takes longer than the operation. Captured as a graph, all of them are started
together. A graph repeats what was done to arrays at fixed places; what decides by a value what to do next cannot be captured.
"""

import warnings
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar, final

import torch

Outcome = TypeVar("Outcome")

#: calls before a capture, in which libraries choose their kernels and find their memory
WARM_UPS: Final = 3


class RecordingError(RuntimeError):
    """What is to be recorded cannot be: its operations hang on its input, or what was recorded is not what it does."""


def captures(device: torch.device) -> bool:
    """Whether work on the device can be captured."""
    return device.type == "cuda" and torch.cuda.is_available()


def rehearse(work: Callable[[], Outcome], stream: torch.cuda.Stream) -> Outcome:
    """What the work gives where it is going to be captured; what waits for the GPU there is refused.

    Raises:
        RecordingError: an operation reads from the GPU, or fails.
    """
    stream.wait_stream(torch.cuda.current_stream(stream.device))
    mode = torch.cuda.get_sync_debug_mode()
    try:
        with torch.cuda.stream(stream), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Synchronization debug mode is a prototype")
            for _ in range(WARM_UPS):
                work()
            torch.cuda.set_sync_debug_mode("error")
            outcome = work()
    except RuntimeError as error:  # memory that runs out is one
        raise RecordingError(f"an operation cannot be repeated as it is ({error})") from error
    finally:
        torch.cuda.set_sync_debug_mode(mode)
        torch.cuda.current_stream(stream.device).wait_stream(stream)
    return outcome


@final
class Captured(Generic[Outcome]):
    """The work as a graph.

    What the work reads from outside it has to find at the same place every time; so the work is kept, and what it holds with it.

    Args:
        work: what is captured; it is not carried out by that.
        stream: where it was rehearsed.
        memory: shared with other graphs that are never carried out at the same time (`torch.cuda.graph_pool_handle`).

    Attributes:
        outcome: where what the work gives lies, from the first replay on.

    Raises:
        RecordingError: it does what no graph can hold.
    """

    def __init__(self, work: Callable[[], Outcome], stream: torch.cuda.Stream, memory: Any = None) -> None:
        self._work, self._graph = work, torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(self._graph, pool=memory, stream=stream):
                self.outcome = work()
        except RuntimeError as error:
            raise RecordingError(f"an operation cannot be captured ({error})") from error

    def replay(self) -> Outcome:
        """Carry the work out; the next replay overwrites the outcome."""
        self._graph.replay()
        return self.outcome
