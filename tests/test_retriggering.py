"""``retrigger`` in plain functions: outside of any run."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from samples import retriggered

from hpo_pipelines import AttemptsExhausted, ParameterError, TaskError, component, pipeline, retrigger
from hpo_pipelines.errors import Retriggered


def test_the_function_is_called_again() -> None:
    assert retriggered.tuned() == {"auc": pytest.approx(0.9), "lr": pytest.approx(0.1)}
    assert retriggered.twice() == pytest.approx(1.8)


def test_attempts_are_bounded() -> None:
    message = r"tuned is at attempt 2 .*\(auc 0.70 < 0.80\).*max_attempts=2.*Raise max_attempts"
    with pytest.raises(AttemptsExhausted, match=message):
        retriggered.tuned(most=2)
    with pytest.raises(AttemptsExhausted):
        retriggered.tuned(most=1)


@pytest.mark.parametrize("most", [0, -1, True, 1.5, "3", None])
def test_a_bound_is_a_whole_number(most: Any) -> None:
    @pipeline
    def body(x: int = 1) -> None:
        retrigger(x=2, max_attempts=most)

    with pytest.raises(ParameterError, match=r"max_attempts=.* whole number, 1 or more"):
        body()


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"lrr": 1.0}, "no parameter 'lrr'; did you mean 'lr'"), ({"lr": "fast"}, r"'lr' takes float; got 'fast'")],
)
def test_parameters_are_checked(changes: dict[str, Any], message: str) -> None:
    @pipeline
    def body(lr: float = 0.1) -> None:
        retrigger(**changes)

    with pytest.raises(ParameterError, match=message):
        body()


def test_a_parameter_may_be_called_like_an_option() -> None:
    @pipeline
    def body(reason: str = "a", max_attempts: int = 1) -> str:
        if reason == "a":
            retrigger({"reason": "b", "max_attempts": 7}, reason="because")
        return f"{reason}{max_attempts}"

    assert body() == "b7"


def test_each_attempt_has_its_parameters_as_they_were() -> None:
    seen: list[Any] = []

    @pipeline
    def body(xs: list[int], n: int = 0, *more: int, **others: list[int]) -> list[int]:
        xs.append(n)
        others["a"].append(n)
        seen.append((list(xs), dict(others), more))
        if n < 2:
            retrigger(n=n + 1)
        return xs

    assert body([7], 0, a=[5]) == [7, 2]
    assert [xs for xs, _, _ in seen] == [[7, 0], [7, 1], [7, 2]]
    assert [others for _, others, _ in seen] == [{"a": [5, 0]}, {"a": [5, 1]}, {"a": [5, 2]}]


def test_what_a_run_could_not_record_is_passed_on_as_it_is() -> None:
    class Anything:
        pass

    given = Anything()

    @pipeline
    def body(thing: Any, n: int = 1) -> Any:
        if n == 1:
            retrigger(n=2)
        return thing

    assert body(given) is given


def test_only_the_body_of_a_pipeline_has_something_to_run_again() -> None:
    with pytest.raises(TaskError, match="for the body of a pipeline"):
        retrigger(x=1)

    @component
    def step() -> None:
        retrigger(x=1)

    @pipeline
    def body(x: int = 0, threaded: bool = False) -> list[Exception]:
        found: list[Exception] = []

        def call() -> None:
            try:
                step() if not threaded else retrigger(x=1)
            except TaskError as error:
                found.append(error)

        if threaded:
            thread = threading.Thread(target=call)
            thread.start()
            thread.join()
        else:
            call()
        return found

    assert len(body()) == 1
    assert len(body(threaded=True)) == 1


def test_a_body_that_catches_everything_takes_it_back() -> None:
    assert retriggered.kept_back() == 12


def test_the_signal_of_another_call_is_not_taken_for_ones_own() -> None:
    kept: list[Retriggered] = []

    @pipeline
    def first(x: int = 1) -> int:
        try:
            retrigger(x=2)
        except Retriggered as signal:
            kept.append(signal)
        return x

    @pipeline
    def second(x: int = 1) -> int:
        raise kept[0]

    first()
    with pytest.raises(Retriggered):
        second()


def test_attempts_do_not_pile_up_on_the_stack() -> None:
    @pipeline
    def body(n: int = 0) -> int:
        if n < 3000:
            retrigger(n=n + 1, max_attempts=5000)
        return n

    assert body() == 3000
