"""What a verb needs before it can run, and whether that is already there.

Label and prepare stamp what they write with a fingerprint of the part of the experiment that they read. Where the stamp fits, the work
is not done again; where it does not, it is. DVC decides the same from `dvc.yaml`, which names the same parts.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from os.path import normpath
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Final

import yaml
from omegaconf import DictConfig

from nnpx.config import fingerprint, instantiate
from nnpx.configuration.annotations import show
from nnpx.configuration.schema import leaves, plain
from nnpx.errors import ArtifactError, ConfigError, WorkspaceError
from nnpx.files import WRITES, files_of, md5, read_json
from nnpx.locks import alone
from nnpx.registry import SCHEME
from nnpx.runs import registered_file

#: the parts of an experiment that a verb reads
READS: Final[dict[str, tuple[str, ...]]] = {"label": ("data", "reference", "seed"), "prepare": ("data", "seed")}
#: where a verb writes its stamp, under the key "config"
STAMPS: Final[dict[str, Path]] = {"label": Path("data/labels.json"), "prepare": Path("data/prepared/card.json")}
#: what label writes, and prepare reads
LABELLED: Final = Path("data/labelled.extxyz")
#: what runs before a verb on the command line
BEFORE: Final[dict[str, tuple[str, ...]]] = {"prepare": ("label",), "train": ("label", "prepare")}
#: verbs whose outcome a potential is to be trained on, or that say whether it can be
_TOWARDS_A_POTENTIAL: Final = ("check", "label", "prepare", "train", "learn")
#: verbs that change the data of a workspace, or train on them, all the time; `learn` does at its beginning and at its end
_WITH_DATA: Final = ("label", "prepare", "train")
#: verbs that train here and now
_TRAIN: Final = ("train", "learn")
#: verbs that work on a trained potential
_NEED_A_POTENTIAL: Final = ("evaluate", "simulate", "report")
_POTENTIAL: Final = Path("models/potential.nnpx")
#: what was decided when a potential was trained
_OF_A_POTENTIAL: Final = (
    *("cutoff", "radial", "species_embedding", "descriptor", "network", "prior", "noise"),
    *("loss", "optimizer", "schedule", "ensemble", "uncertainty"),
)
#: settings that change nothing of a potential
_IDLE: Final = ("n_processes",)


def stamp(verb: str, config: DictConfig) -> str:
    """The fingerprint of what a verb reads."""
    return fingerprint(*(of_labels(config) if key == "reference" else config[key] for key in READS[verb]))


def of_labels(config: DictConfig) -> dict[str, Any]:
    """What of the reference engine decides labels: not the directory in which it keeps its files."""
    node = plain(config.reference)
    parameters = node.get("parameters")
    return {**node, **({"parameters": {key: parameters[key] for key in parameters if key != "directory"}} if parameters else {})}


def is_current(verb: str, config: DictConfig, workspace: Path) -> bool:
    """Whether the verb's output was made from this experiment, and from the files as they are: their checksums tell, whatever their age."""
    made = read_json(workspace / STAMPS[verb])
    labelled = workspace / LABELLED
    if made.get("config") != stamp(verb, config) or not labelled.is_file():
        return False
    return made.get("inputs") == inputs_of(config, workspace) if verb == "label" else made.get("source_md5") == md5(labelled)


def inputs_of(config: DictConfig, workspace: Path) -> dict[str, str]:
    """The checksums of the files that an experiment takes its data from, by the names that it gives them."""
    names = instantiate(config.data).inputs(workspace)
    return {name.as_posix(): md5(workspace / name) for name in names if (workspace / name).is_file()}


def run(verb: str, config: DictConfig, workspace: Path, pipeline: Callable[[str], Callable[[DictConfig, Path], None]]) -> None:
    """Runs a verb after those that it builds on, where their outputs are missing or belong to another experiment.

    Args:
        verb: the verb.
        config: the composed experiment.
        workspace: the folder that holds data/, models/ and reports/.
        pipeline: finds the function of a verb.

    Raises:
        ArtifactError: if the verb needs a trained potential and there is none.
        ConfigError: if two choices contradict each other, or a device is missing, before anything runs.
        WorkspaceError: if the results cannot be written, before anything runs.
    """
    check_choices(verb, config, workspace)
    if verb in _TRAIN:
        instantiate(config.trainer).check_devices()
    if verb in _NEED_A_POTENTIAL and not (workspace / _POTENTIAL).is_file():
        raise ArtifactError(str(_POTENTIAL), expected="a trained potential", found="no such file", do="Run `nnpx train` first.")
    check_writable([verb], workspace)
    with alone_if_with_data(verb, workspace):
        due: list[str] = []
        for earlier in BEFORE.get(verb, ()):
            if due or not is_current(earlier, config, workspace):
                due.append(earlier)
        check_writable(due, workspace)
        for one in [*due, verb]:
            pipeline(one)(config, workspace)


