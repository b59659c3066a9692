"""The loop: rounds made of phases, each of which is done once."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, final

import numpy as np
from ase import Atoms
from omegaconf import DictConfig

from nnpx import artifact
from nnpx.acquisition import Acquisition
from nnpx.config import fingerprint, instantiate
from nnpx.configuration.schema import plain
from nnpx.data.duplicates import find_duplicates
from nnpx.data.finished_jobs import FinishedJobs
from nnpx.data.frames import write
from nnpx.data.reader import read
from nnpx.data.source import Source
from nnpx.ensemble import Ensemble
from nnpx.errors import ConfigError
from nnpx.executor import Executor
from nnpx.files import read_json, write_json
from nnpx.learning import dataset
from nnpx.learning.closed_loop import ClosedLoop
from nnpx.learning.features import pool
from nnpx.learning.journal import Journal
from nnpx.learning.labels import Labeller
from nnpx.learning.places import RoundFolder, place
from nnpx.learning.reporting import calls_of_start, first_row, row_of_round
from nnpx.learning.training import keep, train
from nnpx.learning.uncertainty import compared, distances, of_labelled
from nnpx.learning.view import View
from nnpx.learning.ways import read_frames
from nnpx.reference import Reference
from nnpx.uncertainty.none import Uncalibrated
from nnpx.upstream import of_labels

#: what of an experiment may change while its loop runs
IDLE: Final = ("conf_hash", "name", "initial", "md", "tracking", "executor")
#: the folder of the loop in the project
FOLDER: Final = "learn"
#: the note of what the data of the start cost
_START: Final = "n_start"

Row = dict[str, Any]


@final
class Loop:
    """One experiment's loop in one project folder.

    Args:
        config: the experiment.
        workspace: the project folder.
        view: is told what happens.

    Raises:
        ConfigError: an ensemble whose members cannot disagree, a device that this machine lacks, a rule about a calibrated spread that
            nothing calibrates, or a folder that holds the loop of another experiment.
    """

    def __init__(self, config: DictConfig, workspace: Path, view: View) -> None:
        recruitment = instantiate(config.ensemble)
        if len(recruitment.seeds(config.seed)) * recruitment.n_heads < 2:
            raise ConfigError("ensemble", expected="members that can disagree", found="a single potential", do="Choose ensemble=deep.")
        self.config, self.workspace, self.view = config, workspace, view
        self.device = instantiate(config.trainer).device()
        self.settings: ClosedLoop = instantiate(config.learning)
        if "spread_q99" in self.settings.stopping.wanted and isinstance(instantiate(config.uncertainty), Uncalibrated):
            expected, do = "a way to calibrate the spread that it bounds", "Choose uncertainty=scale, or make it null."
            raise ConfigError("learning.stopping.spread_q99", expected=expected, found="uncertainty=none", do=do)
        self.acquisition: Acquisition = instantiate(config.acquisition)
        self.reference: Reference = instantiate(config.reference)
        self.executor: Executor = instantiate(config.executor)
        self.source: Source = instantiate(config.data)
        self.folder = workspace / FOLDER
        self.journal = Journal(self.folder)
        self.journal.belongs_to(decisive(config), _settings(config), is_worth_keeping=self.place(0).calls.is_file())

    @property
    def has_data(self) -> bool:
        """Whether it has its own copy of the data of the start."""
        return self.journal.has(0, "data")

    @property
    def _n_start(self) -> int:
        """Calculations that the data of the start took, noted when they were copied: data/ may hold others by now."""
        noted = self.journal.note(_START)
        return calls_of_start(self.place(0), self.workspace) if noted is None else int(noted)

    def claim(self) -> None:
        """Copies the data of the start from data/prepared/; from now on the folder is that of this experiment."""
        here = self.place(0)
        self.journal.claim(decisive(self.config), _settings(self.config))
        self._phase(0, "data", dataset.files_of(here.data), partial(dataset.copy, self.workspace / "data" / "prepared", here.data))
        if self.journal.note(_START) is None:
            self.journal.take_note(_START, str(calls_of_start(here, self.workspace)))

    def run(self, tell: Callable[[list[Row]], None]) -> tuple[list[Row], str]:
        """All rounds that are still to be done, from the data that it has claimed.

        Args:
            tell: called with the reports of all rounds so far, after each of them.

        Returns:
            The reports of all rounds, and why the loop ended.
        """
        start = self._begin()
        rows: list[Row] = []
        self.view.show(rows)
        while not (verdict := self.settings.stopping.verdict(rows)):
            rows.append(self._round(len(rows) + 1, rows[-1]["n_calls"] if rows else start["n_calls"]))
            self.view.show(rows)
            tell(rows)
        if rows and not (self.workspace / dataset.LEARNED).is_file():
            self._keep_version(len(rows))
        return rows, verdict

    def place(self, number: int) -> RoundFolder:
        """Where a round keeps its files."""
        return place(self.folder, number)

    def _begin(self) -> Row:
        here = self.place(0)
        if not self.journal.has(0, "labels"):
            examination = self._labeller(here).n_calls_of_examination(dataset.parts_of(here.data)["train"])
            self._afford(self._n_start + examination)
        self._phase(0, "walkers begin", self._states(here), partial(self._begin_walking, here))
        self._phase(0, "labels", [here.labels], partial(self._examine, here))
        self._phase(0, "potential", [here.potential, here.training], partial(self._train, 0))
        self._phase(0, "report", [here.report], lambda: write_json(here.report, first_row(here, self._n_start)))
        start = read_json(here.report)
        self._afford(start["n_calls"])
        return start

    def _round(self, number: int, calls_before: int) -> Row:
        here, before = self.place(number), self.place(number - 1)
        met = [*self._states(here), here.walk, here.candidates, here.drawn]
        self._phase(number, "walkers", met, partial(self._walk, before, here, number))
        self._phase(number, "selected", [here.selected], partial(self._select, before, here, number))
        self._phase(number, "labels", [here.labelled, here.labels], partial(self._label, before, here))
        self._phase(number, "data", dataset.files_of(here.data), partial(self._grow, before, here))
        self._phase(number, "version", [], partial(self._keep_version, number))
        self._phase(number, "potential", [here.potential, here.training], partial(self._train, number))
        self._phase(number, "report", [here.report], lambda: write_json(here.report, row_of_round(number, here, before, calls_before)))
        return read_json(here.report)

    def _states(self, here: RoundFolder) -> list[Path]:
        return [here.walker(k) for k in range(len(self.settings.walkers.names))]

    def _phase(self, number: int, name: str, files: list[Path], work: Callable[[], None]) -> None:
        self.view.phase(number, name)
        self.journal.phase(number, name, files, work)

    def _afford(self, n_calls: int) -> None:
        """Refuses a start that takes all calculations before a round begins."""
        allowed = self.settings.stopping.max_calls
        if allowed is not None and n_calls >= allowed:
            expected = f"more than the {n_calls} calculations of the start and its examination"
            raise ConfigError("learning.stopping.max_calls", expected=expected, found=f"{allowed}", do="Allow more, or begin with less.")

    def _begin_walking(self, here: RoundFolder) -> None:
        train = dataset.parts_of(here.data)["train"]
        self.settings.walkers.begin(train, self.workspace, here=here, seed=(self.config.seed, 1))

    def _examine(self, here: RoundFolder) -> None:
        found = self._labeller(here).examine(dataset.parts_of(here.data)["train"])
        write_json(here.labels, {"n_calls": found.n_calls, "level_of_theory": self.reference.level_of_theory})

    def _walk(self, before: RoundFolder, here: RoundFolder, number: int) -> None:
        potential, valid, band = _loaded(before, self.device), dataset.parts_of(before.data)["valid"], self.acquisition.band
        limits = band.limits(*of_labelled(compared(potential, valid)), distances(potential, valid))
        self.settings.walkers.walk(
            potential,
            limits,
            begun=self.place(0),
            before=before,
            here=here,
            seed=(self.config.seed, number),
            n_drawn=self.settings.n_drawn,
            watch=partial(self.view.walk, certain=1 / band.upper_factor),
        )

    def _select(self, before: RoundFolder, here: RoundFolder, number: int) -> None:
        """The batch from the candidates, the drawn frames, and structures with elements that the potential does not know.

        What a round before has tried is not taken again, whether or not it got a label.
        """
        candidates, drawn, known = read_frames(here.candidates), read_frames(here.drawn), dataset.parts_of(before.data)
        tried = [atoms for earlier in range(1, number) for atoms in read_frames(self.place(earlier).selected)]
        seen = [*known["train"], *known["valid"], *known["test"], *tried]
        fresh = _without_duplicates(candidates, [*seen, *drawn], self.source.near_duplicate)
        chosen: list[Atoms] = []
        if fresh:
            random = np.random.default_rng((self.config.seed, number, 1))
            points = pool(_loaded(before), fresh, known["train"])
            chosen = [_marked(fresh[index], "chosen") for index in self.acquisition.choose(points, random)]
        novel = [atoms for atoms in drawn if atoms.info["why"] == "new"]
        rest = [_marked(atoms, "drawn") for atoms in drawn if atoms.info["why"] != "new"]
        write(here.selected, [*chosen, *rest, *_without_duplicates(novel, seen, self.source.near_duplicate)])

    def _label(self, before: RoundFolder, here: RoundFolder) -> None:
        structures, card = read_frames(here.selected), read_json(before.data / "card.json")
        elements = {str(symbol) for atoms in structures for symbol in atoms.symbols} - set(card["elements"])
        asked = sorted(elements) if card["isolated_atoms"] else []
        found = self._labeller(here).label(structures, asked)
        write(here.labelled, found.structures)
        failures = [{"name": failure.name, "reason": failure.reason} for failure in found.failures]
        write_json(here.labels, {"n_calls": found.n_calls, "failures": failures, "isolated_atoms": found.isolated})

    def _labeller(self, here: RoundFolder) -> Labeller:
        return Labeller(
            reference=self.reference,
            executor=self.executor,
            check=self.settings.label_check,
            timeout_s=self.settings.timeout_s,
            journal=FinishedJobs(path=here.calls),
            report=self.view.calls,
        )

    def _grow(self, before: RoundFolder, here: RoundFolder) -> None:
        labelled = read(here.labelled) if here.labelled.stat().st_size else []
        valid = [atoms for atoms in labelled if atoms.info["why"] == "drawn"]
        train = [atoms for atoms in labelled if atoms.info["why"] != "drawn"]
        dataset.grow(
            before.data,
            here.data,
            train=train,
            valid=valid,
            isolated=read_json(here.labels)["isolated_atoms"],
            n_start=read_json(self.place(0).data / "card.json")["counts"]["valid"],
            n_valid=self.settings.n_valid,
            near_duplicate=self.source.near_duplicate,
        )

    def _keep_version(self, number: int) -> None:
        dataset.write_version(self.place(number).data, self.workspace, f"Learn: data of round {number}")

    def _train(self, number: int) -> None:
        here, before = self.place(number), self.place(number - 1)
        if number and read_json(here.data / "card.json")["md5"]["train"] == read_json(before.data / "card.json")["md5"]["train"]:
            keep(before, here, self.config)
            return
        epochs = self.settings.retrain_epochs
        warm = before.potential if number and epochs is not None else None
        train(self.config, here.folder, self.workspace, warm=warm, epochs=epochs, report=self.view.epoch, tell=self.view.tell)


def decisive(config: DictConfig) -> str:
    """A fingerprint of everything that the rounds follow from: neither their number nor where the reference runs is part of it.

    How many members train at once is: it decides how many threads each has, and so the order of its sums.
    """
    nodes = _nodes(config)
    return fingerprint(*(nodes[key] for key in sorted(nodes)))


def _settings(config: DictConfig) -> dict[str, Any]:
    """The same in full."""
    return {key: plain(node) for key, node in _nodes(config).items()}


def _nodes(config: DictConfig) -> dict[str, Any]:
    nodes = {str(key): config[key] for key in config if key not in IDLE}
    learning = plain(config.learning)
    walkers = {key: value for key, value in learning["walkers"].items() if key != "keep_every_fs"}
    nodes["reference"] = of_labels(config)
    nodes["learning"] = {key: value for key, value in learning.items() if key not in ("stopping", "timeout_s")} | {"walkers": walkers}
    return nodes


def _loaded(here: RoundFolder, device: str = "cpu") -> Ensemble:
    """The potential of a round, for inference."""
    return artifact.load(here.potential, device=device).requires_grad_(requires_grad=False)


def _without_duplicates(structures: list[Atoms], seen: list[Atoms], tolerance: float) -> list[Atoms]:
    """Those that are no near duplicate of one that was seen, or of an earlier one."""
    groups = find_duplicates([*seen, *structures], tolerance=tolerance).near
    repeated = {index for group in groups for index in sorted(group)[1:]}
    return [atoms for k, atoms in enumerate(structures, start=len(seen)) if k not in repeated]


def _marked(atoms: Atoms, why: str) -> Atoms:
    atoms.info["why"] = why
    return atoms
