"""The jobs of a sweep, composed and checked before the first one starts, and kept in files as they were checked."""

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict

from nnpx.config import compose, fingerprint, problems_of, shipped_hydra, validate
from nnpx.configuration import resolvers
from nnpx.configuration.composition import with_folder
from nnpx.configuration.guard import guard_hydra
from nnpx.configuration.launchers import register
from nnpx.configuration.overrides import forced, parse, readable
from nnpx.configuration.schema import plain, raise_all
from nnpx.configuration.targets import trusted_code
from nnpx.errors import ConfigError
from nnpx.files import read_json, write_json, write_text
from nnpx.provenance import code_fingerprint
from nnpx.sweep.files import CONFIG, LOCK, RESULT, STARTS, TICKET, writable
from nnpx.upstream import check_choices

#: Hydra's words that pick a sweeper or say where jobs write; the jobs' own output goes to their logs, Hydra's chatter nowhere
_QUIET: Final = ("hydra/hydra_logging=none", "hydra/job_logging=none")


@dataclass
class Job:
    """One combination of the choices.

    Attributes:
        number: its place in the grid.
        overrides: the words that make it.
        choices: those that differ between the jobs, by key.
        config: the experiment, composed and checked.
        folder: where it works.
        shared: the folder that holds its prepared data; None where it prepares its own.
        data: checksums of the data that it reads.
        failure: why it cannot start.
    """

    number: int
    overrides: list[str]
    choices: dict[str, str]
    config: DictConfig
    folder: Path
    shared: Path | None = None
    data: dict[str, str] = field(default_factory=dict)
    failure: str = ""

    @property
    def name(self) -> str:
        """What varies: `descriptor=acsf seed=1`."""
        return " ".join(f"{key}={value}" for key, value in self.choices.items()) or str(self.config.name)


@dataclass
class Grid:
    """All jobs of a sweep, its folder, and Hydra's part of the configuration, which names the launcher."""

    verb: str
    folder: Path
    project: Path
    hydra: DictConfig
    jobs: list[Job]

    def shown(self, path: Path) -> str:
        """A path as the user would write it."""
        return str(path.relative_to(self.project) if path.is_relative_to(self.project) else path)

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keeps a second start of the same sweep out.

        Raises:
            ConfigError: if it is running already, or if the project cannot be written.
        """
        from filelock import FileLock, Timeout

        lock = FileLock(self.folder / LOCK)
        with writable(self.shown(self.folder)):
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=0)
            except Timeout as problem:
                do = "Wait for it; or change a word of this one."
                raise ConfigError(self.shown(self.folder), expected="a sweep that is not running", found="the same one", do=do) from problem
        try:
            yield
        finally:
            lock.release()

    def write(self) -> list[Job]:
        """Writes every job's configuration into its folder; returns the jobs that have not finished."""
        code = fingerprint(code_fingerprint(), trusted_code(), (resolvers.pipelines_dir() / f"{self.verb}.py").read_text(encoding="utf-8"))
        todo = []
        with writable(self.shown(self.folder)):
            for job in self.jobs:
                settings = {key: value for key, value in plain(job.config).items() if key != "conf_hash"}
                made_of = fingerprint(self.verb, settings, job.data, code)
                if finished(job.folder, made_of):
                    continue
                _clear(job.folder, made_of)
                write_text(job.folder / CONFIG, OmegaConf.to_yaml(job.config))
                write_json(job.folder / TICKET, self._ticket(job, made_of))
                if job.failure:
                    write_json(job.folder / RESULT, {"status": "failed", "error": job.failure})
                else:
                    todo.append(job)
        return todo

    def _ticket(self, job: Job, made_of: str) -> dict[str, Any]:
        return {
            "verb": self.verb,
            "number": job.number,
            "overrides": job.overrides,
            "choices": job.choices,
            "made_of": made_of,
            "project": str(self.project),
            "shared": None if job.shared is None else str(job.shared),
        }


def finished(folder: Path, made_of: str) -> bool:
    """Whether a job has been done with this configuration, data and code."""
    result = read_json(folder / RESULT)
    return result.get("status") == "finished" and result.get("made_of") == made_of


