from __future__ import annotations

import pickle

import pytest

from hpo_pipelines.errors import StepFailed, StepTimedOut
from hpo_pipelines.failure import Failure, rebuilt, step_failed


class Odd(Exception):
    """An exception whose constructor wants more than it keeps in ``args``."""

    def __init__(self, code: int, *, detail: str) -> None:
        super().__init__(code)
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.args[0]}: {self.detail}"


def failure_of(error: BaseException) -> Failure:
    try:
        raise error
    except BaseException as raised:  # noqa: BLE001 - any class is tried
        return Failure.of(raised, log="loading\n")


@pytest.mark.parametrize(
    "original",
    [
        ValueError("bad rate"),
        KeyError("lr"),
        OSError(2, "No such file", "data.csv"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
        Odd(7, detail="seven"),
        KeyboardInterrupt(),
        ZeroDivisionError("division by zero"),
        MemoryError("too much"),
    ],
)
def test_it_is_both_step_failed_and_the_users_own_with_the_users_words(original: BaseException) -> None:
    error = step_failed(failure_of(original), "fit", original)
    assert isinstance(error, StepFailed)
    assert isinstance(error, type(original))
    assert str(error) == str(original)
    assert error.args == original.args
    assert error.step == "fit"  # type: ignore[attr-defined]
    notes = "\n".join(error.__notes__)
    assert "in step fit" in notes
    assert "loading" in notes


def test_attributes_of_the_users_exception_survive() -> None:
    original = Odd(7, detail="seven")
    error = step_failed(failure_of(original), "fit", original)
    assert error.detail == "seven"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "original", [Odd(7, detail="seven"), OSError(2, "No such file", "data.csv"), KeyError("lr"), StopIteration(3)]
)
def test_an_exception_is_rebuilt_without_its_init(original: BaseException) -> None:
    failure = failure_of(original)
    assert failure.pickled is not None
    again = rebuilt(pickle.loads(failure.pickled))
    assert type(again) is type(original)
    assert (str(again), again.args, vars(again)) == (str(original), original.args, vars(original))


def test_what_could_not_travel_is_told_in_words() -> None:
    error = step_failed(failure_of(ValueError("bad")), "fit", None)
    assert type(error) is StepFailed
    assert str(error) == "ValueError: bad"


def test_our_own_errors_stay_what_they_are() -> None:
    late = StepTimedOut("step fit ran longer than its timeout of 1 s")
    assert step_failed(failure_of(late), "fit", late) is late


def test_a_failure_travels_and_its_record_is_plain() -> None:
    failure = failure_of(ValueError("bad"))
    assert pickle.loads(pickle.dumps(failure)) == failure
    assert failure.record()["type"] == "ValueError"
    assert "raise error" in failure.traceback


def test_an_exception_that_cannot_be_pickled_keeps_its_words() -> None:
    error = ValueError("held", (x for x in ()))
    failure = failure_of(error)
    assert failure.pickled is None
    assert "held" in failure.message
