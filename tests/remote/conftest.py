"""A server for the tests of a module, and a workspace that asks it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from serving import Serving, serving

from hpo_pipelines import Workspace


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("served")) as server:
        yield server


@pytest.fixture(scope="module")
def place(served: Serving) -> Iterator[Workspace]:
    """What the server serves, opened by its address."""
    with Workspace(served.url) as opened:
        yield opened
