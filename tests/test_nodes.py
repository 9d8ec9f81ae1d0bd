"""What a process that drives runs says of the nodes that it uses, and takes back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from samples import shown
from services import wait_until

from hpo_pipelines import Workspace
from hpo_pipelines.nodes import nodes_in_use
from hpo_pipelines.store import Store

pytestmark = pytest.mark.integration


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    """The same store, as another process has it open."""
    with Workspace(home=home) as other:
        yield other.store


def holders(store: Store) -> list[str]:
    return [store.tasks.get(task).name for node in nodes_in_use(store) for task in node.use.holders]


def test_a_process_that_drives_a_run_says_what_it_uses_until_the_run_is_over(
    home: Path, store: Store, tmp_path: Path
) -> None:
    with Workspace(home=home) as place:
        draft = place.draft(shown.churn, {"folder": str(tmp_path), "gate": "go"}, executor="local")
        driving = threading.Thread(target=lambda: place.start(draft.id))
        driving.start()
        try:
            wait_until(lambda: holders(store) == ["fit"], "the step to be seen")
            (node,) = nodes_in_use(store)
            assert (node.executor, node.use.used["CPU"]) == ("local", 1.0)
            assert "the process" in node.agent
        finally:
            (tmp_path / "go").touch()
            driving.join(60)
        wait_until(lambda: not nodes_in_use(store), "it to be taken back")


def test_what_was_said_goes_with_the_workspace(home: Path, store: Store, tmp_path: Path) -> None:
    with Workspace(home=home) as place:
        place.nodes.stays = True  # as an agent has it
        place.run(shown.churn, {"folder": str(tmp_path)}, executor="local")
        wait_until(lambda: [node.use.holders for node in nodes_in_use(store)] == [{}], "idle nodes to be seen")
    assert nodes_in_use(store) == []
