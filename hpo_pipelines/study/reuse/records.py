"""What a sampler is told of the trials so far: what each stage took, and whether what it gave is still kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, Protocol, runtime_checkable

from optuna.trial import FrozenTrial, TrialState

from hpo_pipelines.study.reuse.stages import Stages

SECONDS = "stage_seconds"
"""The user attribute, of a trial of plain Optuna, that has the seconds of each stage that it computed.

Stages that it took from the cache are left out: ``trial.set_user_attr("stage_seconds", {"fit": 12.5})``.
"""


class Standing(Enum):
    """What has become of a stage of a trial."""

    KEPT = "kept"
    """Whoever has the same parameters gets what it gave, without computing it."""
    UNDER_WAY = "under way"
    """It is being computed, or will be, by a trial that is running."""
    GONE = "gone"
    """It was never computed, or is no longer kept."""


class Records(Protocol):
    """Where a sampler reads of the trials. Every method is asked again with each proposal."""

    def stages(self, trials: Sequence[FrozenTrial]) -> Stages | None:
        """The stages of the pipeline, as far as ``trials``, the finished ones, show them; None while they do not."""

    def seconds(self, trial: FrozenTrial) -> Mapping[str, float]:
        """The seconds of each stage that ``trial`` computed, or was the first of the study to need.

        What another study has computed costs nothing here, but says what the next one like it would.
        """

    def standing(self, trial: FrozenTrial, stage: str) -> Standing:
        """Whether what ``stage`` gave in ``trial`` is there to be used again."""

    def allows(self, params: Mapping[str, Any]) -> bool:
        """Whether a trial may have ``params``, as far as these say: constraints between parameters may forbid it."""


@runtime_checkable
class Attachable(Protocol):
    """A sampler that knows stages: those that it was given, or else those of records."""

    stages: Stages | None

    def attach(self, records: Records) -> None:
        """Read ``records`` from now on."""


class TrialRecords:
    """Reads a plain Optuna study: seconds from the user attribute :data:`SECONDS`, stages as they are given.

    ``kept(trial, stage)`` says whether a completed trial's stage still is in the cache; without it, all are.
    """

    def __init__(self, stages: Stages | None, kept: Callable[[FrozenTrial, str], bool] | None = None) -> None:
        self._stages = stages
        self._kept = kept

    def stages(self, trials: Sequence[FrozenTrial]) -> Stages | None:
        return self._stages

    def seconds(self, trial: FrozenTrial) -> Mapping[str, float]:
        found: Any = trial.user_attrs.get(SECONDS, {})
        return {str(name): float(seconds) for name, seconds in found.items()}

    def standing(self, trial: FrozenTrial, stage: str) -> Standing:
        if trial.state is TrialState.RUNNING:
            return Standing.UNDER_WAY
        if trial.state is not TrialState.COMPLETE or (self._kept is not None and not self._kept(trial, stage)):
            return Standing.GONE
        return Standing.KEPT

    def allows(self, params: Mapping[str, Any]) -> bool:
        return True
