from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_pipelines.errors import DefinitionError, ParameterError
from hpo_pipelines.types import Cache, Environment, Resources, Retry, Status, duration, new_id, size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(90, 90.0), ("90s", 90.0), ("10min", 600.0), ("2h", 7200.0), ("1.5 h", 5400.0), ("7d", 604800.0), ("250ms", 0.25)],
)
def test_duration(text: float | str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("wrong", ["soon", "10 parsecs", -1, True, None, ""])
def test_duration_refuses(wrong: object) -> None:
    with pytest.raises(ParameterError, match="a duration is seconds"):
        duration(wrong)  # type: ignore[arg-type]


def test_size() -> None:
    assert size("4GB") == 4 * 10**9
    assert size("512MiB") == 512 * 2**20
    assert size(17) == 17
    with pytest.raises(ParameterError, match="Known units"):
        size("4 apples")


def test_resources_state_their_limit_in_bytes() -> None:
    assert Resources(memory="1KB").memory_bytes == 1000
    assert Resources().memory_bytes is None


@pytest.mark.parametrize("wrong", [{"cpu": -1}, {"cpu": "two"}, {"gpu": True}])
def test_resources_refuse(wrong: dict[str, object]) -> None:
    with pytest.raises(DefinitionError, match="0 or more"):
        Resources(**wrong)  # type: ignore[arg-type]


def test_retry_waits_twice_as_long_each_time_with_at_most_half_as_much_again() -> None:
    retry = Retry(3, backoff="2s")
    assert retry.delay(1, 0.0) == 2.0
    assert retry.delay(3, 0.0) == 8.0
    assert retry.delay(1, 0.999) < 3.0


def test_retry_takes_one_class_or_several() -> None:
    assert Retry(1, on=OSError).on == (OSError,)  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="exception classes"):
        Retry(1, on=("OSError",))  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="whole number"):
        Retry(-1)


def test_cache_wants_tuples() -> None:
    assert Cache(ttl="7d").ttl == 604800.0
    with pytest.raises(DefinitionError, match=r"write ignore=\('verbose',\)"):
        Cache(ignore="verbose")  # type: ignore[arg-type]


def test_only_some_statuses_are_an_end() -> None:
    assert {status for status in Status if not status.finished} == {Status.DRAFT, Status.QUEUED, Status.RUNNING}


@given(st.integers(min_value=2, max_value=200))
def test_ids_increase_and_never_repeat(count: int) -> None:
    ids = [new_id() for _ in range(count)]
    assert ids == sorted(set(ids))
    assert {len(id) for id in ids} == {26}


def test_an_environment_has_one_form() -> None:
    one = Environment(packages=("Torch == 2.13", "scikit_learn[Extra] >1,<2", "torch==2.13"), env={"B": "2", "A": "1"})
    other = Environment(packages=["scikit-learn[Extra]<2,>1", "torch==2.13"], env={"A": "1", "B": "2"})  # type: ignore[arg-type]
    assert one == other
    assert one.packages == ("scikit-learn[Extra]<2,>1", "torch==2.13")
    here = "{}.{}".format(*sys.version_info)
    assert Environment(python=f"{here}.99").python == Environment(python=here).python == here


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"packages": "torch"}, "packages is a list"),
        ({"packages": ["torch = 2"]}, "Write a requirement such as"),
        ({"packages": ["--upgrade"]}, "options of the installer go into its own variables"),
        ({"secrets": "TOKEN"}, "secrets is a list"),
        ({"env": {"THREADS": 1}}, "quote numbers"),
        ({"env": {"A=B": "1"}}, "names and values are text"),
        ({"env": {"TOKEN": "x"}, "secrets": ["TOKEN"]}, "among env and secrets"),
        ({"python": "2.7"}, "steps run on the minor version of their driver"),
        ({"python": "new"}, "python is a minor version"),
        ({"image": "-v /:/host"}, "image is a name"),
        ({"image": ""}, "image is a name"),
    ],
)
def test_an_environment_refuses(options: dict[str, Any], words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        Environment(**options)


def test_what_takes_a_process_of_its_own() -> None:
    assert not Environment().apart
    assert not Environment(python="{}.{}".format(*sys.version_info)).apart
    for options in ({"packages": ["x"]}, {"env": {"A": "1"}}, {"image": "x"}, {"secrets": ["X"]}):
        assert Environment(**options).apart  # type: ignore[arg-type]
