from __future__ import annotations

import inspect

import pytest

from hpo_pipelines import errors
from hpo_pipelines.errors import OUTCOMES, HpoPipelinesError, IllegalTransition, Outcome, StepFailed, outcome_of
from search_spaces.errors import SpaceError as PlainSpaceError


def test_every_error_has_an_outcome_and_most_have_one_of_their_own() -> None:
    raised = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, HpoPipelinesError)]
    assert len(raised) > 15
    for cls in raised:
        assert outcome_of(cls("x")) == outcome_of(cls)
        assert outcome_of(cls).exit_code > 0
    codes = [outcome.exit_code for outcome in OUTCOMES.values()]
    assert len(codes) == len(set(codes))


def test_an_error_without_a_row_has_that_of_its_nearest_class() -> None:
    class Mine(StepFailed):
        pass

    assert outcome_of(Mine("x")) == OUTCOMES[errors.StepError]
    assert outcome_of(ValueError("x")) == Outcome(1, 500)
    assert outcome_of(errors.SpaceError("x")) == outcome_of(PlainSpaceError("x")) == Outcome(5, 422)


def test_the_tree_at_the_top_names_every_error() -> None:
    for name, cls in inspect.getmembers(errors, inspect.isclass):
        if issubclass(cls, HpoPipelinesError):
            assert name in (errors.__doc__ or ""), name


def test_an_illegal_transition_carries_the_story() -> None:
    error = IllegalTransition("completed → running", ["created", "running", "completed"])
    assert error.story == ("created", "running", "completed")
    assert str(error).splitlines() == ["completed → running", "  created", "  running", "  completed"]


def test_pruned_is_no_error_that_user_code_would_swallow() -> None:
    with pytest.raises(errors.Pruned):
        try:
            raise errors.Pruned("below median")
        except Exception:  # noqa: BLE001 - the point of the test
            pytest.fail("swallowed")
