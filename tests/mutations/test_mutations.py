"""Edits of a recorded project, one each: the second run reuses the step or not, and the parts of its key say why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mutations import cases_blind, cases_own, cases_own_keys
from mutations.case import Case
from mutations.harness import Runs, judge, outcomes

OWN: tuple[Case, ...] = (*cases_own.CASES, *cases_own_keys.CASES)
BLIND: tuple[Case, ...] = cases_blind.CASES
"""Written by somebody who had seen the rules and not the code."""
CASES = (*OWN, *BLIND)
FAST = 12
"""One of so many is in the fast suite."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    served = Runs(tmp_path_factory.mktemp("template"))
    yield served
    served.close()


def parameter(number: int, case: Case) -> Any:
    return pytest.param(case, id=case.name, marks=[pytest.mark.integration] if number % FAST else [])


@pytest.mark.parametrize("case", [parameter(*each) for each in enumerate(CASES)])
def test_an_edit_is_a_hit_or_a_miss_and_says_why(case: Case, runs: Runs, tmp_path: Path) -> None:
    judge(case, *outcomes(case, runs, tmp_path))


def test_half_of_sixty_or_more_cases_are_written_blind() -> None:
    assert len(CASES) >= 60
    assert len(BLIND) >= len(OWN)
    assert len({case.name for case in CASES}) == len(CASES)
