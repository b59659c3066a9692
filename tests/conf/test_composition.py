"""The same options are read once, and again when a file has changed; what is made of them belongs to whoever asked."""

import pytest
from conf_stubs import use_tree
from omegaconf import OmegaConf

from nnpx.config import compose
from nnpx.errors import ConfigError


@pytest.fixture
def tree(tmp_path, monkeypatch):
    return use_tree(tmp_path, monkeypatch)


def test_other_values_of_the_same_options_read_no_file_again(tree, monkeypatch):
    read, load = [], OmegaConf.load
    monkeypatch.setattr(OmegaConf, "load", lambda file: (read.append(file.name), load(file))[1])
    first = compose(["descriptor=moments", "seed=1"])
    assert str(tree / "descriptor" / "moments.yaml") in read
    read.clear()
    second = compose(["seed=2", "descriptor=moments", "network.hidden=[3]"])
    assert read == []
    assert (first.seed, second.seed, list(second.network.hidden)) == (1, 2, [3])
    assert compose(["descriptor=acsf"]).descriptor != second.descriptor


def test_an_experiment_belongs_to_whoever_composed_it(tree):
    OmegaConf.update(compose(), "network.hidden", [3])
    assert list(compose().network.hidden) != [3]


def test_a_file_that_changed_is_read_again(tree, tmp_path):
    path, own = tree / "network" / "mlp.yaml", tmp_path / "own" / "descriptor" / "mine.yaml"
    own.parent.mkdir(parents=True)
    own.write_text((tree / "descriptor" / "moments.yaml").read_text())
    for width in (3, 5):
        path.write_text(f"_target_: conf_stubs.Network\nhidden: [{width}]\n")
        assert list(compose().network.hidden) == [width]
        own.write_text(f"{own.read_text().split('n_radial')[0]}n_radial: {width}\ncutoff: 5.0\nkind: wide\n")
        assert compose(["descriptor=mine"], tmp_path / "own").descriptor.n_radial == width
    path.unlink()
    with pytest.raises(ConfigError):
        compose()
