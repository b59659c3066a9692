"""The champion is the best potential that a rule lets through, and its address loads it."""

import json
from pathlib import Path

import pytest
import torch
from small import CONFIG, NUMBERS
from tracking.stores import tracker

import nnpx
from nnpx import artifact, cli
from nnpx.assembly import build_parts
from nnpx.config import compose, instantiate
from nnpx.configuration.overrides import groups_in
from nnpx.configuration.resolvers import conf_dir
from nnpx.configuration.schema import check_node, plain
from nnpx.ensemble import Ensemble
from nnpx.errors import ArtifactError, ConfigError
from nnpx.promotion import Measured

ERROR, DRIFT = "test/forces_mae", "simulate/nve/drift_meV_per_atom_per_ps"


@pytest.mark.parametrize("option", groups_in([conf_dir()])["promotion"])
def test_a_shipped_rule_fits_its_signature(option):
    node = plain(compose([f"+promotion={option}"]).promotion)
    assert node["_target_"].startswith("nnpx.promotion.")
    assert check_node(node, "promotion", ())[1] == []
    assert (conf_dir() / "promotion" / f"{option}.yaml").read_text().startswith("# ")


def measured(name: str, error: float, drift: float = 0.01, data: str = "same") -> Measured:
    return Measured(name, {ERROR: error, DRIFT: drift}, data)


@pytest.fixture
def rule():
    return instantiate(compose(["+promotion=lower_error", "promotion.factor=0.5"]).promotion)


@pytest.mark.parametrize(("error", "holds"), [(0.0499, True), (0.05, False), (0.2, False), (float("nan"), False)])
def test_the_error_must_be_lower_by_the_factor(rule, error, holds):
    assert rule.judge(measured("new", error), measured("old", 0.1)).holds is holds


@pytest.mark.parametrize(("drift", "holds"), [(0.1, True), (-0.1, True), (0.11, False), (-0.11, False), (float("nan"), False)])
def test_a_bound_holds_for_the_magnitude(rule, drift, holds):
    assert rule.judge(measured("new", 0.01, drift), measured("old", 0.1)).holds is holds


def test_the_first_potential_needs_only_its_bounds(rule):
    assert rule.judge(measured("new", 0.5), None).holds
    assert not rule.judge(measured("new", 0.5, drift=1.0), None).holds


def test_nobody_replaces_a_champion_whose_error_is_not_known_and_nobody_without_an_error_is_the_first(rule):
    unknown = Measured("old", {DRIFT: 0.01}, "same")
    assert not rule.judge(measured("new", 9.9), unknown).holds
    assert not rule.judge(measured("new", 9.9), measured("old", float("nan"))).holds
    assert not rule.judge(measured("new", float("nan")), None).holds


def test_what_was_not_measured_or_not_on_the_same_data_is_never_promoted(rule):
    for candidate in (Measured("new", {ERROR: 0.01}, "same"), Measured("new", {DRIFT: 0.01}, "same"), measured("new", 0.01, data="other")):
        verdict = rule.judge(candidate, measured("old", 0.1))
        assert not verdict.holds
        assert any(reason.startswith("no: ") for reason in verdict.reasons)


