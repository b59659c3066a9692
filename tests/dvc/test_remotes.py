"""What one person has computed, another pulls: from a folder and from S3."""

import filecmp
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from projects import Project

pytestmark = pytest.mark.slow
RESULTS = ("data/labelled.extxyz", "data/prepared/train.extxyz", "models/potential.nnpx", "reports/evaluation/metrics.json")
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


def name_remote(project: Project, address: str, **options: str) -> None:
    """Write the remote down and commit that: branches made later know it."""
    project.run("dvc", "remote", "add", "--default", "store", address)
    for option, value in options.items():
        project.run("dvc", "remote", "modify", "store", option, value)
    project.commit("name the remote")


def push(project: Project, **variables: str) -> None:
    """Push the results of every branch, and the cache of runs."""
    assert "pushed" in project.run("dvc", "push", "--run-cache", "--all-branches", **variables)


def pull(project: Project, folder: Path, **variables: str) -> Project:
    """A fresh clone with everything that was pushed; the cache that it came from is out of reach."""
    project.run("git", "clone", "--quiet", str(project.folder), str(folder))
    clone = Project(folder)
    clone.run("dvc", "pull", "--run-cache", **variables)
    return clone


def holds_the_same_and_computes_nothing(clone: Project, project: Project) -> bool:
    said = clone.run("dvc", "repro")
    same = [name for name in RESULTS if filecmp.cmp(clone.folder / name, project.folder / name, shallow=False)]
    return "Running stage" not in said and "up to date" in said and same == list(RESULTS)


def test_a_fresh_clone_pulls_from_a_folder_and_computes_nothing(project: Project, tmp_path: Path) -> None:
    name_remote(project, str(tmp_path / "store"))
    project.run("dvc", "exp", "run", "--name", "longer", "-S", "md.duration_ps=0.03")
    project.run("dvc", "exp", "branch", "longer", "longer")
    project.run("git", "checkout", "HEAD", ".")
    project.run("dvc", "checkout")
    push(project)
    clone = pull(project, tmp_path / "clone")
    assert holds_the_same_and_computes_nothing(clone, project)
    # so does what an experiment on another branch has computed
    clone.run("git", "checkout", "--quiet", "longer")
    clone.run("dvc", "pull", "--run-cache")
    assert re.findall("Running stage", clone.run("dvc", "repro")) == []


def test_data_that_only_the_remote_has_are_compared(project: Project, tmp_path: Path) -> None:
    name_remote(project, str(tmp_path / "store"))
    push(project)
    project.run("git", "tag", "v1")
    shutil.rmtree(project.folder / ".dvc" / "cache")
    told = project.run("nnpx", "data", "diff", "v1")
    assert re.search(r"unchanged +│ +16 ", told)
    shutil.rmtree(tmp_path / "store")
    shutil.rmtree(project.folder / ".dvc" / "cache", ignore_errors=True)
    refused = project.run("nnpx", "data", "diff", "v1", expect=2)
    assert refused.splitlines()[-1].startswith("error: v1: expected a version of the data, found ")


@pytest.fixture
def s3() -> Iterator[tuple[str, str]]:
    """The address of a server that behaves as S3, with a bucket, and the folder of DVC's plug-in for it."""
    dvc_s3 = pytest.importorskip("dvc_s3")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    boto3 = pytest.importorskip("boto3")
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    names = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=address, **names).create_bucket(Bucket="nnpx")
    yield address, str(Path(dvc_s3.__file__).parents[1])
    server.stop()


def test_a_fresh_clone_pulls_from_s3_and_computes_nothing(project: Project, s3: tuple[str, str], tmp_path: Path) -> None:
    address, plugins = s3
    variables = {**KEYS, "PYTHONPATH": plugins, "NO_PROXY": "127.0.0.1"}
    name_remote(project, "s3://nnpx/store", endpointurl=address)
    push(project, **variables)
    clone = pull(project, tmp_path / "clone", **variables)
    assert holds_the_same_and_computes_nothing(clone, project)
