"""What a study is asked for over REST: the options of :func:`hpo_pipelines.optimize`, as far as they travel."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

MOST = 2**31 - 1
Count = Annotated[int | None, Field(ge=1, le=MOST)]


class StudyOptions(BaseModel):
    """What a study varies and is after, how its trials are chosen, and when it ends."""

    model_config = ConfigDict(extra="forbid")

    space: dict[str, Any] = Field(
        description="What each parameter may be, as in a study file.",
        examples=[{"lr": {"low": 1e-5, "high": 0.1, "log": True}}],
    )
    objective: str | list[str] | None = Field(
        default=None,
        description="`STEP.METRIC`, or a key of what is returned; several for a Pareto front; null: the number itself.",
    )
    direction: str | list[str] = Field(default="maximize", description="One for all objectives, or one for each.")
    constraints: str | list[str] = Field(
        default=[], description="Trials that violate one are never best.", examples=[["fit.memory <= 8e9"]]
    )
    n_trials: Count = Field(default=None, description="How many in all.")
    timeout: float | str | None = Field(default=None, description='Seconds, or text such as "2h".')
    max_compute: float | str | None = Field(default=None, description="Of steps' executions in all; as `timeout`.")
    target: float | None = Field(default=None, description="Ends once a trial has this value, or a better one.")
    plateau: Count = Field(default=None, description="Ends after so many trials in a row without a better one.")
    max_failures: Count = None
    n_jobs: int = Field(default=1, ge=1, le=1000, description="Trials in flight.")
    sampler: str | dict[str, Any] | None = Field(default=None, examples=["tpe(multivariate=true)"])
    pruner: str | None = None
    prune_on: str | list[str] | None = Field(default=None, examples=["fit.val_loss:minimize"])
    seed: int | None = Field(default=None, ge=0, le=2**32 - 1)
    repeats: dict[str, Any] | None = Field(
        default=None, description="Each trial so often, with other values of this parameter.", examples=[{"seed": 5}]
    )
    fidelity: dict[str, Any] | None = Field(
        default=None, examples=[{"param": "sample_rows", "min": 1000, "max": 100000, "eta": 3}]
    )
    enqueue: list[dict[str, Any]] = Field(default=[], description="Points that go first.")
    from_study: str | list[str] | None = Field(default=None, description="Studies whose trials it begins with.")
    from_runs: str | list[str] | None = Field(default=None, description="Past runs that it begins with as trials.")
    notify: str | list[str] | None = Field(default=None, description="The webhooks of the server to be told.")
    name: str | None = Field(default=None, min_length=1)
    executor: str | None = Field(default=None, pattern="^(inline|local|ray)$")
    queue: str | None = Field(default=None, description="Have agents of this queue drive the trials.")
    reuse: bool = True