def alone_with_data(workspace: Path, waits: Callable[[], None] | None = None) -> AbstractContextManager[None]:
    """Inside the block no other command changes the data of a workspace, or trains on them.

    Raises:
        ConfigError: if one does, and there is nothing to be called when it waits.
    """
    folder, do = workspace / ".nnpx" / "data", "Wait for it, or work in a folder of its own."
    return alone(folder, on="the data of this folder", do=do, waits=waits)


def alone_if_with_data(verb: str, workspace: Path) -> AbstractContextManager[None]:
    """The same for a verb that does so from its beginning to its end."""
    return alone_with_data(workspace) if verb in _WITH_DATA else nullcontext()


def check_same_potential(words: Sequence[str], config: DictConfig, workspace: Path) -> None:
    """Words about the data or the potential would change nothing: both were decided when it was trained.

    Raises:
        ConfigError: if they describe other data than the prepared ones, or another potential than the one that is there.
    """
    if not (workspace / _POTENTIAL).is_file():
        return
    keys = [(word, word.lstrip("+~").partition("=")[0]) for word in words]
    about_data = next((word for word, key in keys if key.partition(".")[0] == "data"), None)
    if about_data is not None and not is_current("prepare", config, workspace):
        do = "Leave it out, or train with it first: `nnpx train data.path_test=FILE` takes a test set of its own."
        raise ConfigError(about_data, expected="the data that the potential was trained and is measured on", found="others", do=do)
    about = [(word, key) for word, key in keys if key.partition(".")[0] in _OF_A_POTENTIAL]
    trained = _configuration_of_potential(workspace) if about else {}
    for word, key in about:
        noun = key.partition(".")[0]
        here, there = leaves(plain(config[noun]), f"{noun}."), leaves(trained.get(noun, {}), f"{noun}.")
        for path in [path for path in there if f"{path}.".startswith(f"{key}.") and path.rpartition(".")[2] not in _IDLE]:
            if here.get(path) != there[path]:
                expected = f"the {noun} that the potential was trained with, {path}={show(there[path])}"
                raise ConfigError(word, expected=expected, found=show(here.get(path)), do="Leave it out, or train with it first.")


def _configuration_of_potential(workspace: Path) -> dict[str, Any]:
    from nnpx.artifact import read_header  # it needs torch, which most commands have no use for here

    found: dict[str, Any] = read_header(workspace / _POTENTIAL)["config"]
    return found


def check_watched(verb: str, config: DictConfig, workspace: Path) -> None:
    """DVC runs a stage again when its dependencies change: a file that is none of them could change unseen.

    Raises:
        ConfigError: if DVC does not watch a file of the data, or the potential that a training starts from.
    """
    pipeline = workspace / "dvc.yaml"
    stages = yaml.safe_load(pipeline.read_text(encoding="utf-8")).get("stages", {}) if pipeline.is_file() else {}
    watched = [normpath(workspace / str(one)) for one in stages.get(verb, {}).get("deps") or []]

    def check(where: str, files: Iterable[Path], expected: str, do: str) -> None:
        for file in files:
            if verb in stages and not any(Path(normpath(file)).is_relative_to(one) for one in watched):
                raise ConfigError(f"{where}, {file}", expected=expected, found="another", do=do)

    if verb == "label":
        do = "Put it there and name it so, or add it to the deps of the stage label in dvc.yaml."
        files = [workspace / name for name in instantiate(config.data).inputs(workspace)]
        check("data", files, "a file that DVC watches, such as those in data/inputs/", do)
    initial = config.get("initial") if verb == "train" else None
    if initial is not None and initial.startswith(SCHEME):
        if verb in stages and "@" in initial:
            expected = "a version, such as models:/NAME/1: DVC does not see where an alias moves"
            raise ConfigError("initial", expected=expected, found=initial, do="Name its version.")
    elif initial is not None:
        do = "Add it to the deps of the stage train in dvc.yaml; copy before what a stage writes, such as models/potential.nnpx."
        check("initial", [workspace / initial], "a file that DVC watches", do)


