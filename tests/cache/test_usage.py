from __future__ import annotations

import pytest
from cache.conftest import DAY, Place

from hpo_pipelines.cache import ComponentUsage, outcome_called, usage
from hpo_pipelines.errors import TaskNotFound


def test_usage_by_component(local: Place) -> None:
    run = local.run()
    shared = local.put("shared")
    local.step(run, "a", ago=3 * DAY)
    local.step(run, "b", shared, ago=2 * DAY)
    local.step(run, "c", shared, ago=DAY)
    local.step(run, "d", shared, component="load", ago=DAY)
    local.step(run, "e", local.put("small", 10), component="score", ago=DAY)
    for key in ("b", "b", "c"):
        local.store.cache.hit(key)
    found, size = usage(local.store)
    used = {key: local.store.cache.lookup(key).hit_at for key in "bc"}
    assert found[0] == ComponentUsage("fit", 3, 40_000, 3, 6.0, max(used.values()))
    assert [(one.component, one.outcomes, one.size, one.hits, one.saved) for one in found[1:]] == [
        ("load", 1, 20_000, 0, 0.0),
        ("score", 1, 10, 0, 0.0),
    ]
    assert found[1].used_at == pytest.approx(local.store.now() - DAY, abs=60)
    assert size == 40_010, "what two components share is there once"
    assert usage(local.store, "load") == ([found[1]], 20_000)
    assert usage(local.store, "unknown") == ([], 0)


def test_an_outcome_by_the_beginning_of_its_key(local: Place) -> None:
    run = local.run()
    for key in ("abc1", "abc2", "abd", *(f"f{n:02}" for n in range(12))):
        local.step(run, key)
    assert outcome_called(local.store, "abd").key == "abd"
    assert outcome_called(local.store, " ABC1 ").key == "abc1"
    with pytest.raises(TaskNotFound, match="no outcome has a key that begins with 'x'"):
        outcome_called(local.store, "x")
    with pytest.raises(TaskNotFound, match="several outcomes") as several:
        outcome_called(local.store, "abc")
    assert str(several.value).splitlines()[1:] == ["  abc2  fit", "  abc1  fit"]
    with pytest.raises(TaskNotFound) as many:
        outcome_called(local.store, "f")
    assert str(many.value).splitlines()[-1] == "  …"
    assert len(str(many.value).splitlines()) == 12
