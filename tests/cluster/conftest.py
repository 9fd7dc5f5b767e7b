"""The cluster that the tests here run on."""

import contextlib
import shutil

import cluster
import pytest
from checkouts import MINI


def pytest_addoption(parser):
    parser.addoption("--overlay", default=MINI, help="of which study the whole run is, of those that generate a cohort")


@pytest.fixture(scope="session")
def overlay(request) -> str:
    return request.config.getoption("overlay")


@pytest.fixture(scope="session", autouse=True)
def running_cluster(request, tmp_path_factory):
    """A new cluster, of which the first test finds nothing but idle nodes. Its logs are kept if a test fails."""
    with contextlib.ExitStack() as undo:
        try:
            undo.enter_context(cluster.claimed())
            cluster.up()
        except cluster.ImpossibleError as reason:
            pytest.skip(str(reason))
        undo.callback(cluster.down)
        yield
        if request.session.testsfailed:
            shutil.copytree(cluster.LOGS, tmp_path_factory.getbasetemp() / "cluster_logs")
