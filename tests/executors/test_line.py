from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_pipelines.executors.line import PATIENCE, Line


def one(line: Line[str]) -> str:
    """Who is served when one worker becomes free."""
    workers = ["worker"]
    ((item, _),) = line.serve(lambda item: workers.pop() if workers else None)
    return item


def of(*names: str) -> Line[str]:
    line: Line[str] = Line()
    for name in names:
        line.add(name, name)
    return line


def test_equals_are_served_in_the_order_of_their_arrival() -> None:
    line = of("a", "b", "c")
    assert [one(line) for _ in range(3)] == ["a", "b", "c"]
    assert not line


def test_what_most_others_wait_for_goes_first() -> None:
    line = of("a", "b", "c", "d")
    line.urge("c", 2)
    line.urge("b", 1)
    line.urge("d", 2)
    line.urge("nobody", 9)
    assert [one(line) for _ in range(4)] == ["c", "d", "b", "a"]


def test_nobody_is_overtaken_for_ever() -> None:
    line = of("patient")
    served = []
    while "patient" not in served:
        line.add(f"urgent-{len(served)}", f"urgent-{len(served)}")
        line.urge(f"urgent-{len(served)}", 5)
        served.append(one(line))
    assert len(served) == PATIENCE + 1


def test_a_wide_one_lets_narrow_ones_pass_but_not_for_ever() -> None:
    line = of("wide")
    passed = 0
    while not line.is_blocked:
        line.add("narrow", "narrow")
        assert line.serve(lambda item: None if item == "wide" else item) == [("narrow", "narrow")]
        passed += 1
    assert passed == PATIENCE
    line.add("narrow", "narrow")
    line.urge("narrow", 9)
    assert line.serve(lambda item: None if item == "wide" else item) == []
    assert line.serve(lambda item: item) == [("wide", "wide"), ("narrow", "narrow")]
    assert not line.is_blocked


def test_those_who_were_never_in_line_overtake_as_well() -> None:
    line = of("a")
    for _ in range(PATIENCE):
        line.overtake()
    assert line.is_blocked
    assert line.remove("a") == "a"
    assert line.remove("a") is None
    assert not line.is_blocked


def test_a_claim_that_raises_leaves_everybody_in_line() -> None:
    line = of("a", "b")

    def claim(item: str) -> str:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        line.serve(claim)
    assert list(line) == ["a", "b"]
    assert line.clear() == ["a", "b"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 2)), max_size=120))
def test_everybody_is_served_and_overtaken_a_bounded_number_of_times(story: list[tuple[int, int, int]]) -> None:
    """Arrivals of any urgency, and workers that come free: at most ``PATIENCE`` later ones go before anybody."""
    line: Line[int] = Line()
    arrived, served = 0, list[int]()
    for arrivals, urgency, workers in story:
        for _ in range(arrivals):
            line.add(str(arrived), arrived)
            line.urge(str(arrived), urgency)
            arrived += 1
        free = ["worker"] * workers
        served += [item for item, _ in line.serve(lambda item, free=free: free.pop() if free else None)]  # type: ignore[misc]
    served += [item for item, _ in line.serve(lambda item: item + 1)]
    assert sorted(served) == list(range(arrived))
    for place, item in enumerate(served):
        assert sum(earlier > item for earlier in served[:place]) <= PATIENCE
