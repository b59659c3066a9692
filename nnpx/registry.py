"""The registry: potentials under names, each with numbered versions and the aliases `candidate` and `champion`."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, final

from nnpx.configuration.targets import suggest
from nnpx.errors import ArtifactError
from nnpx.tracking.store import Refused, Store, Unreachable

#: what a registered potential is called in a path: models:/name@alias or models:/name/version
SCHEME: Final = "models:/"


@final
class Registry:
    """The registered potentials of a store.

    Args:
        store: the store.

    Raises:
        ArtifactError: from every method, where a model is not there or the store does not answer.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def names(self) -> list[str]:
        """Every registered name."""
        return [str(model.name) for model in self._ask("models", lambda: self._store.client.search_registered_models(max_results=1000))]

    def version(self, address: str) -> Any:
        """MLflow's entry for `name@alias` or `name/version`, with or without `models:/`."""
        words = address.removeprefix(SCHEME)
        name, at, alias = words.partition("@")
        number = ""
        if not at:
            name, slash, number = words.rpartition("/")
            if not slash:
                do = f"Add one, such as {SCHEME}{words}@champion."
                raise ArtifactError(address, expected="a name with @alias or /version", found=words, do=do)
        known = self.names()
        if name not in known:
            do = suggest(name, known) or "Run `nnpx train` first."
            raise ArtifactError(address, expected=f"a registered potential ({', '.join(known) or 'none yet'})", found=name or words, do=do)
        client = self._store.client
        aliases = dict(self._ask(address, lambda: client.get_registered_model(name)).aliases)
        if at and alias not in aliases:
            do = suggest(alias, aliases) or ("Run `nnpx promote` first." if alias == "champion" else "Correct the alias.")
            raise ArtifactError(address, expected=f"an alias of {name} ({', '.join(sorted(aliases)) or 'none'})", found=alias, do=do)
        return self._ask(address, lambda: client.get_model_version(name, aliases[alias] if at else number))

    def holder(self, name: str, alias: str) -> Any:
        """The version of a registered name that holds an alias; None if none does."""
        held = dict(self._ask(name, lambda: self._store.client.get_registered_model(name)).aliases)
        return self.version(f"{name}@{alias}") if alias in held else None

    def of_run(self, run_id: str) -> Any:
        """The newest version that a run registered."""
        found = self._ask(run_id, lambda: self._store.client.search_model_versions(f"run_id = '{run_id}'"))
        if not found:
            raise ArtifactError(
                run_id, expected="a run that registered a potential", found="none of this run", do="Name a run of `nnpx train`."
            )
        return max(found, key=lambda version: int(version.version))

    def file(self, address: str) -> Path:
        """The file of a registered potential; fetched where the store is elsewhere."""
        version = self.version(address)
        folder = self._store.root / ".nnpx" / "models" / version.name / str(version.version)

        def fetch() -> Path:
            from mlflow.artifacts import download_artifacts

            folder.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(dir=folder, prefix=".") as draft:  # another process may be reading the one that is there
                fetched = Path(download_artifacts(artifact_uri=version.source, tracking_uri=self._store.uri, dst_path=draft))
                return fetched.replace(folder / fetched.name)

        return Path(self._ask(address, fetch))

    def move(self, version: Any, alias: str) -> None:
        """Let an alias mean this version."""
        self._ask(version.name, lambda: self._store.client.set_registered_model_alias(version.name, alias, version.version))

    def _ask(self, address: str, question: Any) -> Any:
        try:
            return self._store.ask(question)
        except Unreachable as problem:
            raise ArtifactError(address, expected="an answer of MLflow", found=str(problem), do="Start the server.") from problem
        except Refused as problem:
            raise ArtifactError(address, expected="a registered potential", found=str(problem), do="Correct the address.") from problem
