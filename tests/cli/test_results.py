"""The exit code of a run, and what is shown of it."""

from __future__ import annotations

import inspect
from dataclasses import replace

import pytest

from hpo_pipelines import errors
from hpo_pipelines.cli.results import exit_code
from hpo_pipelines.errors import HpoPipelinesError, outcome_of
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind, Status

OURS = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, HpoPipelinesError)]


@pytest.fixture
def failed() -> Task:
    return Task("id", Kind.PIPELINE, "p", "default", status=Status.FAILED)


@pytest.mark.parametrize("cls", OURS, ids=lambda cls: cls.__name__)
def test_a_run_that_an_error_of_ours_ended_has_its_code(failed: Task, cls: type[HpoPipelinesError]) -> None:
    error = {"type": cls.__name__, "message": "m", "traceback": f"Traceback\n{cls.__module__}.{cls.__name__}: m"}
    assert exit_code(replace(failed, error=error)) == outcome_of(cls).exit_code


def test_a_run_that_the_users_own_error_ended_has_that_of_a_failed_step(failed: Task) -> None:
    error = {"type": "StoreError", "message": "m", "traceback": "Traceback\nmine.StoreError: m"}
    assert exit_code(replace(failed, error=error)) == outcome_of(errors.StepFailed).exit_code
