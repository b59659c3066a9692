"""With real servers: PostgreSQL behind `mlflow server`, and a server that is killed while runs write to it."""

import importlib.util
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tracking.servers import Server, postgres, postgres_programs
from tracking.stores import tracker
from tracking.test_tracking_faults import check_all_there, steps, write_together

from nnpx.tracking.sync import sync, waiting

pytestmark = pytest.mark.slow
N_STEPS = 10


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that also runs other tests may take its time; a server that is dead is noticed at once."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")


@pytest.fixture
def server(workspace: Path) -> Iterator[Server]:
    one = Server(workspace, f"sqlite:///{workspace}/mlflow.db")
    one.start()
    yield one
    one.kill()


def test_a_server_that_is_killed_in_mid_run_gets_everything_once_when_it_is_back(
    workspace: Path, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    (workspace / "models").mkdir()
    (workspace / "models" / "potential.nnpx").write_text("weights")
    track = tracker(workspace, uri=server.uri)
    track.prepare()
    run = track.start("began with a server", parent=None, tags={})
    for step in range(2 * N_STEPS):
        if step == N_STEPS:
            server.kill()
        run.log_metrics({"loss": 1.0 / (1 + step)}, step=step)
    with track.start("began without", parent=run.id, tags={}) as member:
        member.log_metrics({"loss": 1.0}, step=0)
    run.log_model(workspace / "models" / "potential.nnpx", name="ethanol", alias="candidate")
    run.finish()
    assert caplog.text.count("does not answer") == 1
    assert len(waiting(track)) == 2
    server.start()
    again = tracker(workspace, uri=server.uri)
    assert [one.remarks for one in sync(again, waiting(again))] == [[], []]
    assert sync(again, waiting(again)) == []
    assert steps(again, run.id) == list(range(2 * N_STEPS))
    nested = again.store.client.get_run(again.store.find(member.id))
    assert nested.data.tags["mlflow.parentRunId"] == run.id
    assert nested.info.status == "FINISHED"
    versions = again.store.client.search_model_versions(f"run_id = '{run.id}'")
    assert [version.version for version in versions] in ([1], ["1"])


def test_sixteen_processes_that_write_to_postgresql_behind_a_server_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    if postgres_programs() is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    if importlib.util.find_spec("psycopg2") is None:
        pytest.skip("psycopg2 is not installed (pip install psycopg2-binary)")
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "NNPX_PARENT_RUN"):
        monkeypatch.delenv(name, raising=False)
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL, which is another user, has to reach its folder
        with postgres(folder / "postgres") as address:
            server = Server(folder, address)
            server.start()
            try:
                track = tracker(folder, uri=server.uri)
                track.prepare()
                write_together(track, n_steps=N_STEPS)
                check_all_there(track, n_steps=N_STEPS)
            finally:
                server.kill()
