"""A workspace with the runs that chains are made of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from samples import alone, chained

from hpo_pipelines import Workspace
from hpo_pipelines.standalone import standalone


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """``churn#1``, ``others#1`` (whose last step failed) and ``load#1``; nothing is to be run in it."""
    home = tmp_path_factory.mktemp("chains")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "")
        with Workspace(home=home / "home") as place:
            chained.churn.run(workspace=place, executor="inline")
            chained.others.run(workspace=place, executor="inline", folder=str(home))
            alone.load.run(workspace=place, executor="inline", path="abc", project="loads")
            place.draft(standalone(alone.split), {"n": 3})
            yield place


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Workspace]:
    """A workspace of the test's own, with ``churn#1``."""
    with Workspace(home=tmp_path / "home") as opened:
        chained.churn.run(workspace=opened, executor="inline")
        yield opened
