"""The verbs: every file in pipelines/ is one, and its function `main` is what the verb does. Nothing heavy is imported to list them."""

import ast
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nnpx.errors import ConfigError

if TYPE_CHECKING:
    from omegaconf import DictConfig

_BUILT_IN: Final = {
    "compose": "Writes the experiment to params.yaml, as `dvc exp run` does",
    "check": "Checks an experiment without running it, and refuses a params.yaml that is older than conf/",
}
_ORDER: Final = ("label", "prepare", "train", "evaluate", "simulate", "learn", "report")


def verbs() -> dict[str, str]:
    """Every verb with the first line of its docstring, in the order in which they run."""
    from nnpx.configuration import resolvers

    files = {path.stem: path for path in resolvers.pipelines_dir().glob("*.py") if not path.stem.startswith("_")}
    order = [*(name for name in _ORDER if name in files), *sorted(set(files) - set(_ORDER))]
    lines = {name: (ast.get_docstring(ast.parse(files[name].read_text())) or "").partition("\n")[0] for name in order}
    return {**lines, **_BUILT_IN}


def run_verb(verb: str, config: "DictConfig", workspace: Path, *, alone: bool) -> None:
    """Runs one verb; unless alone, after the verbs that it builds on.

    Raises:
        ConfigError: another command changes the data of the workspace, or trains on them.
    """
    from nnpx import upstream

    if alone:
        upstream.check_watched(verb, config, workspace)
        upstream.check_writable([verb], workspace)
        with upstream.alone_if_with_data(verb, workspace):
            _pipeline(verb)(config, workspace)
    else:
        upstream.run(verb, config, workspace, _pipeline)


def _pipeline(verb: str) -> "Callable[[DictConfig, Path], None]":
    """The function `main` of pipelines/VERB.py, loaded by its location: the folder is no package."""
    from nnpx.configuration import resolvers

    path = resolvers.pipelines_dir() / f"{verb}.py"
    spec = importlib.util.spec_from_file_location(f"nnpx_pipeline_{verb}", path)
    if spec is None or spec.loader is None:
        raise ConfigError(verb, expected="a pipeline", found=f"nothing at {path}", do="Install nnpx again.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main  # type: ignore[no-any-return]  # every pipeline has one
