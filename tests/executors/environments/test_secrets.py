"""Secrets: found, shown to one step, and covered in all that comes out of it."""

from __future__ import annotations

import itertools
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_pipelines.errors import StepFailed
from hpo_pipelines.executors.base import Completed, Failed
from hpo_pipelines.executors.environments import secrets
from hpo_pipelines.executors.environments.secrets import Mask
from hpo_pipelines.failure import Failure, rebuilt
from hpo_pipelines.types import ArtifactRef

VALUE = 'pass "word"/1'


def test_they_are_read_from_the_workers_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPO_TEST_TOKEN", VALUE)
    assert secrets.read(("HPO_TEST_TOKEN",), "a#1/fit") == {"HPO_TEST_TOKEN": VALUE}


def test_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets.socket, "gethostname", lambda: "node7")
    with pytest.raises(StepFailed, match=r"a#1/fit needs the secrets ONE, TWO, not set .* on node7\. Export it there"):
        secrets.read(("ONE", "TWO"), "a#1/fit")


def test_they_are_there_for_as_long_as_the_block() -> None:
    with secrets.revealed({"HPO_TEST_TOKEN": VALUE}):
        assert os.environ["HPO_TEST_TOKEN"] == VALUE
    assert "HPO_TEST_TOKEN" not in os.environ


@pytest.mark.parametrize(
    "spelled", [VALUE, repr(VALUE), 'pass \\"word\\"/1', "pass%20%22word%22%2F1", "pass%20%22word%22/1"]
)
def test_spellings_that_are_known(spelled: str) -> None:
    mask = Mask({"TOKEN": VALUE})
    covered = mask.text(f"see {spelled}.")
    assert "word" not in covered
    assert "***" in covered
    assert mask.data(f"see {spelled}.".encode()) == covered.encode()
    assert mask.finds(spelled.encode())
    assert not mask.finds(covered.encode())


def test_an_empty_value_covers_nothing() -> None:
    assert Mask({"TOKEN": ""}).text("nothing") == "nothing"


@given(
    value=st.text("ab", min_size=1, max_size=6),
    text=st.text("abc", max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=8),
)
def test_however_a_stream_is_cut_no_value_is_in_it(value: str, text: str, cuts: list[int]) -> None:
    out: list[bytes] = []
    stream = Mask({"TOKEN": value}).stream(out.append)
    places = [0, *sorted(cuts), len(text)]
    for start, end in itertools.pairwise(places):
        stream(text[start:end].encode())
    stream.flush()
    assert b"".join(out).decode() == text.replace(value, "***")


def test_what_cannot_begin_a_value_is_written_at_once() -> None:
    out: list[bytes] = []
    stream = Mask({"TOKEN": "secret"}).stream(out.append)
    stream(b"progress 1%\r")
    assert out == [b"progress 1%\r"]
    stream(b"it is sec")
    assert b"".join(out) == b"progress 1%\rit is "
    stream(b"ond")
    assert b"".join(out) == b"progress 1%\rit is second"


class Refused(ValueError):
    def __init__(self, user: str, token: str) -> None:
        super().__init__(f"{user} was refused with {token}")
        self.tried = [{"token": token}]


def failed(error: BaseException) -> Failed:
    try:
        raise error
    except BaseException as raised:  # noqa: BLE001
        return Failed(Failure.of(raised), raised)


def test_a_failure_keeps_its_class_and_loses_the_value() -> None:
    covered = Mask({"TOKEN": VALUE}).failed(failed(Refused("me", VALUE))).failure
    assert covered.message == "me was refused with ***"
    assert VALUE not in covered.traceback
    assert covered.pickled is not None
    import cloudpickle

    error = rebuilt(cloudpickle.loads(covered.pickled))
    assert type(error) is Refused
    assert str(error) == "me was refused with ***"
    assert error.tried == [{"token": "***"}]


class Hiding:
    def __init__(self, token: str) -> None:
        self.token = token


def test_an_exception_that_hides_it_deep_keeps_its_words_only() -> None:
    error = ValueError("broken")
    error.client = Hiding("hidden-value")  # type: ignore[attr-defined]
    covered = Mask({"TOKEN": "hidden-value"}).failed(failed(error)).failure
    assert (covered.type, covered.message, covered.pickled) == ("ValueError", "broken", None)


def test_a_failure_without_it_is_as_it_was() -> None:
    before = failed(ValueError("broken"))
    assert Mask({"TOKEN": VALUE}).failed(before).failure == before.failure


@pytest.mark.parametrize(
    ("preview", "inline"), [({"value": VALUE}, None), ({}, b"\x80" + VALUE.encode()), ({"head": [["x", VALUE]]}, None)]
)
def test_an_output_that_holds_it_is_a_failure(preview: dict[str, object], inline: bytes | None) -> None:
    ref = ArtifactRef("d", "v", "json", 10, preview, inline)
    covered = Mask({"TOKEN": VALUE}).completed(Completed({"value": ref}, 1.0))
    assert isinstance(covered, Failed)
    assert "the output 'value' holds the value of a secret" in covered.failure.message
    harmless = Completed({"value": ArtifactRef("d", "v", "json", 10, {"value": 1}, b"1")}, 1.0)
    assert Mask({"TOKEN": VALUE}).completed(harmless) is harmless
