from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search_spaces import Float, Int, Space, SpaceError

PATIENT = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])


def test_every_feasible_sample_in_order() -> None:
    space = Space(
        {"kind": ["a", "b"], "n": Int(1, 3, when={"kind": "a"}), "x": Float(0.0, 0.3, step=0.1)},
        constraints=["n + 10 * x >= 5"],
    )
    found = list(space.samples())
    assert found == [
        {"kind": "a", "n": 2, "x": 0.3},
        {"kind": "a", "n": 3, "x": 0.2},
        {"kind": "a", "n": 3, "x": 0.3},
        {"kind": "b", "x": 0.0},
        {"kind": "b", "x": 0.1},
        {"kind": "b", "x": 0.2},
        {"kind": "b", "x": 0.3},
    ]


def test_a_continuous_range_has_no_list_of_samples() -> None:
    with pytest.raises(SpaceError, match="x is continuous"):
        Space({"x": Float(0, 1)}).samples()


@PATIENT
@given(st.from_type(Space))
def test_there_are_as_many_samples_as_the_grid_is_large(space: Space) -> None:
    size = space.grid_size()
    if size is None or size > 500:
        return
    found = list(space.samples())
    assert len(found) == size
    assert all(space.violated(values) == [] for values in found)


@PATIENT
@given(st.from_type(Space))
def test_a_draw_lies_in_the_space(space: Space) -> None:
    values = space.draw(Random(1))
    assert {name for name, active in space.active(values).items() if active} == set(values)
    assert all(space[name].contains(value) for name, value in values.items())


def test_draws_follow_the_distribution() -> None:
    space = Space({"lr": Float(1e-4, 1.0, log=True), "n": Int(1, 1000, log=True), "x": Float(0.0, 1.0)})
    random = Random(7)
    drawn = [space.draw(random) for _ in range(2000)]
    for name, middle in (("lr", 1e-2), ("n", 31), ("x", 0.5)):
        below = sum(values[name] < middle for values in drawn)
        assert 900 < below < 1100, name
