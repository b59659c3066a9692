"""A search as `conf/tune/*.yaml` declares it, read and checked like everything else: against the signature of the class that it names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, final

from annotated_types import Ge, Gt, Len
from omegaconf import DictConfig, OmegaConf

from nnpx.configuration import resolvers
from nnpx.configuration.guard import guard_values
from nnpx.configuration.overrides import groups_in, name_file, parse, readable
from nnpx.configuration.schema import check_node, is_node, raise_all
from nnpx.configuration.targets import suggest
from nnpx.errors import ConfigError
from nnpx.tuning.outcome import OUTCOME
from nnpx.tuning.pruners import Pruner
from nnpx.tuning.samplers import Sampler
from nnpx.tuning.space import Dimension

#: the group of conf/, and the word that chooses from it
GROUP: Final = "tune"
#: how long and with how many hands one searches: not what for
_BUDGET: Final = ("n_trials", "timeout_s", "n_workers")


@final
class Search:
    """What varies, what counts, who proposes, and when it is enough.

    Args:
        space: overrides of the experiment (any key, or a group) and what each may be.
        objectives: numbers of the outcome of `nnpx train`, smaller or larger is better. With several, the best trials are those that no
            other trial beats in all of them.
        sampler: proposes the next point.
        pruner: stops trials whose validation curve of the objective promises nothing; null lets all finish. For one objective only.
        n_trials: trials of the whole search, those of earlier commands included.
        timeout_s: s; no trial starts later than this; null for no limit.
        n_workers: processes that train at the same time.
        storage: the file in the study's folder: `sqlite` is a database, `journal` a log that also works on network file systems.
    """

    def __init__(
        self,
        *,
        space: dict[str, Dimension],
        objectives: Annotated[dict[str, Literal["minimize", "maximize"]], Len(1)],
        sampler: Sampler,
        pruner: Pruner | None,
        n_trials: Annotated[int, Ge(1)],
        timeout_s: Annotated[float, Gt(0)] | None,
        n_workers: Annotated[int, Ge(1)],
        storage: Literal["sqlite", "journal"],
    ) -> None:
        self.space, self.objectives, self.sampler, self.pruner = space, objectives, sampler, pruner
        self.n_trials, self.timeout_s, self.n_workers, self.storage = n_trials, timeout_s, n_workers, storage

    @property
    def curve(self) -> str | None:
        """The column of the learning curve by which trials are pruned."""
        return OUTCOME[next(iter(self.objectives))] if self.pruner is not None else None

    def problems(self) -> list[ConfigError]:
        """What the signatures cannot tell."""
        found = [problem for key, dimension in self.space.items() for problem in dimension.problems(f"{GROUP}.space.{key}")]
        if not self.space:
            found.append(ConfigError(f"{GROUP}.space", expected="at least one override", found="none", do="Add a key of the experiment."))
        unknown = [name for name in self.objectives if name not in OUTCOME]
        for name in unknown:
            expected, do = f"a number that training writes ({', '.join(OUTCOME)})", suggest(name, OUTCOME) or "Choose one of them."
            found.append(ConfigError(f"{GROUP}.objectives", expected=expected, found=name, do=do))
        if self.pruner is not None and not unknown and (list(self.objectives.values()) != ["minimize"] or self.curve is None):
            wanted = "one objective with a learning curve, to be minimized, beside a pruner"
            told = ", ".join(f"{name}: {direction}" for name, direction in self.objectives.items())
            found.append(ConfigError(f"{GROUP}.objectives", expected=wanted, found=told, do=f"Say {GROUP}.pruner=null."))
        return found


@dataclass(frozen=True)
class Declared:
    """A search and the YAML that it was built from."""

    option: str
    node: dict[str, Any]
    search: Search

    def content(self) -> dict[str, Any]:
        """What the search looks for and how, without its budget, which may grow."""
        return {key: value for key, value in self.node.items() if key not in _BUDGET}


def read_search(words: Sequence[str], config_dir: Path | None, default: str) -> tuple[Declared, list[str]]:
    """The search that `tune=OPTION` and `tune.key=value` among the words describe, and the words that are left.

    Raises:
        ConfigError: with every error of the search.
    """
    parsed = parse(words)
    own = [override for override in parsed if str(override.key_or_group).split(".")[0] == GROUP]
    folders = [*([config_dir] if config_dir is not None else []), resolvers.conf_dir()]
    option = next((str(override.value()) for override in own if override.key_or_group == GROUP), default)
    node = _load(option, folders)
    problems = []
    for override in own:
        path, word = str(override.key_or_group).split(".")[1:], str(override.input_line)
        if len(path) > 1 and path[0] == "space":
            do = f"Give the whole space ('{GROUP}.space={{…}}'), or write a file {GROUP}/MINE.yaml and use it with --config-dir."
            problems.append(ConfigError(word, expected="a space as a whole: its keys have dots", found=word, do=do))
        elif path:
            _put(node, path, override.value())
    node["space"] = _named_dimensions(node.get("space"))
    plan, found = check_node(node, GROUP, ())
    raise_all([*problems, *(name_file(problem, {GROUP: node}, folders) for problem in found)])
    search = plan.build({}) if plan is not None else None
    if not isinstance(search, Search):
        do = "Write _target_: nnpx.tuning.search.Search."
        raise ConfigError(f"{GROUP}._target_", expected="a search", found=str(node.get("_target_")), do=do)
    raise_all(search.problems())
    return Declared(option, node, search), [str(override.input_line) for override in parsed if override not in own]


def _load(option: str, folders: Sequence[Path]) -> dict[str, Any]:
    path = next((path for folder in folders if (path := folder / GROUP / f"{option}.yaml").is_file()), None)
    if path is None:
        known = groups_in(folders).get(GROUP, [])
        do = suggest(option, known) or "Choose one of them, or write your own and say --config-dir."
        raise ConfigError(GROUP, expected=f"an option of {GROUP} ({', '.join(known)})", found=option, do=do)
    with readable():
        file = OmegaConf.load(path)
        if isinstance(file, DictConfig):
            guard_values(file)
        content = OmegaConf.to_container(file, resolve=True)
    if not isinstance(content, dict) or not is_node(content):
        do = "Begin with _target_: nnpx.tuning.search.Search."
        raise ConfigError(str(path), expected="a mapping with _target_", found="another text", do=do)
    return {str(key): value for key, value in content.items()}


def _put(node: dict[str, Any], path: Sequence[str], value: object) -> None:
    for key in path[:-1]:
        inner = node.get(key)
        node[key] = node = dict(inner) if isinstance(inner, Mapping) else {}
    node[path[-1]] = value


def _named_dimensions(space: object) -> object:
    """Dimensions with the class that their keys ask for: nobody should have to write it."""
    if not isinstance(space, Mapping):
        return space
    kinds = {True: "nnpx.tuning.space.Choices", False: "nnpx.tuning.space.Interval"}
    named = {}
    for key, one in space.items():
        plain = isinstance(one, Mapping) and not is_node(one)
        named[str(key)] = {"_target_": kinds["choices" in one], **one} if plain else one
    return named
