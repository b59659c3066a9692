"""The runs that the dashboard shows in the tests."""

from dataclasses import dataclass
from pathlib import Path

from nnpx.tracking import Tracker

MEMBERS = ("ethanol, member 0", "ethanol, member 1")
SWEEP = "descriptor=acsf,acsf_narrow seed=0,1"
JOBS = ("descriptor=acsf seed=0", "descriptor=acsf seed=1", "descriptor=acsf_narrow seed=0", "descriptor=acsf_narrow seed=1")


@dataclass(frozen=True)
class Store:
    """A project folder, and the ids of its runs."""

    workspace: Path
    tracker: Tracker
    members: list[str]
    sweep: str
    jobs: list[str]


def ensemble(tracker: Tracker, workspace: Path) -> list[str]:
    """A run with a nested run for each member, and a registered potential."""
    (workspace / "potential.nnpx").write_bytes(b"weights")
    ids = []
    with tracker.start("ethanol", parent=None, tags={"seed": "0"}) as parent:
        parent.log_params({"descriptor": {"cutoff": 6.0}})
        for number, name in enumerate(MEMBERS):
            with tracker.start(name, parent=parent.id, tags={"ensemble_member": str(number)}) as member:
                member.log_params({"seed": number, "network": {"hidden": [64, 64]}})
                for epoch in range(1, 21):
                    member.log_metrics({"train_loss": 1.0 / epoch, "valid_forces_mae": (1 + number) / epoch}, step=epoch)
                ids.append(member.id)
        parent.log_model(workspace / "potential.nnpx", name="ethanol", alias="candidate")
    return ids


def job(tracker: Tracker, name: str, error: float) -> str:
    """One job of the sweep: what varies as parameters, what came out as metrics."""
    with tracker.start(name, parent=None, tags={}) as run:
        run.log_params(dict(pair.split("=") for pair in name.split()))
        run.log_metrics({"valid/forces_mae": error, "us_per_atom": 10.0 / error, "train_wall_s": 60.0 * error}, step=0)
    return run.id
