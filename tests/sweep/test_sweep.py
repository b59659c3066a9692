"""A sweep: checked as a whole, each job as it was checked, nothing done twice, one answer at the end."""

import csv
import re

import pytest
from omegaconf import OmegaConf

from nnpx.sweep.grid import jobs_of


@pytest.mark.parametrize("launcher", ["basic", "joblib", pytest.param("submitit_local", marks=pytest.mark.slow)])
def test_every_launcher_does_every_job_and_prepares_each_data_set_once(project, launcher):
    extra = ["hydra.launcher.n_jobs=2"] if launcher == "joblib" else []
    code, out, err = project.sweep("network=per_species,mlp", "seed=0,1", f"hydra/launcher={launcher}", *extra)
    assert (code, err) == (0, "")
    calls = project.calls()
    assert calls[:4] == ["label 0", "prepare 0", "label 1", "prepare 1"]
    assert sorted(calls[4:]) == ["train 0", "train 0", "train 1", "train 1"]
    assert project.told(3)["choices"] == '{"network": "mlp", "seed": "1"}'
    assert len(re.findall(r"^\[\d/4\] network=\w+ seed=\d: energy \d meV/atom, forces \d+ meV/Å", out, re.MULTILINE)) == 4


def test_the_answer_is_a_table_in_three_forms_and_a_page_with_its_figure(project):
    project.sweep("network=per_species,mlp", "seed=0,1")
    folder = project.only()
    assert "| per_species | 2 | 1.50 ± 0.71 | 15.0 ± 7.1 |" in (folder / "table.md").read_text()
    rows = list(csv.DictReader((folder / "table.csv").read_text().splitlines()))
    assert [(row["network"], row["seed"], row["valid/forces_mae"]) for row in rows] == [
        ("per_species", "0", "0.01"),
        ("per_species", "1", "0.02"),
        ("mlp", "0", "0.02"),
        ("mlp", "1", "0.04"),
    ]
    page = (folder / "report.html").read_text()
    assert "<svg " in page
    assert not re.search(r'(?:src|href)="(?!#|data:)', page)  # opens without a network


@pytest.mark.slow
def test_finished_jobs_are_not_repeated_and_their_results_still_count(project):
    project.hook("if config.seed == 1 and not (PROJECT / 'mended').exists(): raise RuntimeError('broken')")
    code, out, err = project.sweep("seed=0,1,2")
    assert code == 1
    assert "error: job 1 (tracking=none seed=1): RuntimeError: broken (see multirun/quickstart-" in err
    assert "[3/3] seed=2" in out  # the others went on
    assert re.search(r"seed=1 +│ RuntimeError: broken", out)
    project.calls()
    (project.folder / "mended").touch()
    code, out, err = project.sweep("seed=0,1,2", "hydra/launcher=joblib")
    assert (code, err) == (0, "")
    assert project.calls() == ["train 1"]
    assert "2 jobs have finished before" in out
    assert "│ 3 │" in out


@pytest.mark.slow
def test_a_finished_job_is_repeated_where_its_configuration_or_the_code_has_changed(project):
    project.sweep("seed=0")
    project.calls()
    path = project.site / "conf" / "trainer" / "cpu.yaml"
    path.write_text(path.read_text() + "# a comment changes nothing\n")
    project.sweep("seed=0")
    assert project.calls() == []
    path.write_text(path.read_text().replace("batch_size: 8", "batch_size: 4"))
    project.sweep("seed=0")
    assert project.calls() == ["train 0"]
    project.hook("time.sleep(0)")
    project.sweep("seed=0")
    assert project.calls() == ["train 0"]


def test_a_job_keeps_what_it_was_checked_with_when_conf_is_edited_while_the_sweep_runs(project):
    conf = project.site / "conf"
    project.hook(
        f"if config.seed == 0:\n"
        f"        path = Path({str(conf)!r}) / 'trainer' / 'cpu.yaml'\n"
        f"        path.write_text(path.read_text().replace('max_epochs: 80', 'max_epochs: 7'))\n"
        f"        (path.parent.parent / 'network' / 'mlp.yaml').write_text('no: {{yaml')"
    )
    code, _, err = project.sweep("seed=0,1", "network=mlp")
    assert (code, err) == (0, "")
    assert [project.told(number)["max_epochs"] for number in (0, 1)] == [80, 80]
    assert OmegaConf.load(project.only() / "1" / "config.yaml").trainer.max_epochs == 80


@pytest.mark.slow
def test_the_projects_own_data_are_read_where_they_fit_and_stay_as_they_are_for_the_jobs(project):
    project.run("prepare", "tracking=none")
    project.hook("(PROJECT / 'data' / 'labelled.extxyz').write_text('changed')")
    project.calls()
    assert project.sweep("network=per_species,mlp")[0] == 0
    assert project.calls() == ["train 0", "train 0"]


def test_the_grid_speaks_hydras_grammar():
    found = jobs_of(["seed=range(0,2)", "network=choice(mlp,per_species)", "descriptor=glob(acsf_n*)", "trainer.max_epochs=3,3"])
    same = ["descriptor=acsf_narrow", "trainer.max_epochs=3"]
    assert found == [[f"seed={seed}", f"network={name}", *same] for seed in (0, 1) for name in ("mlp", "per_species")]