def check_writable(verbs: Sequence[str], workspace: Path) -> None:
    """Writes a nameless file where each of the verbs will write: after hours of work it would be too late to find out.

    Raises:
        WorkspaceError: if that fails.
    """
    for folder in dict.fromkeys(workspace / Path(name).parts[0] for verb in verbs for name in WRITES.get(verb, ())):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=folder) as file:
                file.write(b"\0")
        except OSError as error:
            do = "Make it writable, free some space, or run in a copy of the project."
            raise WorkspaceError(f"{folder.name}/", expected="a folder to write to", found=error.strerror or str(error), do=do) from error


def check_choices(verb: str, config: DictConfig, workspace: Path) -> None:
    """Builds the parts of a potential once, for hydrogen: what crosses two nouns would otherwise fail only after labelling.

    Raises:
        ConfigError: if two choices contradict each other.
        ArtifactError: if the potential to start from is not there, or is none.
        DataError: if a file of the data is not there.
    """
    if verb in _TOWARDS_A_POTENTIAL:
        from ase.data import chemical_symbols

        from nnpx.assembly import build_parts
        from nnpx.data.files import check_present
        from nnpx.initial import initial_potential
        from nnpx.trainer.loop import Objective, Trainer

        for name in instantiate(config.data).inputs(workspace) if verb != "learn" else ():  # a loop has a copy of its own
            check_present(workspace / name)
        if initial_potential(config, workspace) is not None and verb == "learn":
            do = "Leave initial out: `nnpx learn` goes on from the potential of the round before."
            raise ConfigError("initial", expected="null, as the first round starts from random weights", found=config.initial, do=do)
        parts = build_parts(plain(config), numbers=[1], seed=0)
        has_bars = config.data.get("keys", {}).get("energy_std") is not None
        known = parts.knows_spread or has_bars  # whether there are forces, only the data will tell
        elements = list(range(1, len(chemical_symbols)))
        trainer: Trainer = instantiate(config.trainer)
        loss = instantiate(config.loss, forces_rms=1.0, numbers=elements, knows_energy_std=known, knows_forces_std=known)
        if parts.n_heads > 1 and not loss.fits_spread:
            expected = "a loss that fits the spread of the heads of a shallow ensemble to the errors of energies and of forces"
            found = f"{type(loss).__name__}, with which that of one of them stays an accident of the initial weights"
            do = "Choose loss=crps or loss=nll, with both of their weights above 0, or another ensemble."
            raise ConfigError("loss", expected=expected, found=found, do=do)
        trainer.check_objective(Objective(loss, instantiate(config.optimizer), instantiate(config.schedule)))


def borrow(config: DictConfig, project: Path, workspace: Path) -> None:
    """Lets a workspace read the files that its experiment names, and the project's data where they fit it."""
    data = workspace / "data"
    if data.is_symlink():
        data.unlink()  # so that nothing ever writes through the link
    if not data.exists() and all(is_current(verb, config, project) for verb in STAMPS):
        workspace.mkdir(parents=True, exist_ok=True)
        data.symlink_to((project / "data").resolve(), target_is_directory=True)
    link_files(config, project, workspace)


def link_files(config: DictConfig, project: Path, workspace: Path) -> None:
    """Lets a workspace read the files of the project that its experiment names."""
    for name in (name for name in files_named(plain(config), project) if not name.is_absolute()):
        link, file = workspace / name, (project / name).resolve()
        if name == Path(config.get("initial") or "") and link.resolve() != file:
            link.unlink(missing_ok=True)  # a training that did not end has put its own potential there
        if not link.exists():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file)


def files_named(value: Any, folder: Path) -> Iterator[Path]:
    """The files that an experiment names, relative to the folder that holds them; those of registered potentials."""
    if isinstance(value, Mapping | list):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from files_named(item, folder)
    elif isinstance(value, str) and value.startswith(SCHEME):
        yield registered_file(value, folder)
    elif isinstance(value, str):
        yield from (name for name in files_of(value, folder) if (folder / name).is_file())
