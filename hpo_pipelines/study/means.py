"""How the trials of a study are chosen, pruned and driven: samplers and pruners as they are asked for, and recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import optuna

from hpo_pipelines.errors import StudyError
from hpo_pipelines.study import pruning, samplers, sampling
from hpo_pipelines.study.goals import Goals
from hpo_pipelines.study.limits import Limits
from search_spaces import Space


@dataclass(frozen=True)
class Means:
    """How the trials of a study are chosen, pruned and driven, as ``optimize`` is asked for it."""

    sampler: str | Mapping[str, Any] | optuna.samplers.BaseSampler | None = None
    pruner: str | optuna.pruners.BasePruner | None = None
    prune_on: str | Sequence[str] | None = None
    seed: int | None = None
    queue: str | None = None
    reuse: bool = True
    notify: str | Sequence[str] | None = None
    """The webhooks that are told of the study; None: all that are not only for those that ask."""

    @classmethod
    def asked(cls, asked: Mapping[str, Any]) -> Means:
        """As they were recorded by :meth:`as_asked`."""
        given = {name: asked[name] for name in cls.__dataclass_fields__ if name in asked}
        return cls(**given)

    def as_asked(self) -> dict[str, Any]:
        """As they are kept with the study; of an object only what it is."""
        return {**vars(self), "sampler": _named(self.sampler), "pruner": _named(self.pruner)}

    def sampler_for(self, space: Space, goals: Goals, begun: int = 0) -> optuna.samplers.BaseSampler:
        """The sampler. A seeded one that began anew would propose the points of the ``begun`` trials again."""
        default = "nsgaii" if goals.several else "tpe"
        seed = None if self.seed is None else self.seed + begun
        made = samplers.sampler(default if self.sampler is None else self.sampler, seed, space)
        if goals.several and isinstance(made, optuna.samplers.CmaEsSampler):
            raise StudyError("sampler='cmaes' is for one objective; for several there are nsgaii, nsgaiii, tpe and gp.")
        if goals.several and samplers.is_memo(made):
            raise StudyError(
                "sampler='memo-gp' is for one objective; for several, prefix-reuse goes around any other: "
                "prefix-reuse(base=nsgaii)."
            )
        return made

    def limited(self, limits: Limits, space: Space, goals: Goals) -> Limits:
        """``limits`` with the end that an exhaustive sampler has by itself. Raises StudyError for a wrong sampler."""
        timed = limits.timeout is not None or limits.plateau is not None
        return replace(
            limits, n_trials=samplers.limit(self.sampler_for(space, goals), space, limits.n_trials, timed=timed)
        )

    def pruned_by(self) -> optuna.pruners.BasePruner:
        return sampling.pruner("median" if self.pruner is None and self.prune_on is not None else self.pruner)

    def metrics(self, goals: Goals) -> dict[str, str]:
        """What the pruner hears; see :func:`pruning.directions`."""
        prunes = not isinstance(self.pruned_by(), optuna.pruners.NopPruner)
        if self.prune_on is not None and not prunes:
            raise StudyError("prune_on= says what is pruned on, and pruner='none' that nothing is: leave one out.")
        return pruning.directions(self.prune_on, goals, prunes=prunes)


def _named(choice: object) -> Any:
    """A sampler or pruner as it is recorded: its name and options, or, of an object, only what it is."""
    if isinstance(choice, Mapping):
        return dict(choice)
    return choice if choice is None or isinstance(choice, str) else {"object": type(choice).__name__}
