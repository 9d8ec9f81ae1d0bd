from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from search_spaces import Categorical, Fixed, Float, Int, SpaceError
from search_spaces.importers import import_space


@pytest.fixture(scope="module")
def tune() -> Any:
    from ray import tune  # seconds: only where it is needed

    return tune


def one(domain: Any) -> Any:
    return import_space({"x": domain})


@pytest.mark.integration
@pytest.mark.parametrize(
    ("made", "expected", "warnings"),
    [
        (lambda tune: tune.uniform(0, 1), Float(0, 1), 0),
        (lambda tune: tune.loguniform(1e-4, 1e-1), Float(1e-4, 1e-1, log=True), 0),
        (lambda tune: tune.quniform(1, 2, 0.25), Float(1, 2, step=0.25), 0),
        (lambda tune: tune.randint(1, 5), Int(1, 4), 0),
        (lambda tune: tune.lograndint(1, 100), Int(1, 99, log=True), 0),
        (lambda tune: tune.qrandint(0, 6, 3), Int(0, 6, step=3), 0),
        (lambda tune: tune.qrandint(1, 5, 2), Int(2, 4, step=2), 0),
        (lambda tune: tune.qrandint(1, 5, 1), Int(1, 4), 1),
        (lambda tune: tune.qlograndint(2, 64, 2), Int(2, 64, log=True), 1),
        (lambda tune: tune.qloguniform(0.1, 1.0, 0.1), Float(0.1, 1.0, log=True), 1),
        (lambda tune: tune.randn(1, 2), Float(-5, 7), 1),
        (lambda tune: tune.choice(["a", [1, 2]]), Categorical(["a", [1, 2]]), 0),
        (lambda tune: tune.grid_search([1, 2]), Categorical([1, 2]), 1),
    ],
)
def test_domains_hold_every_value_that_ray_draws(tune: Any, made: Any, expected: Any, warnings: int) -> None:
    domain = made(tune)
    found = one(domain)
    assert found.format == "ray"
    assert found.space["x"] == expected
    assert len(found.warnings) == warnings
    if hasattr(domain, "sample") and not warnings:
        drawn = [
            value if isinstance(value, str | list) else value.item() for value in map(_number, domain.sample(size=300))
        ]
        assert all(expected.contains(value) for value in drawn)
        if isinstance(expected, Int) and not expected.log:
            assert {expected.low, expected.high} <= set(drawn)


def _number(value: Any) -> Any:
    import numpy as np

    return value if isinstance(value, str | list) else np.asarray(value)


@pytest.mark.integration
def test_groups_fixed_values_and_functions(tune: Any) -> None:
    found = import_space(
        {"fit": {"lr": tune.uniform(0, 1), "kind": "a"}, "seed": 7, "late": tune.sample_from(lambda c: 1)}
    )
    assert dict(found.space) == {"fit.lr": Float(0, 1), "fit.kind": Fixed("a"), "seed": Fixed(7)}
    assert "sample_from calls a function" in found.warnings[0]
    with pytest.raises(SpaceError, match=r"x: .*excluded, so it is above the lower"):
        one(tune.randint(3, 3))


def test_reading_a_space_imports_no_ray() -> None:
    code = (
        "import sys\nfrom search_spaces.importers import import_space\n"
        "import_space({'x': {'grid_search': [1, 2]}})\nprint('ray' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
