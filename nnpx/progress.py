"""How far long work is: bars with the time left on a terminal; in a file, where a bar is of no use, the same as a line now and then."""

import math
from datetime import timedelta
from typing import Any, Final, final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

#: a file gets a line when at least so many seconds have passed since the one before, and at least so large a part of the work is done
LINE_AFTER_S: Final = 60.0
LINE_AFTER_SHARE: Final = 0.01


@final
class Bars(Progress):
    """One bar for each task, with what its field `said` says of it.

    The time left is that of the mean speed over the last thousand reports of this process, so that work has one too whose steps are rare
    (an epoch of minutes) or were done before (a run that goes on).

    Args:
        console: where it is shown; a terminal shows bars, anything else gets lines.
        name: the command; begins every line.
        stays: whether the bars, or a last line for each, remain when the work is done.
    """

    def __init__(self, console: Console, name: str, *, stays: bool = False) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[said]}"),
            TimeRemainingColumn(),
        )
        unseen = not console.is_interactive
        super().__init__(*columns, console=console, transient=not stays, disable=unseen, speed_estimate_period=math.inf)
        self._name, self._stays, self._begun = name, stays, self.get_time()
        self._written = dict[TaskID, tuple[float, float]]()  # when its last line was written, and how much was done then

    def stop(self) -> None:
        """The work is done."""
        super().stop()
        if self.disable and self._stays:
            for one in self.tasks:
                if one.completed and self._written.get(one.id, (0.0, 0.0))[1] != one.completed:
                    self._write(one.id)

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """As rich's, which names the arguments; in a file it writes a line where one is due."""
        super().update(task_id, **changes)
        if not self.disable:
            return
        task = self._tasks[task_id]
        written, completed = self._written.get(task_id, (self._begun, 0.0))
        enough = task.total and task.completed - completed >= LINE_AFTER_SHARE * task.total
        if enough and self.get_time() - written >= LINE_AFTER_S:
            self._write(task_id)

    def reset(self, task_id: TaskID, **changes: Any) -> None:
        """As rich's: the task begins anew, and so do its lines."""
        super().reset(task_id, **changes)
        self._written[task_id] = self.get_time(), 0.0

    def _write(self, task_id: TaskID) -> None:
        task = self._tasks[task_id]
        left = f"{timedelta(seconds=round(task.time_remaining))} left" if task.time_remaining else ""
        words = ", ".join(filter(None, (task.fields["said"], left)))
        line = f"{self._name}: {task.description}: {task.percentage:.0f} %" + (f" ({words})" if words else "")
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)
        self._written[task_id] = self.get_time(), task.completed
