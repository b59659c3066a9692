"""The stage from a saved potential to a report, with the reference engine beside it."""

import importlib.util
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.io import read, write
from omegaconf import DictConfig

from nnpx import artifact
from nnpx.assembly import build_parts
from nnpx.calculator import Calculator
from nnpx.config import compose, instantiate, pipelines_dir
from nnpx.configuration.schema import plain
from nnpx.ensemble import Ensemble
from nnpx.errors import ConfigError, DataError, SimulationError
from nnpx.locks import alone
from nnpx.md import Dynamics, Simulation
from nnpx.md.study import FOLDER, Study
from nnpx.potential import Scales

TIMES = ("duration_ps=0.05", "equilibration_ps=0.01", "sample_every_fs=2.5", "watchdog.max_bond_change=null")
WEAK = ["tracking=none", "network.hidden=[8]", "prior.reach_factor=1.0"]
ONE = [*WEAK, "md=langevin", *(f"md.{key}" for key in TIMES)]
SHORT = [*WEAK, "md=nve_and_langevin", *(f"md.{run}.{key}" for run in ("nve", "langevin") for key in TIMES)]


def run(config: DictConfig, workspace: Path) -> None:
    spec = importlib.util.spec_from_file_location("pipeline_simulate", pipelines_dir() / "simulate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(config, workspace)


def build(workspace: Path, overrides: list[str] = SHORT) -> Path:
    """Two members with weak random networks on top of the repulsion, and ethanol, labelled by the engine of the overrides."""
    config = plain(compose(overrides))
    members = []
    for seed in (0, 1):
        parts = build_parts(config, numbers=[1, 6, 8], seed=seed)
        shape = (3, parts.descriptor.n_features)
        scales = Scales(torch.zeros(shape), torch.ones(shape), 1e-2, 0.0, torch.zeros(3, dtype=torch.float64))
        members.append(parts.potential(scales))
    card = {"level_of_theory": instantiate(config["reference"]).level_of_theory}
    artifact.save(workspace / "models" / "potential.nnpx", Ensemble(members), config=config, card=card, provenance={}, training={})
    (workspace / "data" / "prepared").mkdir(parents=True, exist_ok=True)
    write(workspace / "data" / "prepared" / "test.extxyz", [molecule("CH3CH2OH"), molecule("H2O")])
    return workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return build(tmp_path)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take longer than the simulations of these tests, which do not look at them."""
    monkeypatch.setattr(Study, "pictures", lambda study: {})


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace after one simulation, which no test changes."""
    workspace = build(tmp_path_factory.mktemp("finished"))
    run(compose(SHORT), workspace)
    return workspace


def test_a_simulation_leaves_numbers(finished: Path) -> None:
    found = json.loads((finished / "reports/simulation/metrics.json").read_text())
    assert list(found) == ["nve", "langevin", "potential_md5"]
    assert np.isfinite(found["nve"]["drift_meV_per_atom_per_ps"])
    assert "drift_meV_per_atom_per_ps" not in found["langevin"]
    assert found["nve"]["spread_meV_per_atom"] > 0
    assert found["langevin"]["steps"] == 60
    assert found["langevin"]["canonical_samples"] > 0
    assert "canonical_p_value" not in found["nve"]
    assert set(found["langevin"]["distributions"]) == {"C-C", "C-H", "C-O", "H-O", "C-C-H", "C-C-O", "C-O-H", "H-C-H", "H-C-O"}
    assert found["langevin"]["distributions"]["C-C"]["reference_mean"] == pytest.approx(1.52, abs=0.08)


def test_a_simulation_leaves_its_trajectory(finished: Path) -> None:
    frames = read(finished / "reports/simulation/trajectory.extxyz", ":")
    assert [frame.info["run"] for frame in frames].count("nve") == 21
    assert frames[0].info["energy_std"] > 0
    assert frames[0].get_forces().shape == (9, 3)


def test_a_simulation_leaves_pictures_and_a_page(finished: Path) -> None:
    folder = finished / "reports" / "simulation"
    drawn = {path.stem for path in folder.glob("figures/*.svg")}
    of_each = {"temperature", "distributions", "distances", "angles"}
    assert drawn == {"nve_energy", "langevin_canonical", *(f"{run}_{kind}" for run in ("nve", "langevin") for kind in of_each)}
    page = (folder / "report.html").read_text()
    assert page.count("<figure>") == 10
    assert "meV/atom/ps" in page


@pytest.mark.usefixtures("undrawn")
def test_the_reference_engine_is_asked_once_and_the_same_seed_repeats(finished: Path, workspace: Path) -> None:
    (known,) = (finished / FOLDER).glob("*.npz")
    (workspace / FOLDER).mkdir(parents=True)
    kept = Path(shutil.copy(known, workspace / FOLDER))
    before = kept.stat().st_mtime_ns
    run(compose([*SHORT, "executor.n_processes=1"]), workspace)
    assert kept.stat().st_mtime_ns == before
    first, second = (json.loads((w / "reports/simulation/metrics.json").read_text()) for w in (finished, workspace))
    assert first["langevin"]["distributions"] == second["langevin"]["distributions"]


@pytest.mark.usefixtures("undrawn")
def test_a_simulation_that_has_ended_is_shown_again_without_a_step(
    finished: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished / ".nnpx", workspace / ".nnpx")
    shutil.copy(finished / "models/potential.nnpx", workspace / "models/potential.nnpx")
    monkeypatch.setattr(Calculator, "calculate", lambda *asked: pytest.fail("the potential was asked"))
    run(compose(SHORT), workspace)
    for name in ("trajectory.extxyz", "metrics.json"):
        assert (workspace / "reports/simulation" / name).read_bytes() == (finished / "reports/simulation" / name).read_bytes()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_simulation_computes_where_the_trainer_does(workspace: Path) -> None:
    with pytest.raises(ConfigError, match=r"trainer: expected 1 of accelerator=cuda on this machine, .* Choose trainer=cpu"):
        run(compose([*ONE, "trainer.accelerator=cuda"]), workspace)


def test_a_second_simulation_in_one_folder_is_refused(workspace: Path) -> None:
    """It touches nothing of the first."""
    (workspace / "reports/simulation").mkdir(parents=True)
    (workspace / "reports/simulation/metrics.json").write_text("{}")
    with (
        alone(workspace / FOLDER, on="", do=""),
        pytest.raises(ConfigError, match="no other command on simulations of this folder, found one"),
    ):
        run(compose(SHORT), workspace)
    assert (workspace / "reports/simulation/metrics.json").read_text() == "{}"


@pytest.mark.usefixtures("undrawn")
def test_an_engine_of_another_level_than_the_labels_is_a_note(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(compose([*ONE, "reference=emt"]), workspace)
    assert "was not compared with the reference engine: the data were labelled by GFN2-xTB" in " ".join(capsys.readouterr().out.split())
    assert "distributions" not in json.loads((workspace / "reports/simulation/metrics.json").read_text())["langevin"]


@pytest.mark.usefixtures("undrawn")
def test_it_ends_with_the_page(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(compose([*ONE, "md.compare=false"]), workspace)
    assert re.search(r"simulate: \w+ → reports/simulation/report\.html$", capsys.readouterr().out.strip())
    assert (workspace / "reports/simulation/report.html").is_file()


@pytest.mark.usefixtures("undrawn")
def test_an_engine_that_is_missing_is_a_note(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = [*ONE, "reference=ase", "reference.calculator=not_installed.Engine"]
    run(compose(missing), build(workspace, missing))
    found = json.loads((workspace / "reports/simulation/metrics.json").read_text())
    assert "distributions" not in found["langevin"]
    assert "not_installed" in capsys.readouterr().out


def test_an_explosion_is_an_error_and_keeps_the_trajectory(workspace: Path) -> None:
    with pytest.raises(SimulationError, match=r"step \d+ .* of langevin: expected forces below 0.001 eV/Å"):
        run(compose([*ONE, "md.watchdog.max_force=1e-3"]), workspace)
    assert len(read(workspace / "reports/simulation/trajectory.extxyz", ":")) == 1


def test_a_molecule_without_a_cell_has_no_pressure(workspace: Path) -> None:
    with pytest.raises(ConfigError, match=r"md.structure \(npt\): expected a structure that is periodic .* found C2OH6 without a cell"):
        run(compose([*WEAK, "md=npt"]), workspace)
    assert not (workspace / "reports/simulation/trajectory.extxyz").exists()


def test_replicas_that_explode_are_counted_and_the_others_go_on(workspace: Path) -> None:
    replicas = [
        "md=replicas",
        "md.temperatures_K=[500,800]",
        "md.n_replicas=3",
        "md.duration_ps=0.1",
        "md.watchdog.max_bond_change=0.15",
        "md.watchdog.max_isolation=null",
        "md.averaged_after_ps=0.05",
    ]
    run(compose([*WEAK, *replicas]), workspace)
    found = json.loads((workspace / "reports/simulation/metrics.json").read_text())["replicas"]
    assert found["replicas"] == 6
    assert 0 < found["stopped"] == sum(one["stopped"] for one in found["by_temperature"].values())
    for one in found["by_temperature"].values():
        assert one["stopped"] == len(one["alarms"])
        if one["stopped"]:
            followed = 0.1 * (3 - one["stopped"]) + sum(alarm["time_ps"] for alarm in one["alarms"].values())
            assert one["stability_time_ps"] == pytest.approx(followed / one["stopped"])
    frames = read(workspace / "reports/simulation/trajectory.extxyz", ":")
    assert sum(bool(frame.info["stopped"]) for frame in frames) == found["stopped"]
    assert "bond stretched" in (workspace / "reports/simulation/report.html").read_text()


@pytest.mark.usefixtures("undrawn")
def test_the_start_structure_can_be_given(workspace: Path) -> None:
    write(workspace / "mine.xyz", molecule("H2O"))
    run(compose([*ONE, "md.structure=mine.xyz", "md.compare=false"]), workspace)
    assert len(read(workspace / "reports/simulation/trajectory.extxyz", 0)) == 3
    with pytest.raises(DataError, match=r"nowhere.xyz: expected a structure to start from"):
        run(compose([*ONE, "md.structure=nowhere.xyz"]), workspace)


@pytest.mark.usefixtures("undrawn")
def test_without_a_test_set_the_start_is_in_the_validation_set(workspace: Path) -> None:
    prepared = workspace / "data" / "prepared"
    (prepared / "test.extxyz").write_text("")
    write(prepared / "valid.extxyz", molecule("H2O"))
    run(compose([*ONE, "md.compare=false"]), workspace)
    assert len(read(workspace / "reports/simulation/trajectory.extxyz", 0)) == 3


@pytest.mark.parametrize("option", ["nve", "langevin", "nve_and_langevin", "nose_hoover", "npt", "replicas"])
def test_every_option_is_a_simulation(option: str) -> None:
    simulation = instantiate(compose([f"md={option}"]).md)
    assert isinstance(simulation, Simulation)
    assert all(isinstance(dynamics, Dynamics) for dynamics in simulation.runs().values())
