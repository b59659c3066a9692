"""The artifact: the same potential comes back, and nothing that is not one does."""

import json
from pathlib import Path

import pytest
import torch
from ase.build import molecule
from safetensors import safe_open
from safetensors.torch import save_file
from small import CONFIG, NUMBERS, ethanols, graph_of, potential_for

import nnpx
from nnpx import artifact
from nnpx.ensemble import Ensemble
from nnpx.errors import ArtifactError, SpeciesError


@pytest.fixture
def ensemble() -> Ensemble:
    graph = graph_of(ethanols(3))
    return Ensemble([potential_for(graph, seed).to_precision(torch.float32).eval() for seed in range(2)])


@pytest.fixture
def path(tmp_path: Path, ensemble: Ensemble) -> Path:
    file = tmp_path / "potential.nnpx"
    artifact.save(file, ensemble, config=CONFIG, card={"elements": ["H", "C", "O"]}, provenance={"git_commit": "none"}, training={})
    return file


def rewrite(path: Path, change) -> None:
    """Write the file again with another header."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no mapping
        header = json.loads(file.metadata()[artifact.KEY])
    change(header)
    save_file(tensors, path, metadata={artifact.KEY: json.dumps(header)})


def test_loaded_potential_predicts_what_the_saved_one_does(path, ensemble):
    graph = graph_of(ethanols(2, seed=5)).cast(torch.float32)
    before, after = ensemble(graph), nnpx.load(path, dtype=torch.float32)(graph)
    for name in ("energy", "forces", "energy_std", "forces_std"):
        assert torch.equal(getattr(before, name), getattr(after, name)), name


def test_it_evaluates_in_double_precision_unless_told_otherwise(path):
    loaded = nnpx.load(path)
    assert loaded.dtype == torch.float64
    assert loaded(graph_of(ethanols(1))).forces.dtype == torch.float64


def test_header_names_elements_units_and_origin(path):
    header = artifact.read_header(path)
    assert header["numbers"] == NUMBERS
    assert header["units"]["forces"] == "eV/Å"
    assert header["provenance"] == {"git_commit": "none"}
    assert header["n_members"] == 2


def test_same_ensemble_gives_the_same_bytes(path, ensemble, tmp_path):
    again = tmp_path / "again.nnpx"
    artifact.save(again, ensemble, config=CONFIG, card={"elements": ["H", "C", "O"]}, provenance={"git_commit": "none"}, training={})
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.99])
def test_truncated_file_is_refused(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ArtifactError, match=r"expected a complete nnpx potential, found a truncated or foreign file .* Copy it again"):
        nnpx.load(path)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match=r"found no such file\. Run `nnpx train` first"):
        nnpx.load(tmp_path / "none.nnpx")


def test_foreign_safetensors_file_is_refused(tmp_path):
    save_file({"weight": torch.zeros(1)}, tmp_path / "other.nnpx")
    with pytest.raises(ArtifactError, match="a safetensors file without its header"):
        nnpx.load(tmp_path / "other.nnpx")


def test_newer_format_is_refused_with_the_version_that_reads_it(path):
    rewrite(path, lambda header: header.update(format=artifact.FORMAT + 1, version="9.9"))
    with pytest.raises(ArtifactError, match=r"found format 2, written by nnpx 9\.9\. Install nnpx 9\.9 or newer"):
        nnpx.load(path)


@pytest.mark.parametrize(
    "target", ["os.system", "builtins.print", "torch.load", "subprocess.run", "nnpx.artifact.save", "nnpx.errors.os.system"]
)
def test_foreign_target_is_refused_and_not_executed(path, target, capfd):
    rewrite(path, lambda header: header["config"].update(prior={"_target_": target, "command": "echo executed"}))
    with pytest.raises(ArtifactError, match=r"expected a (class below nnpx\. or one that you trust|configuration that nnpx .* can build)"):
        nnpx.load(path)
    assert "executed" not in capfd.readouterr().out


def test_class_of_another_noun_is_refused(path):
    rewrite(path, lambda header: header["config"].update(cutoff={"_target_": "nnpx.prior.zero.Zero"}))
    with pytest.raises(ArtifactError, match="expected a Cutoff, found Zero"):
        nnpx.load(path)


def test_weights_that_do_not_fit_the_configuration_are_refused(path):
    rewrite(path, lambda header: header["config"]["network"].update(hidden=[8, 9]))
    with pytest.raises(ArtifactError, match="expected weights that fit the file's configuration"):
        nnpx.load(path)


def test_other_elements_than_in_the_weights_are_refused(path):
    rewrite(path, lambda header: header.update(numbers=[1, 6]))
    with pytest.raises(ArtifactError, match="expected weights that fit the file's configuration"):
        nnpx.load(path)


def test_unknown_element_is_named_with_the_known_ones(path):
    ammonia = molecule("NH3")
    ammonia.calc = nnpx.Calculator(path)
    with pytest.raises(SpeciesError, match=r"expected elements among H, C, O, found N\. Retrain on data that contain N"):
        ammonia.get_potential_energy()
