"""The members of an ensemble in processes: several at a time, and each shared among devices where the trainer asks for it."""

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from contextlib import AbstractContextManager
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from typing import Any, Final

import torch

from nnpx.assembly import build_parts
from nnpx.config import instantiate
from nnpx.fitting import Report, Task, train_member
from nnpx.potential import Potential
from nnpx.processes import count_cores, end_pool, end_with_parent, environment
from nnpx.trainer.loop import Trainer
from nnpx.trainer.state import Epoch

#: seconds between two looks at the members' reports
POLL_S: Final = 0.2

#: weights and learning curve of one member
Trained = tuple[dict[str, torch.Tensor], list[Epoch]]


def train_members(
    task: Task, seeds: list[int], *, n_processes: int, report: Callable[[Report], None]
) -> tuple[list[Potential], list[list[Epoch]]]:
    """Train one member per seed, several at a time; returns the potentials and their learning curves.

    Args:
        task: what to train on; its graphs have been stored.
        seeds: one per member.
        n_processes: members that train at the same time, each in a process of its own; 1 trains in this process. Those of a GPU, which
            would gain nothing by sharing it, are trained in this process one after the other.
        report: called after every epoch of every member, in this process.
    """
    trainer: Trainer = instantiate(task.config["trainer"])
    if n_processes == 1 or len(seeds) == 1 or trainer.uses_gpu:
        trained = [_train_on_devices(task, member, seed, report) for member, seed in enumerate(seeds)]
    else:
        trained = _train_in_processes(task, seeds, n_processes, report)
    potentials = []
    for (weights, _), seed in zip(trained, seeds, strict=True):
        potential = build_parts(task.config, numbers=task.numbers, seed=seed).unscaled_potential().to_precision(trainer.dtype)
        potential.load_state_dict(weights)
        potentials.append(potential.eval())
    return potentials, [curve for _, curve in trained]


def _train_in_processes(task: Task, seeds: list[int], n_processes: int, report: Callable[[Report], None]) -> list[Trained]:
    context = get_context("spawn")
    threads = max(1, count_cores() // n_processes)
    reports: SimpleQueue[Report] = context.SimpleQueue()
    with ProcessPoolExecutor(n_processes, context, _start_worker, (threads, reports)) as pool:
        futures = [pool.submit(_train_in_worker, task, member, seed) for member, seed in enumerate(seeds)]
        try:
            for received in _until_done(futures, reports):
                report(received)
            for failed in (future for future in futures if future.done() and future.exception()):
                failed.result()
            return [future.result() for future in futures]
        except BaseException:
            end_pool(pool)  # a member that trains for hours must not outlive an error or Ctrl-C
            raise


def _until_done(futures: "list[Future[Trained]]", reports: "SimpleQueue[Report]") -> Iterator[Report]:
    """The members' reports as they come, until all have finished or one has failed."""
    done = False
    while not done:
        done = all(future.done() for future in futures) or any(future.done() and future.exception() for future in futures)
        while not reports.empty():
            yield reports.get()
        if not done:
            wait(futures, POLL_S, FIRST_EXCEPTION)


#: in a worker, where its reports go: what is put there has arrived before the worker goes on
_reports: "SimpleQueue[Any]"


def _start_worker(threads: int, reports: "SimpleQueue[Any]") -> None:
    global _reports  # it comes with the process, as tasks cannot hold it
    _reports = reports
    torch.set_num_threads(threads)
    end_with_parent()


def _train_in_worker(task: Task, member: int, seed: int) -> Trained:
    return _train_on_devices(task, member, seed, _reports.put)


def _train_on_devices(task: Task, member: int, seed: int, report: Callable[[Report], None]) -> Trained:
    """Train one member in this process, which is the first of as many as the trainer has devices."""
    trainer: Trainer = instantiate(task.config["trainer"])
    if trainer.devices == 1:
        return train_member(task, member, seed, report)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = get_context("spawn")
    others = [context.Process(target=_follow, args=(task, member, seed, rank, port), daemon=True) for rank in range(1, trainer.devices)]
    for process in others:
        process.start()
    try:
        with _rank(0, port):
            return train_member(task, member, seed, report)
    finally:
        for process in others:
            process.terminate()
            process.join()


def _follow(task: Task, member: int, seed: int, rank: int, port: int) -> None:
    end_with_parent()
    with _rank(rank, port):
        train_member(task, member, seed, lambda report: None)


def _rank(rank: int, port: int) -> AbstractContextManager[None]:
    """Tells Fabric that the processes of this member have been started, and which one this is."""
    return environment({"LOCAL_RANK": str(rank), "NODE_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)})
