"""What has been done, one line each: the only memory of a loop, and all that a rerun needs.

A phase writes its files whole (beside their place, then renamed), and its line is added to the journal only when they lie there. Killed
before the line, or while it is written, the phase is done again, with the same seeds and hence the same outcome. A phase whose files were
changed or removed since counts as not done.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, final

from nnpx.configuration.schema import leaves
from nnpx.errors import ConfigError
from nnpx.files import JsonLines, md5

#: the file in the folder of a loop
NAME: Final = "journal.jsonl"
#: phases that take no time, and are not worth keeping
_QUICK: Final = ("data", "walkers begin")
#: settings that an error names
_NAMED: Final = 5


@final
class Journal:
    """The journal of one loop.

    Args:
        folder: of the loop.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / NAME
        self._file = JsonLines(self.path)
        self._lines = list(self._file.read())

    @property
    def experiment(self) -> str | None:
        """The experiment that claimed it."""
        return next((line["experiment"] for line in self._lines if "experiment" in line), None)

    def claim(self, experiment: str, settings: Mapping[str, Any]) -> None:
        """Keep it for this experiment, and remember its settings."""
        if self.experiment is None:
            self._add({"experiment": experiment, "settings": settings})

    def belongs_to(self, experiment: str, settings: Mapping[str, Any], *, is_worth_keeping: bool) -> None:
        """Makes sure that it is not that of another experiment; one that holds nothing which took time is given up to the new one.

        Args:
            experiment: that is to use it.
            settings: what it follows from, to say what is different.
            is_worth_keeping: whether the reference engine has been asked; else what other phases than the quick ones did decides.

        Raises:
            ConfigError: the folder holds the rounds of another experiment.
        """
        if self.experiment in (None, experiment):
            return
        if is_worth_keeping or any(line.get("phase", "data") not in _QUICK for line in self._lines):
            do = (
                "Move the folder away to start anew, or take back what was changed: "
                "nothing but the limits of the loop, what is kept of walkers, executor, name, md and tracking may change."
            )
            before, now = leaves(next(line.get("settings", {}) for line in self._lines if "experiment" in line)), leaves(settings)
            changed = [path for path in {**before, **now} if before and before.get(path) != now.get(path)]
            named = ", ".join(changed[:_NAMED]) + ", …" * (len(changed) > _NAMED)
            found = f"those of another, with another {named}" if changed else "those of another"
            raise ConfigError(f"{self.folder.name}/", expected="the rounds of this experiment", found=found, do=do)
        self.path.unlink()
        self._lines = []

    def note(self, key: str) -> str | None:
        """What was noted under this key last."""
        return next((line["note"][key] for line in reversed(self._lines) if key in line.get("note", {})), None)

    def take_note(self, key: str, value: str) -> None:
        """Keep a word, such as the id of a run."""
        self._add({"note": {key: value}})

    def has(self, round_: int, phase: str) -> bool:
        """Whether the phase is done and its files are what they were."""
        made: Mapping[str, str] | None = next(
            (line["made"] for line in reversed(self._lines) if line.get("round") == round_ and line.get("phase") == phase), None
        )
        return made is not None and all(self._is(name, checksum) for name, checksum in made.items())

    def phase(self, round_: int, phase: str, files: Sequence[Path], work: Callable[[], None]) -> bool:
        """Do the work of a phase unless it is done; whether it had to be done.

        Args:
            round_: number of the round.
            phase: its name.
            files: what the work writes, inside the loop's folder.
            work: writes them.
        """
        if self.has(round_, phase):
            return False
        work()
        made = {path.relative_to(self.folder).as_posix(): md5(path) for path in files}
        self._add({"round": round_, "phase": phase, "made": made})
        return True

    def _is(self, name: str, checksum: str) -> bool:
        path = self.folder / name
        return path.is_file() and md5(path) == checksum

    def _add(self, line: dict[str, Any]) -> None:
        self._file.add([line])
        self._lines.append(line)
