"""The progress of a training: a bar for each member, with its errors on the validation set."""

from collections.abc import Callable
from functools import partial

from rich.progress import TaskID

from nnpx.progress import Bars
from nnpx.trainer.state import Epoch


def watcher(bars: Bars, n_members: int, max_epochs: int) -> Callable[[int, Epoch, int], None]:
    """Opens a bar for every member; the function moves that of one member to an epoch, of which so many were made before."""
    return partial(_advance, bars, [bars.add_task(f"member {k}", total=max_epochs, said="") for k in range(n_members)])


def _advance(bars: Bars, rows: list[TaskID], member: int, epoch: Epoch, n_before: int) -> None:
    if epoch.epoch < n_before:
        return
    if epoch.epoch == n_before + 1 > 1:
        bars.console.print(f"train: member {member} goes on after epoch {n_before}", highlight=False)
    errors = [f"E {1e3 * epoch.valid_energy_mae_per_atom:.2f} meV/atom", f"F {1e3 * epoch.valid_forces_mae:.1f} meV/Å"]
    known = [words for words in errors if "nan" not in words]  # there may be no labels of forces
    bars.update(rows[member], completed=epoch.epoch, said="  ".join([f"epoch {epoch.epoch}", *known]))