def plan(verb: str, overrides: Sequence[str], config_dir: Path | None) -> Grid:
    """Composes and checks the whole grid; writes nothing.

    Raises:
        ConfigError: with the errors of all jobs.
    """
    parse(overrides)
    own = [word for word in overrides if word.lstrip("+~").startswith(("hydra.", "hydra/"))]
    words = [word for word in overrides if word not in own]
    if any(word.startswith("hydra/sweeper") for word in own):
        raise ConfigError("hydra/sweeper", expected="a grid", found="another sweeper", do="Search with `nnpx tune`.")
    try:
        master = _compose_hydra(own, words, config_dir)
    except ConfigError:
        _checked(verb, jobs_of(words), config_dir)  # tells more of what is wrong
        raise
    hydra: Any = OmegaConf.to_container(master.hydra, resolve=False)
    guard_hydra(hydra, shipped_hydra([*_QUIET, *own]), [*own, "hydra.searchpath"])  # the search path holds --config-dir
    given = {word.split("=")[0] for word in words}
    words = [*(f"{key}={value}" for key, value in (master.hydra.sweeper.params or {}).items() if key not in given), *words]
    listed = jobs_of(words)
    configs = _checked(verb, listed, config_dir)
    if not any(word.startswith("hydra.sweep.dir=") for word in own):
        # the same sweep has the same folder, whatever launches it: what was killed goes on where it stood
        name = re.sub(r"[^A-Za-z0-9._-]", "_", str(configs[0].name))
        master.hydra.sweep.dir = f"multirun/{name}-{fingerprint(verb, sorted(words))[:6]}"
    project = Path.cwd()
    folder = project / str(master.hydra.sweep.dir)
    master.hydra.sweep.dir = str(folder)
    master.hydra.job.name = verb
    choices = _varying(listed)
    jobs = [
        Job(number, words, choices[number], config, folder / _subfolder(master, number, words, config))
        for number, (words, config) in enumerate(zip(listed, configs, strict=True))
    ]
    if any(not job.folder.resolve().is_relative_to(folder.resolve()) or job.folder.resolve() == folder.resolve() for job in jobs):
        raise ConfigError("hydra.sweep.subdir", expected="a folder below that of the sweep", found="another one", do="Leave it out.")
    if len({job.folder for job in jobs}) < len(jobs):
        raise ConfigError("hydra.sweep.subdir", expected="one folder per job", found="one for several", do="Leave it out.")
    return Grid(verb, folder, project, master, jobs)


def jobs_of(overrides: Sequence[str]) -> list[list[str]]:
    """The overrides of every job of a grid; the same job is not done twice.

    Raises:
        ConfigError: if an override cannot be read.
    """
    parse(overrides)
    with initialize_config_dir(str(resolvers.conf_dir()), version_base="1.3"):
        parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
        jobs: list[list[str]] = BasicSweeper.split_arguments(parser.parse_overrides(list(overrides)), None)[0]
    return [list(job) for job in dict.fromkeys(map(tuple, jobs))]


def _checked(verb: str, jobs: Sequence[Sequence[str]], config_dir: Path | None) -> list[DictConfig]:
    """Every job's experiment, composed and checked."""
    problems: dict[str, ConfigError] = {}
    configs = []
    for job in jobs:
        try:
            config = compose(job, config_dir)
            validate(config, config_dir=config_dir)
            check_choices(verb, config, Path.cwd())
            configs.append(config)
        except ConfigError as error:
            problems.update({str(problem): problem for problem in problems_of(error)})
    raise_all(list(problems.values()))
    return configs


def _compose_hydra(own: Sequence[str], words: Sequence[str], config_dir: Path | None) -> DictConfig:
    """Hydra's own part of the configuration, with the values that are the same for all jobs beside it."""
    register()
    resolvers.register()
    fixed = forced([override for override in parse(words) if not override.is_sweep_override()])
    quiet = [word for word in _QUIET if not any(other.startswith(word.split("=")[0]) for other in own)]
    with readable(), initialize_config_dir(str(resolvers.conf_dir()), version_base="1.3"):
        master: DictConfig = hydra_compose("config", with_folder([*quiet, *own, *fixed], config_dir), return_hydra_config=True)
    return master


def _varying(jobs: Sequence[Sequence[str]]) -> list[dict[str, str]]:
    """What differs between the jobs, by key."""
    pairs = [{key.lstrip("+"): value for key, _, value in (word.partition("=") for word in job)} for job in jobs]
    keys = [key for key in pairs[0] if len({pair.get(key) for pair in pairs}) > 1]
    return [{key: pair[key].strip("'\"") for key in keys} for pair in pairs]


def _subfolder(master: DictConfig, number: int, words: Sequence[str], experiment: Mapping[Any, Any]) -> str:
    """The folder of a job as `hydra.sweep.subdir` says it: by default its number."""
    config = OmegaConf.merge({key: value for key, value in experiment.items()}, {"hydra": master.hydra})
    with open_dict(config):
        config.hydra.job.num = number
        config.hydra.job.override_dirname = ",".join(sorted(words))
    return str(config.hydra.sweep.subdir)


def _clear(folder: Path, made_of: str) -> None:
    """Removes what an earlier start left of how the job ended, and what it made of another configuration, data or code."""
    for name in (RESULT, STARTS):
        (folder / name).unlink(missing_ok=True)
    if (folder / TICKET).is_file() and read_json(folder / TICKET).get("made_of") != made_of:
        for made in ("models", "reports"):
            shutil.rmtree(folder / made, ignore_errors=True)
