"""Whoever starts a training can follow it epoch by epoch, and stop it.

with followed(by=look):     # look(run, report) after every epoch of every member, in this process
    run_verb("train", …)    # if look raises Stopped, the training ends, its run is KILLED, and Stopped arrives here
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

Follower = Callable[[Any, Any], None]
_FOLLOWER: Final[ContextVar[Follower | None]] = ContextVar("follower", default=None)


class Stopped(BaseException):
    """The training has been stopped by whoever follows it. Like an interrupt, it is no error of the training."""


@contextmanager
def followed(by: Follower) -> Iterator[None]:
    """Inside the block `by(run, report)` is called after every epoch: the `nnpx.tracking.Run` and the `nnpx.fitting.Report`."""
    token = _FOLLOWER.set(by)
    try:
        yield
    finally:
        _FOLLOWER.reset(token)


def tell_follower(run: Any, report: Any) -> None:
    """Called by a training after every epoch.

    Raises:
        Stopped: if the training is to end here.
    """
    if (follower := _FOLLOWER.get()) is not None:
        follower(run, report)
