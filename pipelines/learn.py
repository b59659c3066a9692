"""Learns from its own mistakes: walkers find what the ensemble does not know, the reference labels it, until it is enough."""

from functools import partial
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from nnpx.config import instantiate
from nnpx.learning.publishing import publish
from nnpx.learning.remembering import Memory
from nnpx.learning.rounds import FOLDER, Loop
from nnpx.learning.view import View, table_of
from nnpx.locks import alone
from nnpx.upstream import alone_with_data, is_current
from nnpx.verbs import run_verb


def main(config: DictConfig, workspace: Path) -> None:
    """Writes learn/, and at its end data/prepared/ and models/. The same command goes on where it was left, whenever it was killed."""
    with alone(workspace / FOLDER, on="this loop", do="Wait for it, or end it first."):
        _learn(config, workspace, Console())


def _learn(config: DictConfig, workspace: Path, console: Console) -> None:
    view = View(console)
    loop = Loop(config, workspace, view)
    data_alone = partial(alone_with_data, workspace, lambda: console.print("learn: waits for the command that works on data/ to end"))
    while not loop.has_data:
        run_verb("prepare", config, workspace, alone=False)
        with data_alone():
            if is_current("prepare", config, workspace):  # else another command has been at them meanwhile
                loop.claim()
    loop.claim()
    tracker = instantiate(config.tracking, workspace=workspace)
    memory = Memory(tracker, loop)
    with memory.run as run:
        memory.begin(workspace)
        with view:
            rows, verdict = loop.run(memory.tell)
        with data_alone():
            potential = publish(loop.place(len(rows)), workspace, run.id)
        memory.conclude(potential, verdict)
    if not console.is_terminal:
        console.print(table_of(rows))
    console.print(
        f"learn: {verdict}; {rows[-1]['n_calls']} calculations → {potential.relative_to(workspace)}", highlight=False, soft_wrap=True
    )
    for line in tracker.dashboard():
        console.print(f"dashboard  {line}", highlight=False, soft_wrap=True, markup=False)
