"""A command that runs one task wherever it likes: the queue of a cluster, a container, another machine that sees the same files."""

import os
import pickle
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, final

from annotated_types import Ge

from nnpx.data.finished_jobs import FinishedJobs
from nnpx.data.jobs import Batch, Engine
from nnpx.errors import ConfigError
from nnpx.executor import Executor, Task
from nnpx.trusted import ENVIRONMENT

#: what stands for the work in the command
WORK: Final = "{work}"
#: s; between two looks at what has ended
_LOOK_S: Final = 0.1
#: s; a file that another machine wrote may take so long to be seen
_ARRIVAL_S: Final = 20.0


@final
class Command(Executor):
    """One call of a command for every task, which has to wait for the end of the work.

    In the command `{work}` stands for what has to be run somewhere: `python -m nnpx.executor.work FILE`, with the Python and the file of
    this machine, which must be there too. The work writes its answer beside its file, so that an answer which came after this process was
    killed is found by the next one. The time that a task is allowed begins with the work, not in the queue.

    Args:
        command: such as `sbatch --wait --wrap "{work}"`; it is no line of a shell.
        n_at_once: calls at once, running or waiting.

    Raises:
        ConfigError: a command that does not run the work, or cannot be read.
    """

    def __init__(self, *, command: str, n_at_once: Annotated[int, Ge(1)]) -> None:
        self.words, self.n_at_once = _words(command), n_at_once

    def results(self, engine: Engine, tasks: Sequence[Task], folder: Path) -> Generator[tuple[str, Batch], None, None]:
        """Key and batch of every task, as they come.

        Raises:
            ConfigError: the command cannot be called, or ends before the work began.
        """
        queue, running = list(reversed(tasks)), list[_Call]()
        folder.mkdir(parents=True, exist_ok=True)
        try:
            while queue or running:
                while queue and len(running) < self.n_at_once:
                    running.append(_Call(queue.pop(), folder.resolve(), engine, self.words))
                ended = [call for call in running if call.has_ended()]
                for call in ended:
                    running.remove(call)
                    yield call.task.key, call.outcome()
                    call.tidy()
                if not ended:
                    time.sleep(_LOOK_S)
        finally:
            for call in running:
                call.end()
            with suppress(OSError):
                folder.rmdir()


class _Call:
    """A call of the command for one task; none where its answer is there already."""

    def __init__(self, task: Task, folder: Path, engine: Engine, words: Sequence[str]) -> None:
        self.task, self.files = task, Files(folder / task.key)
        self._process: subprocess.Popen[bytes] | None = None
        if self.files.answer() is not None:
            return
        self.files.begun.unlink(missing_ok=True)
        self.files.write(task, engine)
        work = shlex.join([sys.executable, "-m", "nnpx.executor.work", str(self.files.task)])
        called = [word.replace(WORK, work) for word in words]
        try:
            with self.files.said.open("wb") as said:
                self._process = subprocess.Popen(called, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True)
        except OSError as error:
            do = "Correct executor.command."
            raise ConfigError("executor.command", expected="a program that can be called", found=str(error), do=do) from error

    def has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def outcome(self) -> Batch:
        """The answer; a failure where the work began and gave none."""
        deadline = time.monotonic() + (_ARRIVAL_S if self._process is not None and self._process.returncode == 0 else 0.0)
        while (answer := self.files.answer()) is None and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        if answer is not None:
            return answer
        code = self._process.returncode if self._process is not None else 0
        told = " ".join(self.files.said.read_text(errors="replace").split())[-300:] or "nothing"
        if not self.files.begun.is_file():
            found = f"exit code {code} before any work began; it said: {told}"
            do = "Let it run {work} and wait for the end (sbatch --wait, qsub -sync y, bsub -K), and run the same command again."
            raise ConfigError("executor.command", expected="a command that runs the work", found=found, do=do)
        return self.task.failed(f"the work ended without an answer, or took more than {self.task.allowed_s:g} s (exit code {code}): {told}")

    def tidy(self) -> None:
        self.files.remove()

    def end(self) -> None:
        """Whatever the command has started on this machine; what waits in a queue stays there, and its answer is found later."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait()


@final
@dataclass(frozen=True)
class Files:
    """What lies in the folder for one task: `KEY.task`, `KEY.begun`, `KEY.answer` and `KEY.said`."""

    stem: Path

    @property
    def task(self) -> Path:
        """What is to be done."""
        return self.stem.with_suffix(".task")

    @property
    def begun(self) -> Path:
        """There when the work has begun."""
        return self.stem.with_suffix(".begun")

    @property
    def said(self) -> Path:
        """The output of the command."""
        return self.stem.with_suffix(".said")

    def write(self, task: Task, engine: Engine) -> None:
        """Write what the work reads: where this process finds its modules, and the packages that it trusts, then the task."""
        with self.task.open("wb") as stream:
            pickle.dump((sys.path, os.environ.get(ENVIRONMENT, "")), stream)
            pickle.dump((task, engine), stream)

    def answer(self) -> Batch | None:
        """What came of the task; nothing while there is no answer."""
        return self._answers.read().get(self.stem.name)

    def write_answer(self, batch: Batch) -> None:
        """Add what came of the task."""
        self._answers.add(self.stem.name, batch)

    def remove(self) -> None:
        """All of them."""
        for path in (self.task, self.begun, self.said, self._answers.path):
            path.unlink(missing_ok=True)

    @property
    def _answers(self) -> FinishedJobs:
        return FinishedJobs(path=self.stem.with_suffix(".answer"))


def _words(command: str) -> list[str]:
    do = 'Write it as in a terminal, with {work} where the work is run, for example: sbatch --wait --wrap "{work}".'
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ConfigError("executor.command", expected="the words of a command", found=str(error), do=do) from error
    if not any(WORK in word for word in words):
        raise ConfigError("executor.command", expected="a command with {work} in it", found=command, do=do)
    return words
