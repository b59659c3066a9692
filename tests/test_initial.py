"""A training that starts from a potential goes on from its weights and scales, and refuses one that does not fit."""

import json
from pathlib import Path

import pytest
import torch
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from omegaconf import OmegaConf
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from small import NUMBERS, ethanols
from tracking.stores import tracker

from nnpx import artifact, cli
from nnpx.config import compose, validate
from nnpx.configuration.schema import plain
from nnpx.errors import ArtifactError, ConfigError, SpeciesError
from nnpx.files import md5, whole
from nnpx.fitting import training_task
from nnpx.initial import initial_potential
from nnpx.upstream import check_choices, check_watched, files_named, link_files

SMALL = ["data=extxyz", "data.path=mine.extxyz", "network.hidden=[4]", "radial.n_functions=4", "descriptor.angular.n_shells=2"]
SMALL += ["ensemble.n_members=2", "ensemble.n_processes=1", "trainer.max_epochs=2", "tracking=none"]
FROM = [*SMALL, "initial=first.nnpx"]
#: so small a rate that weights stay where they begin
STILL = ["optimizer=adamw", "optimizer.learning_rate=1e-12", "optimizer.weight_decay=0"]


def nnpx(folder: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.argv", ["nnpx", *words])
    return cli.main()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which two members were trained on ethanol, and then nothing but its potential was kept."""
    folder = tmp_path_factory.mktemp("project")
    write(folder / "mine.extxyz", ethanols(20))
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert nnpx(folder, monkeypatch, "train", *SMALL) == 0
    return (folder / "models" / "potential.nnpx").rename(folder / "first.nnpx")


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """A folder of its own with that potential, and other structures of ethanol."""
    (tmp_path / "first.nnpx").write_bytes(trained.read_bytes())
    write(tmp_path / "mine.extxyz", ethanols(20, seed=1, displacement=0.1))
    return tmp_path


def largest_change(first: Path, second: Path) -> float:
    """Of a weight or scale of any member, in its own unit."""
    members = zip(artifact.load(first).members, artifact.load(second).members, strict=True)
    pairs = [(one, other.state_dict()[name]) for a, other in members for name, one in a.state_dict().items()]
    changes = [(one.double() - other.double()).abs().max() for one, other in pairs]
    return float(torch.stack(changes).max())


def write_again(path: Path, lacking: str) -> None:
    """The same potential with a configuration that lacks a node, as an older version wrote it."""
    with safe_open(path, framework="pt") as file:
        header, weights = json.loads(file.metadata()[artifact.KEY]), load_file(path)
    del header["config"][lacking]
    save_file(weights, path, {artifact.KEY: json.dumps(header)})


def test_a_training_that_does_not_move_ends_where_it_started_from_though_its_data_are_others(folder, monkeypatch):
    assert nnpx(folder, monkeypatch, "train", *FROM, *STILL) == 0
    assert largest_change(folder / "first.nnpx", folder / "models" / "potential.nnpx") < 1e-7
    assert nnpx(folder, monkeypatch, "train", *SMALL, *STILL) == 0  # and one from random weights measures other scales
    assert largest_change(folder / "first.nnpx", folder / "models" / "potential.nnpx") > 0.01


def test_a_training_that_only_makes_it_worse_keeps_what_it_started_from(folder, monkeypatch, capsys):
    assert nnpx(folder, monkeypatch, "train", *FROM, "optimizer.learning_rate=30", "schedule.warmup_steps=0") == 0
    assert largest_change(folder / "first.nnpx", folder / "models" / "potential.nnpx") == 0
    members = json.loads((folder / "models" / "training.json").read_text())["members"]
    assert [(member["best_epoch"], member["epochs"]) for member in members] == [(0, 2), (0, 2)]
    said = "member 0 keeps the weights that it started from: no epoch was better on the validation set"
    assert said in " ".join(capsys.readouterr().out.split())


def test_a_training_may_take_the_place_of_what_it_started_from_and_goes_on_from_that(folder, monkeypatch):
    """The same command twice is two trainings, of which the second begins where the first ended."""
    path = folder / "models" / "potential.nnpx"
    path.parent.mkdir()
    (folder / "first.nnpx").rename(path)
    losses, hashes = [], []
    for _ in range(2):
        assert nnpx(folder, monkeypatch, "train", *SMALL, "initial=models/potential.nnpx", "schedule.warmup_steps=0") == 0
        losses += [row["train_loss"] for row in json.loads(path.with_name("training.json").read_text())["members"][0]["curve"][1:]]
        hashes.append(artifact.read_header(path)["provenance"]["initial_md5"])
    assert losses == sorted(losses, reverse=True)
    assert len(set(hashes)) == 2


def register(folder: Path, potential: Path) -> None:
    """The next version of `ethanol`, and its candidate."""
    with tracker(folder, timeout_s=10).start("train", parent=None, tags={}) as run:
        run.log_model(potential, name="ethanol", alias="candidate")


def test_a_training_starts_from_a_registered_potential_of_which_its_run_keeps_a_copy(folder, workspace, monkeypatch):
    register(folder, folder / "first.nnpx")
    words = [word for word in SMALL if word != "tracking=none"]
    assert nnpx(folder, monkeypatch, "train", *words, *STILL, "initial=models:/ethanol@candidate", "tracking.flush_every_s=0") == 0
    path, kept = folder / "models" / "potential.nnpx", [*folder.glob("mlartifacts/**/initial/*")]
    assert largest_change(folder / "first.nnpx", path) < 1e-7
    assert [md5(file) for file in kept] == [md5(folder / "first.nnpx")] == [artifact.read_header(path)["provenance"]["initial_md5"]]


def test_an_alias_that_has_moved_names_another_start_and_a_version_the_same(folder, workspace, monkeypatch):
    monkeypatch.chdir(folder)
    other = folder / "other.nnpx"
    other.write_bytes((folder / "first.nnpx").read_bytes())
    write_again(other, "noise")
    register(folder, folder / "first.nnpx")
    register(folder, other)
    for name, expected in (("models:/ethanol@candidate", other), ("models:/ethanol/1", folder / "first.nnpx")):
        config = compose([*SMALL, f"initial={name}"])
        assert md5(initial_potential(config, folder / "job")) == md5(expected)
        assert [md5(file) for file in files_named({"initial": name}, folder)] == [md5(expected)]  # so that jobs of a sweep are done again
        link_files(config, folder, folder / "job")
        assert [path.name for path in (folder / "job").iterdir()] == ["mine.extxyz"]


def test_an_address_of_no_registered_potential_is_told_before_anything_is_labelled(folder, workspace, monkeypatch):
    monkeypatch.chdir(folder)
    register(folder, folder / "first.nnpx")
    wrong = {
        "models:/ethnol/1": r"expected a registered potential \(ethanol\), found ethnol\. Did you mean ethanol\?",
        "models:/ethanol": r"expected a name with @alias or /version, found ethanol\. Add one, such as models:/ethanol@champion",
        "models:/ethanol/7": r"models:/ethanol/7: expected a registered potential, found .*version=7",
    }
    for name, told in wrong.items():
        with pytest.raises(ArtifactError, match=told):
            check_choices("label", compose([*SMALL, f"initial={name}"]), folder)


def test_dvc_may_start_from_a_registered_version_but_not_from_an_alias_which_moves_unseen(folder):
    (folder / "dvc.yaml").write_text("stages: {train: {cmd: x, deps: [data/prepared]}}\n")
    check_watched("train", compose([*SMALL, "initial=models:/ethanol/1"]), folder)
    with pytest.raises(ConfigError, match=r"initial: expected a version, such as models:/NAME/1: .* found models:/ethanol@candidate"):
        check_watched("train", compose([*SMALL, "initial=models:/ethanol@candidate"]), folder)


def test_all_that_differs_in_the_weights_is_named(folder):
    config = compose([*FROM, "network=mlp", "cutoff.radius=4.5", "ensemble.n_members=3", "loss=energy_forces", "ensemble.n_processes=2"])
    with pytest.raises(ConfigError) as caught:
        check_choices("train", config, folder)
    assert str(caught.value).startswith("initial: expected the choices that first.nnpx was trained with, cutoff.radius=5.0, network=")
    assert 'network="nnpx.network.per_species.PerSpecies", members=2, found cutoff.radius=4.5, network=' in str(caught.value)
    assert "members=3. Choose the same" in str(caught.value)
    assert "loss" not in str(caught.value)
    assert initial_potential(compose([*FROM, "loss=energy_forces", "optimizer=adamw"]), folder) == folder / "first.nnpx"


def test_a_file_that_is_not_there_is_told_before_anything_is_labelled(folder):
    with pytest.raises(ArtifactError, match=r"none\.nnpx: expected a saved potential, found no such file"):
        check_choices("label", compose([*SMALL, "initial=none.nnpx"]), folder)


def test_a_folder_is_told_for_what_it_is(folder):
    (folder / "models").mkdir()
    with pytest.raises(ArtifactError, match="models: expected a saved potential, found a folder"):
        check_choices("train", compose([*SMALL, "initial=models"]), folder)


def test_no_name_is_no_choice_and_refused_before_a_file_is_looked_for():
    with pytest.raises(ConfigError, match=r'initial: expected text \(1 or more\) or null, found ""\.'):
        validate(compose([*SMALL, "initial=''"]))


def test_a_potential_of_before_there_was_noise_has_none_and_is_gone_on_from(folder):
    path = folder / "first.nnpx"
    write_again(path, "noise")
    assert initial_potential(compose(FROM), folder) == path
    with pytest.raises(ConfigError, match=r'noise="nnpx\.noise\.none\.NoNoise".*found noise="nnpx\.noise\.heteroscedastic'):
        initial_potential(compose([*FROM, "noise=heteroscedastic"]), folder)


def test_elements_that_it_does_not_know_are_refused_before_training(folder):
    card = {"numbers": [1, 7, 8], "md5": {}, "isolated_atoms": {}}
    with pytest.raises(SpeciesError, match=r"first\.nnpx: expected data of the elements that it knows, H, C, O, found N\."):
        training_task(plain(compose(FROM)), card, folder, folder / "first.nnpx")


@pytest.mark.slow
def test_data_with_some_of_its_elements_leave_it_those_that_they_lack(folder, monkeypatch):
    waters = []
    for atoms in ethanols(20, displacement=0.1):
        water = atoms[[2, 3, 4]]
        water.set_chemical_symbols("OHH")
        water.calc = SinglePointCalculator(water, energy=-100.0, forces=atoms.get_forces()[[2, 3, 4]])
        waters.append(water)
    write(folder / "mine.extxyz", waters)
    assert nnpx(folder, monkeypatch, "train", *FROM) == 0
    assert nnpx(folder, monkeypatch, "evaluate", *SMALL) == 0
    assert artifact.load(folder / "models" / "potential.nnpx").numbers == NUMBERS
    assert largest_change(folder / "first.nnpx", folder / "models" / "potential.nnpx") > 0


def test_a_loop_starts_from_random_weights_and_says_so(folder):
    with pytest.raises(ConfigError, match=r"initial: expected null, as the first round starts from random weights, found first\.nnpx"):
        check_choices("learn", compose(FROM), folder)


def test_an_experiment_of_before_starts_from_random_weights(folder):
    older = {key: value for key, value in plain(compose(SMALL)).items() if key != "initial"}
    validate(OmegaConf.create(older))
    assert initial_potential(OmegaConf.create(older), folder) is None


def test_a_job_that_is_done_again_starts_from_the_potential_of_the_project_and_not_from_its_own(folder):
    config, job = compose([*SMALL, "initial=models/potential.nnpx"]), folder / "multirun" / "0"
    project, own = (place / "models" / "potential.nnpx" for place in (folder, job))
    project.parent.mkdir()
    (folder / "first.nnpx").rename(project)
    kept = project.read_bytes()
    for _ in range(2):
        link_files(config, folder, job)
        assert own.read_bytes() == kept == project.read_bytes()
        with whole(own) as file:  # as a training puts it there
            file.write(b"another")
    link_files(config, folder, folder)
    assert project.read_bytes() == kept


def test_jobs_that_start_elsewhere_share_their_data_and_start_there_again_when_they_are_done_again(folder, monkeypatch):
    """One that died after its potential was saved, and before that was known, has its own in the place of the project's."""
    project = folder / "models" / "potential.nnpx"
    project.parent.mkdir()
    project.write_bytes((folder / "first.nnpx").read_bytes())
    write_again(project, "noise")
    for _ in range(2):
        assert nnpx(folder, monkeypatch, "train", "-m", *SMALL, "initial=first.nnpx,models/potential.nnpx") == 0
        jobs = [next((folder / "multirun").glob(f"*/{number}")) for number in (0, 1)]
        starts = [artifact.read_header(job / "models" / "potential.nnpx")["provenance"]["initial_md5"] for job in jobs]
        assert starts == [md5(folder / "first.nnpx"), md5(project)]
        (jobs[1] / "result.json").unlink()
    assert len(list((folder / ".nnpx" / "shared").iterdir())) == 1


def test_dvc_is_not_asked_to_start_from_a_file_that_it_does_not_watch(folder):
    check_watched("train", compose(FROM), folder)  # without DVC
    (folder / "dvc.yaml").write_text("stages: {train: {cmd: x, deps: [data/prepared]}}\n")
    check_watched("train", compose(SMALL), folder)
    with pytest.raises(ConfigError, match=r"first\.nnpx: expected a file that DVC watches, found another\. Add it to the deps"):
        check_watched("train", compose(FROM), folder)
    (folder / "dvc.yaml").write_text("stages: {train: {cmd: x, deps: [data/prepared, first.nnpx]}}\n")
    check_watched("train", compose(FROM), folder)
