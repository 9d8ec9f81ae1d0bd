from __future__ import annotations

from collections.abc import Iterator

import pytest
from executors.contract import ProcessContract

from hpo_pipelines.executors.base import Executor
from hpo_pipelines.executors.ray import RayExecutor


@pytest.fixture(scope="session", autouse=True)
def _two_cpus() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HPO_RAY_CPUS", "2")
        yield


@pytest.mark.integration
class TestRay(ProcessContract):
    """A Ray of our own, on this machine: workers write console files themselves."""

    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls) -> Iterator[Executor]:
        ray = RayExecutor()
        yield ray
        ray.close()
        ray.close()


@pytest.mark.integration
class TestRayApart(ProcessContract):
    """The same, as if workers shared no files with their driver: consoles travel as messages."""

    shares_files = False

    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls) -> Iterator[Executor]:
        ray = RayExecutor(shared_files=False)
        yield ray
        ray.close()
