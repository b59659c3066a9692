"""MLflow and PostgreSQL on the loopback, started for one test."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_S = 180.0


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Server:
    """`mlflow server` in a folder; can be killed and started again at the same address."""

    def __init__(self, folder: Path, backend: str) -> None:
        self.folder, self.backend, self.port = folder, backend, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        words = ["server", "--backend-store-uri", self.backend, "--artifacts-destination", str(self.folder / "artifacts")]
        words += ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        log = (self.folder / "server.log").open("ab")
        self.process = subprocess.Popen([sys.executable, "-m", "mlflow", *words], stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            try:
                # the first answer takes long: the server opens its database
                with urllib.request.urlopen(f"{self.uri}/api/2.0/mlflow/experiments/get?experiment_id=0", timeout=60):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.3)
        raise TimeoutError((self.folder / "server.log").read_text()[-2000:])

    def kill(self) -> None:
        """SIGKILL to the server and its workers."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


def postgres_programs() -> Path | None:
    """The folder of initdb, where Debian's package is installed."""
    found = [*sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")), *filter(None, [shutil.which("initdb")])]
    return Path(found[-1]).resolve().parent if found else None


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """An empty PostgreSQL in a folder; its address. It refuses to run as root and is then run as another user."""
    programs, port = postgres_programs(), free_port()
    folder.mkdir()
    data, log = folder / "data", folder / "postgres.log"
    as_user: list[str] = []
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]

    def run(program: str, *words: str) -> None:
        done = subprocess.run(
            [*as_user, str(programs / program), *words], cwd=folder, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr

    run("initdb", "-D", str(data), "-U", "nnpx", "--auth=trust", "--no-sync")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off -c max_connections=200"
    with log.open("w"):
        pass
    if as_user:
        shutil.chown(log, "postgres")
    run("pg_ctl", "-D", str(data), "-l", str(log), "-w", "-o", options, "start")
    try:
        run("createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "nnpx", "runs")
        yield f"postgresql+psycopg2://nnpx@127.0.0.1:{port}/runs"
    finally:
        run("pg_ctl", "-D", str(data), "-m", "immediate", "stop")