@pytest.fixture
def project(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(workspace)
    return workspace


def train(project: Path, seed: int, error: float, drift: float = 0.01) -> str:
    """A registered potential with measured errors; the id of its run."""
    path = project / "models" / "potential.nnpx"
    ensemble = Ensemble([build_parts(CONFIG, numbers=NUMBERS, seed=seed).unscaled_potential()])
    artifact.save(path, ensemble, config=CONFIG, card={}, provenance={}, training={})
    with tracker(project, timeout_s=10).start("train", parent=None, tags={"test_md5": "d41d8"}) as run:
        run.log_model(path, name="ethanol", alias="candidate")
        run.log_metrics({ERROR: error, DRIFT: drift}, step=0)
    return run.id


def promote(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["nnpx", "promote", *words])
    return cli.main()


@pytest.mark.slow
def test_the_champion_follows_the_rule_and_says_why(project, monkeypatch, capsys):
    monkeypatch.setattr("nnpx.runs.compose", lambda: compose(["tracking.experiment=physics"]))
    first = train(project, 0, 0.10)
    assert promote(monkeypatch) == 0
    assert "ethanol version 1 is the champion now" in capsys.readouterr().out
    train(project, 1, 0.11)
    assert promote(monkeypatch, "ethanol") == 1
    out = capsys.readouterr().out
    assert out == (
        "promote: ethanol version 2 does not become champion\n"
        "  no: test/forces_mae 0.11 ≥ 1 × 0.1 (version 1)\n"
        "  yes: |simulate/nve/drift_meV_per_atom_per_ps| 0.01 ≤ 0.1\n"
    )
    better = train(project, 2, 0.09)
    assert promote(monkeypatch, better[:10], "promotion.factor=0.5") == 1
    assert promote(monkeypatch, better[:10]) == 0
    assert promote(monkeypatch, first[:10]) == 1
    assert promote(monkeypatch, "ethanol") == 0
    assert "is the champion already" in capsys.readouterr().out
    assert promote(monkeypatch, "ethnol") == 2
    assert promote(monkeypatch, "promotion.factr=1") == 2


RULE = """\"\"\"Nobody is promoted.\"\"\"
from nnpx.promotion import Rule, Verdict

class Never(Rule):
    def __init__(self, *, reason: str) -> None:
        self.reason = reason

    def judge(self, candidate, champion):
        return Verdict(False, [f"no: {self.reason}"])
"""


def test_without_a_registered_potential_one_is_to_be_trained(project, monkeypatch, capsys):
    monkeypatch.setattr("nnpx.runs.compose", lambda: compose(["tracking.experiment=physics"]))
    (project / "params.yaml").write_text(json.dumps(plain(compose([]))))
    assert promote(monkeypatch) == 2
    assert "promote: expected a registered potential, found none. Train one first: `nnpx train`." in capsys.readouterr().err


def test_a_rule_of_ones_own_decides(project, monkeypatch, capsys):
    """It lies in a folder of options beside ours, and its package must be trusted on the command line."""
    (project / "mine" / "promotion").mkdir(parents=True)
    (project / "mine" / "promotion" / "never.yaml").write_text("# Nobody\n_target_: house_rules.Never\nreason: not on Fridays\n")
    (project / "house_rules.py").write_text(RULE)
    monkeypatch.syspath_prepend(project)
    monkeypatch.setenv("NNPX_TRUSTED", "")
    monkeypatch.setattr("nnpx.runs.compose", lambda: compose(["tracking.experiment=physics"]))
    train(project, 0, 0.10)
    own = ("ethanol", "--config-dir", "mine", "promotion=never")
    assert promote(monkeypatch, *own) == 2
    assert "trusted=[house_rules]" in capsys.readouterr().err
    assert promote(monkeypatch, *own, "trusted=[house_rules]") == 1
    assert "no: not on Fridays" in capsys.readouterr().out


def test_a_registered_potential_is_compared_by_its_alias(project, monkeypatch, capsys):
    monkeypatch.setattr("nnpx.runs.compose", lambda: compose(["tracking.experiment=physics"]))
    run = train(project, 0, 0.10)
    monkeypatch.setattr("sys.argv", ["nnpx", "compare", "ethanol@candidate"])
    assert cli.main() == 0
    assert run[:8] in capsys.readouterr().out


def test_the_address_of_a_registered_potential_loads_it(project):
    train(project, 0, 0.1)
    loaded = nnpx.load("models:/ethanol@candidate")
    saved = nnpx.load("models/potential.nnpx")
    assert all(torch.equal(one, other) for one, other in zip(loaded.parameters(), saved.parameters(), strict=True))
    assert nnpx.Calculator("models:/ethanol/1").ensemble.numbers == NUMBERS
    with pytest.raises(ArtifactError, match=r"expected a registered potential \(ethanol\), found ethnol. Did you mean ethanol\?"):
        nnpx.load("models:/ethnol@candidate")
    with pytest.raises(ArtifactError, match=r"expected an alias of ethanol \(candidate\), found champion. Run `nnpx promote` first."):
        nnpx.load("models:/ethanol@champion")


def test_a_project_that_keeps_no_runs_is_told(project):
    (project / "params.yaml").write_text(json.dumps({**plain(compose(["tracking=none"]))}))
    with pytest.raises(ConfigError, match="expected a tracker that keeps runs, found Silent"):
        nnpx.load("models:/ethanol@champion")
