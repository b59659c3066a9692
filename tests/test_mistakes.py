"""Each of the commonest mistakes, through the real command line against the shipped conf/: the answer is ours, expected, found, do."""

import re
import sys

import pytest
from mistakes import ACSF, FILES, MINE, MISTAKES

from nnpx import cli
from nnpx.config import compose

#: words of the tools below, which say nothing about the experiment; what stands between backticks is what the user shall write
FOREIGN = (
    r"struct|EOF|EQUAL|override|ConfigAttributeError|LexerNoViableAlt|Traceback|primary config|defaults list|omegaconf|full_key|pydantic"
)


@pytest.fixture
def nnpx(tmp_path, monkeypatch, capfd):
    """Runs the command beside the user's own files; returns exit code, output and errors."""
    for name, text in FILES.items():
        path = tmp_path / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "run_verb", lambda *arguments, **options: (tmp_path / "ran").touch())

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["nnpx", *words])
        return cli.main(), *capfd.readouterr()

    return run


@pytest.mark.parametrize("words", MISTAKES, ids=" ".join)
def test_a_mistake_is_answered_in_the_words_of_the_experiment(nnpx, tmp_path, words):
    code, out, err = nnpx(*words)
    assert (code, out) == (2, "")
    assert err == f"error: {MISTAKES[words]}\n"
    assert re.findall(FOREIGN, re.sub(r"`[^`]*`", "", err).replace("no_override", "")) == []
    assert {path.name for path in tmp_path.iterdir()} == {"mine"}  # nothing ran


def test_there_are_more_than_twenty():
    assert len(MISTAKES) >= 20


def test_mistakes_of_every_kind_are_told_at_once(nnpx):
    code, _, err = nnpx(
        *("train", *MINE, "descriptor=tab", "network=mpl", "+optimizer.learning_rate=1", "~optimizer.beta3"),
        *("optimizer.beta1=2", "trainer.max_epoch=3"),
    )
    assert code == 2
    assert [line.split(": ")[1] for line in err.splitlines()] == [
        "mine/descriptor/tab.yaml, line 3",
        "network",
        "+optimizer.learning_rate=1",
        "~optimizer.beta3",
        "optimizer.beta1",
        "trainer.max_epoch",
    ]


@pytest.mark.parametrize(
    ("launcher", "extra"), [("ray", "ray"), ("submitit_slurm", "submitit"), ("submitit_local", "submitit"), ("joblib", "sweep")]
)
def test_a_launcher_that_is_not_installed_names_the_extra_that_brings_it(nnpx, monkeypatch, launcher, extra):
    from hydra.core.config_store import ConfigStore

    listed = ConfigStore.list
    monkeypatch.setattr(ConfigStore, "list", lambda self, path: [name for name in listed(self, path) if name != f"{launcher}.yaml"])
    code, _, err = nnpx("train", "-m", "seed=0,1", f"hydra/launcher={launcher}")
    assert code == 2
    assert re.fullmatch(
        rf"error: hydra/launcher: expected a launcher that is installed \(basic, .*\), found {launcher}. "
        rf"Run `pip install 'nnpx\[{extra}\]'`.\n",
        err,
    )


def test_a_misspelt_key_of_a_launcher_is_told(nnpx):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    err = nnpx("train", "-m", "seed=0,1", "hydra/launcher=joblib", "hydra.launcher.njobs=2")[2]
    assert err.startswith("error: hydra.launcher.njobs: expected one of the keys of hydra.launcher (n_jobs, ")
    assert err.endswith("found njobs. Did you mean n_jobs?\n")


def test_an_own_option_must_not_have_the_name_of_a_shipped_one(nnpx, tmp_path):
    (tmp_path / "mine" / "descriptor" / "acsf.yaml").write_text(ACSF)  # the same file, as in a copy of conf/
    assert nnpx("check", *MINE)[0] == 0
    (tmp_path / "mine" / "descriptor" / "acsf.yaml").write_text(ACSF.replace("4.5", "4.0"))
    assert nnpx("check", *MINE)[2] == (
        "error: mine/descriptor/acsf.yaml: expected a name that no shipped option has, found acsf. "
        "Rename it, for example to my_acsf.yaml, and choose descriptor=my_acsf.\n"
    )


def test_what_is_only_unusual_is_no_mistake(nnpx, tmp_path):
    """A byte-order mark, scientific notation without a dot, `defaults` behind other keys or without `_self_`."""
    folder = tmp_path / "mine" / "descriptor"
    (folder / "bom.yaml").write_bytes(b"\xef\xbb\xbf" + ACSF.encode())
    (folder / "late.yaml").write_text("kind: wide\ndefaults: [acsf]\n")
    for words in (("descriptor=bom",), ("descriptor=late",), ("optimizer.learning_rate=1e-3",), ("name=on",), ("descriptor=acsf.yaml",)):
        assert nnpx("check", *MINE, *words)[0] == 0
    config = compose(["descriptor=late"], tmp_path / "mine")
    assert config.descriptor.kind == "wide"
