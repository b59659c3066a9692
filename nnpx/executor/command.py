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
from hashlib import sha256
from math import inf
from pathlib import Path
from typing import Annotated, Final, final
from uuid import uuid4

from annotated_types import Ge

from nnpx.data.finished_jobs import FinishedJobs
from nnpx.data.jobs import Batch, Engine
from nnpx.errors import ConfigError
from nnpx.executor import Executor, Task
from nnpx.files import naming
from nnpx.processes import end_group, environment_of_others
from nnpx.trusted import ENVIRONMENT

#: what stands for the work in the command
WORK: Final = "{work}"
#: s; between two looks at what has ended
_LOOK_S: Final = 0.1
#: s; a file that another machine wrote may take so long to be seen
_ARRIVAL_S: Final = 20.0
#: s; a command that is to end has so long to do it by itself
_GRACE_S: Final = 5.0


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
            ConfigError: the command cannot be called, or a call ended before its work began. No other is made then, and those that are made
                already are waited for first.
        """
        queue, running, refused = list(reversed(tasks)), list[_Call](), list[ConfigError]()
        folder.mkdir(parents=True, exist_ok=True)
        try:
            while queue or running:
                while queue and len(running) < self.n_at_once:
                    running.append(_Call(queue.pop(), folder.resolve(), engine, self.words))
                for call in [call for call in running if call.has_ended()]:
                    running.remove(call)
                    if (batch := call.outcome()) is not None:
                        yield call.task.key, batch
                        call.files.remove("*")
                    else:
                        refused.append(call.refusal())
                        queue.clear()
                        call.files.remove(f"{call.files.call}.*")  # an earlier call may still be in the queue
                    call.end()
                time.sleep(_LOOK_S)
            if refused:
                raise refused[0]
        finally:
            for call in running:
                call.end()
            with suppress(OSError):
                folder.rmdir()


class _Call:
    """A call of the command for one task; none where its answer is there already."""

    def __init__(self, task: Task, folder: Path, engine: Engine, words: Sequence[str]) -> None:
        self.task, self.files = task, Files.of_call(task, engine, folder)
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = inf  # when
        if self.files.answer() is not None:
            return
        self.files.write(task, engine)
        work = shlex.join([sys.executable, "-m", "nnpx.executor.work", str(self.files.task)])
        called = [word.replace(WORK, work) for word in words]
        try:
            with self.files.said.open("wb") as said:
                self._process = subprocess.Popen(
                    called, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment_of_others(), start_new_session=True
                )
        except OSError as error:
            do = "Correct executor.command."
            raise ConfigError("executor.command", expected="a program that can be called", found=str(error), do=do) from error

    def has_ended(self) -> bool:
        """Whether there is an answer, or none to be waited for any more."""
        if self._process is None:
            return True
        if self._process.poll() is None:
            return False
        self._ended = min(self._ended, time.monotonic())
        return self._code != 0 or time.monotonic() > self._ended + _ARRIVAL_S or self.files.answer() is not None

    def outcome(self) -> Batch | None:
        """The answer; a failure where the work of this call began and gave none; nothing where it did not begin."""
        answer = self.files.answer()
        if answer is not None or not self.files.begun.is_file():
            return answer
        said = f"the work ended without an answer, or took more than {self.task.allowed_s:g} s"
        return self.task.failed(f"{said} (exit code {self._code}): {self._told()}")

    def refusal(self) -> ConfigError:
        """Why there is no work."""
        found = f"exit code {self._code} before the work began; it said: {self._told()}"
        again, waits = "run the same command again: what is finished is kept.", "wait for its end (sbatch --wait, qsub -sync y, bsub -K)"
        do = f"Mend what it says, and {again}" if self._code else f"Let it run {{work}} and {waits}. If a job was cancelled, {again}"
        return ConfigError("executor.command", expected="a command that runs the work", found=found, do=do)

    def end(self) -> None:
        """Whatever the command has started on this machine; what waits in a queue stays there, and its answer is found later."""
        if self._process is None:
            return
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=_GRACE_S)
        end_group(self._process.pid)
        self._process.wait()

    @property
    def _code(self) -> int:
        return self._process.returncode if self._process is not None else 0

    def _told(self) -> str:
        return " ".join(self.files.said.read_text(errors="replace").split())[-300:] or "nothing"


@final
@dataclass(frozen=True)
class Files:
    """What lies in the folder for one call: `NAME.CALL.task`, `.begun` and `.said`, and for all calls of the same task `NAME.answer`.

    The name is that of the task with this engine; a call that is still in the queue of somebody who was killed has another one.
    """

    name: Path
    call: str

    @classmethod
    def of_call(cls, task: Task, engine: Engine, folder: Path) -> "Files":
        """Those of a new call."""
        return cls(folder / sha256(f"{engine.identity} {task.key}".encode()).hexdigest(), uuid4().hex[:8])

    @classmethod
    def of_task(cls, path: Path) -> "Files":
        """Those that a file of a task belongs to."""
        name, call, _ = path.name.split(".")
        return cls(path.with_name(name), call)

    @property
    def task(self) -> Path:
        """What is to be done."""
        return self.name.with_suffix(f".{self.call}.task")

    @property
    def begun(self) -> Path:
        """There when the work has begun."""
        return self.name.with_suffix(f".{self.call}.begun")

    @property
    def said(self) -> Path:
        """The output of the command."""
        return self.name.with_suffix(f".{self.call}.said")

    def write(self, task: Task, engine: Engine) -> None:
        """Write what the work reads: where this process finds its modules, and the packages that it trusts, then the task."""
        with naming(self.task), self.task.open("wb") as stream:
            pickle.dump((sys.path, os.environ.get(ENVIRONMENT, "")), stream)
            pickle.dump((task, engine), stream)

    def answer(self) -> Batch | None:
        """What came of the task; nothing while there is no answer."""
        return self._answers.read().get(self.name.name)

    def write_answer(self, batch: Batch) -> None:
        """Add what came of the task."""
        self._answers.add(self.name.name, batch)

    def remove(self, which: str) -> None:
        """Those of this task that match."""
        for path in self.name.parent.glob(f"{self.name.name}.{which}"):
            path.unlink(missing_ok=True)

    @property
    def _answers(self) -> FinishedJobs:
        return FinishedJobs(path=self.name.with_suffix(".answer"))


def _words(command: str) -> list[str]:
    do = 'Write it as in a terminal, with {work} where the work is run, for example: sbatch --wait --wrap "{work}".'
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ConfigError("executor.command", expected="the words of a command", found=str(error), do=do) from error
    if not any(WORK in word for word in words):
        raise ConfigError("executor.command", expected="a command with {work} in it", found=command, do=do)
    return words
