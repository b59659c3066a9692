"""A sweep: checked as a whole, each job as it was checked, nothing done twice, one answer at the end."""

import pytest


def test_a_sweep_ends_in_a_table_a_figure_and_the_choices_of_every_job(project):
    code, out, err = project.sweep("network=per_species,mlp", "seed=0,1")
    assert (code, err) == (0, "")
    folder = project.only()
    print(out)
    assert {"table.md", "table.csv", "figure.svg", "report.html"} <= {path.name for path in folder.iterdir()}
