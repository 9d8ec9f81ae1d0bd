"""The table of literals in docs/keys.md, row by row."""

from __future__ import annotations

import re
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag
from fractions import Fraction
from math import inf, nan
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from hpo_pipelines.canonical import value_digest


class Color(Enum):
    RED = 1
    BLUE = 2


class Mode(Flag):
    READ = 1
    WRITE = 2


@dataclass
class Point:
    x: float
    y: float


class Pair(NamedTuple):
    x: float
    y: float


NAMES = {
    **{each.__name__: each for each in (Counter, OrderedDict, deque, date, datetime, timedelta, timezone, Decimal)},
    **{each.__name__: each for each in (Fraction, PurePosixPath, PureWindowsPath, UUID, ZoneInfo)},
    **{each.__name__: each for each in (Color, Mode, Point, Pair)},
    "UTC": UTC,
    "inf": inf,
    "nan": nan,
    "np": np,
    "pd": pd,
    "re": re,
}


def rows() -> list[tuple[str, list[str], list[str]]]:
    text = (Path(__file__).parents[2] / "docs/keys.md").read_text("utf-8")
    table = text.partition("## Literals")[2].partition("\n## ")[0]
    found = []
    for line in table.splitlines():
        cells = [re.findall(r"`([^`]+)`", cell) for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 3 and cells[0]:
            ((value,), same, other) = [[text.replace("\\|", "|") for text in cell] for cell in cells]
            found.append((value, same, other))
    return found


ROWS = rows()


@pytest.mark.parametrize(("value", "same", "other"), ROWS, ids=[row[0] for row in ROWS])
def test_what_is_written_down_is_so(value: str, same: list[str], other: list[str]) -> None:
    assert same
    assert other
    digest = value_digest(eval(value, dict(NAMES)))
    assert {text: value_digest(eval(text, dict(NAMES))) == digest for text in same} == dict.fromkeys(same, True)
    assert {text: value_digest(eval(text, dict(NAMES))) == digest for text in other} == dict.fromkeys(other, False)


def test_every_kind_of_literal_has_its_row() -> None:
    first = {type(eval(value, dict(NAMES))).__name__ for value, _, _ in ROWS}
    assert len(ROWS) >= 30
    assert {"int", "float", "dict", "set", "Color", "Point", "Pair", "datetime", "ndarray", "DataFrame"} <= first
