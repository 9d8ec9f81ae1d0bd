"""A pipeline whose output is too big to travel inside its record."""

from __future__ import annotations

import pandas as pd

from hpo_pipelines import component, pipeline


@component
def table(rows: int) -> pd.DataFrame:
    return pd.DataFrame({"n": range(rows), "half": [row / 2 for row in range(rows)], "name": ["æ"] * rows})


@pipeline(project="samples")
def framed(rows: int = 10) -> pd.DataFrame:
    return table(rows)
