"""The comparison that is made again in several processes and on several nodes."""

import contextlib

import pytest

from comparison_runs import Comparisons


def _prepare(patch):
    """One thread, and no timing of steps beforehand."""
    patch.setenv("OMP_NUM_THREADS", "1")
    patch.setattr("rdrop_cli.core.comparison.plan.time_cell", lambda *_: (0.1, 1000))


@pytest.fixture(scope="session")
def compared_here(tiny_model, tmp_path_factory):
    """The comparison as one process makes it, in the folder `here`, with its results."""
    comparisons = Comparisons(tmp_path_factory.mktemp("compared"), tiny_model)
    with contextlib.chdir(comparisons.folder), pytest.MonkeyPatch.context() as patch:
        _prepare(patch)
        comparisons.results = comparisons.make("here")
    return comparisons


@pytest.fixture
def comparisons(compared_here, monkeypatch):
    """The same, to be made in other folders beside it."""
    monkeypatch.chdir(compared_here.folder)
    _prepare(monkeypatch)
    return compared_here
