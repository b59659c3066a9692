"""`nnpx select` writes an option that composes, says what it holds, and makes the same features that the whole set has."""

from pathlib import Path

import pytest
import torch
from ase.io import read, write
from small import ethanols

from nnpx import artifact, cli
from nnpx.assembly import build_parts
from nnpx.config import compose
from nnpx.configuration.schema import plain
from nnpx.neighbors import graph_from_list

DATA = ("data=extxyz", "data.path=mine.extxyz")
FEW = ("descriptor.angular.n_shells=3", "selection.n_selected=20")


@pytest.fixture
def project(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(workspace)
    write(workspace / "mine.extxyz", ethanols(30))
    return workspace


@pytest.fixture
def nnpx(monkeypatch, capsys):
    """Runs a command; returns exit code, output and errors."""

    def run(*words):
        monkeypatch.setattr("sys.argv", ["nnpx", *words])
        code = cli.main()
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def features(node, project):
    """Names and values of a descriptor on the training set."""
    config = {**plain(compose()), "descriptor": node}
    parts = build_parts(config, numbers=[1, 6, 8], seed=0)
    structures = read(project / "data/prepared/train.extxyz", ":")
    graph = graph_from_list(structures, numbers=[1, 6, 8], cutoff=parts.cutoff_radius, where="test")
    return parts.descriptor.names(), parts.descriptor(graph.edges(), parts.embedding(graph.species))


def test_what_is_written_is_an_option_with_the_features_of_the_whole_set(project, nnpx):
    code, out, _ = nnpx("select", "acsf_20", *FEW, *DATA)
    assert code == 0
    assert "select: 20 of 156 symmetry functions kept → conf/descriptor/acsf_20.yaml" in out
    assert "nnpx train descriptor=acsf_20 --config-dir conf" in out
    first = (project / "conf/descriptor/acsf_20.yaml").read_text().splitlines()[0]
    assert first.startswith("# 20 of 156 symmetry functions, chosen by CUR on ")
    assert first.endswith(" environments of H, C, O (doi:10.1063/1.5024611)")
    part = plain(compose(["descriptor=acsf_20"], project / "conf").descriptor)
    names, values = features(part, project)
    all_names, all_values = features({**part, "functions": None}, project)
    assert len(names) == 20
    torch.testing.assert_close(values, all_values[:, [all_names.index(name) for name in names]], rtol=1e-13, atol=1e-13)


def test_the_same_data_give_the_same_file(project, nnpx):
    assert nnpx("select", "one", *FEW, *DATA)[0] == 0
    assert nnpx("select", "two", *FEW, *DATA)[0] == 0
    one, two = (project.joinpath("conf/descriptor", f"{name}.yaml").read_bytes() for name in ("one", "two"))
    assert one == two


def test_a_potential_of_chosen_functions_is_trained_and_loaded_without_the_data(project, nnpx):
    assert nnpx("select", "few", "selection=farthest_point", *FEW, *DATA)[0] == 0
    small = ("ensemble=single", "network.hidden=[4]", "trainer.max_epochs=2", "schedule.warmup_steps=1", "tracking=none")
    assert nnpx("train", "--config-dir", "conf", "descriptor=few", *DATA, *small)[0] == 0
    (project / "conf/descriptor/few.yaml").unlink()
    loaded = artifact.load(project / "models/potential.nnpx")
    assert loaded.members[0].descriptor.n_features == 20
    assert loaded.members[0].feature_mean.shape == (3, 20)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "nnpx select: expected one name for the option, found none"),
        (("acsf",), "descriptor=acsf: expected a name that no option has"),
        (("mine", "descriptor=moments"), "descriptor: expected one that takes a list of functions, found nnpx.descriptor.moments.Moments"),
        (("mine", "species_embedding=learned"), "species_embedding: expected one that is not trained, found Learned"),
        (("mine", "selection=crr"), "selection: expected an option of selection (cur, farthest_point), found crr. Did you mean cur?"),
        (("mine", "selection.n_selected=0"), "n_selected: expected"),
        (("mine", "selection.pruning.min_range=1e9"), "selection.pruning: expected functions that vary, found none of"),
    ],
)
def test_what_cannot_be_chosen_is_refused(project, nnpx, words, message):
    code, _, err = nnpx("select", *words, *DATA)
    assert code == 2
    assert message in err
    assert not (project / "conf").exists()


def test_chosen_functions_do_not_fit_other_radial_functions(project, nnpx):
    assert nnpx("select", "few", *FEW, *DATA)[0] == 0
    code, _, err = nnpx("check", "--config-dir", "conf", "descriptor=few", "radial=bessel")
    assert code == 2
    assert "choose anew with `nnpx select`" in err


def test_no_experiment_has_a_selection(nnpx):
    code, _, err = nnpx("train", "selection=cur")
    assert code == 2
    assert "Say it to the command that reads it: `nnpx select selection=cur`" in err
