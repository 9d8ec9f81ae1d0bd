"""Figures of a study for notebooks and files: Optuna's own where they fit, and what its trials shared."""

from __future__ import annotations

import copy
import difflib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from hpo_pipelines.accounting import executed_seconds
from hpo_pipelines.errors import StudyError
from hpo_pipelines.study.goals import Goals
from hpo_pipelines.types import Kind

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from hpo_pipelines.study.handle import Study
    from hpo_pipelines.task import Task

KINDS = ("history", "parallel", "importance", "pareto", "slice", "sharing")
_AXES = (2, 3)
"""How many objectives a drawing of a front has room for."""
_COMPLETE = (TrialState.COMPLETE,)

Objective = str | Sequence[str] | None


def figure(study: Study, kind: str, objective: Objective = None) -> go.Figure:
    """See :meth:`Study.figure`."""
    draw = _DRAWN.get(kind)
    if draw is None:
        near = difflib.get_close_matches(str(kind), KINDS, 1)
        raise StudyError(f"there is no figure {kind!r}; there are {', '.join(KINDS)}." + _meant(near))
    _needs_plotly()
    made = draw(study, objective)
    made.update_layout(title=f"{study.name}: {_TITLES[kind]}")
    return made


def _meant(near: Sequence[str]) -> str:
    return f" Did you mean {near[0]!r}?" if near else ""


def _needs_plotly() -> None:
    try:
        import plotly.graph_objects  # noqa: F401
    except ImportError as error:
        raise StudyError(
            f"figures need Plotly, which does not import here ({error}): pip install 'hpo-pipelines[plots]'."
        ) from None


# -- Optuna's


def _history(study: Study, objective: Objective) -> go.Figure:
    return _of_one(optuna.visualization.plot_optimization_history, study, objective)


def _parallel(study: Study, objective: Objective) -> go.Figure:
    return _of_one(optuna.visualization.plot_parallel_coordinate, study, objective)


def _slice(study: Study, objective: Objective) -> go.Figure:
    return _of_one(optuna.visualization.plot_slice, study, objective)


def _importance(study: Study, objective: Objective) -> go.Figure:
    from hpo_pipelines.study.analysis import Analysis

    if not Analysis(study).importances_of(_place(study, objective)):
        raise StudyError(
            f"study {study.name} cannot say yet which parameters matter: it has too few trials, or all of one value."
        )
    return _of_one(optuna.visualization.plot_param_importances, study, objective)


def _of_one(draw: Callable[..., go.Figure], study: Study, objective: Objective) -> go.Figure:
    """A figure of one objective: the one called so, else the first."""
    place = _place(study, objective)
    whole = _known(study)
    with _quietly():
        return draw(_alone(whole, study.goals, place), target_name=study.goals.names[place])


def _place(study: Study, objective: Objective) -> int:
    names = study.goals.names
    if objective is None:
        return 0
    if not isinstance(objective, str) or objective not in names:
        raise StudyError(f"objective={objective!r}: name one of {', '.join(names)}." + _meant(_near(objective, names)))
    return names.index(objective)


def _near(objective: object, names: Sequence[str]) -> list[str]:
    return difflib.get_close_matches(objective, names, 1) if isinstance(objective, str) else []


def _known(study: Study) -> optuna.Study:
    """Optuna's side. Raises StudyError while no trial has a value: Optuna draws an empty figure then."""
    found = study.optuna_study
    if not found.get_trials(deepcopy=False, states=_COMPLETE):
        raise StudyError(f"study {study.name} has no completed trial yet; {study.lacking(study.trials)}")
    return found


def _alone(study: optuna.Study, goals: Goals, place: int) -> optuna.Study:
    """``study`` with one of its objectives alone, in memory.

    Of several Optuna draws no best values, and takes each for one to minimize when it weighs parameters.
    """
    if not goals.several:
        return study
    made = _in_memory(study.study_name, [goals.directions[place]])
    for trial in study.get_trials(deepcopy=False):
        one = copy.copy(trial)
        if trial.state is TrialState.COMPLETE:
            one.values = [trial.values[place]]
        made._storage.create_new_trial(made._study_id, template_trial=one)
    return made


def _in_memory(name: str, directions: Sequence[str]) -> optuna.Study:
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(
            study_name=name, directions=list(directions), sampler=optuna.samplers.RandomSampler(0)
        )
    finally:
        optuna.logging.set_verbosity(verbosity)


def _pareto(study: Study, objective: Objective) -> go.Figure:
    goals = study.goals
    named = tuple(objective) if isinstance(objective, list | tuple) else (objective,)
    names = goals.names if objective is None else named
    places = [_place(study, name) for name in names]
    if len(places) not in _AXES or len(set(places)) < len(places):
        cure = "name two or three with objective=[…]" if len(goals.names) > max(_AXES) else "draw its history instead"
        raise StudyError(
            f"a Pareto front is drawn of 2 or 3 objectives, not {len(places)} ({', '.join(names)}) of study "
            f"{study.name}: {cure}."
        )

    def targets(trial: FrozenTrial) -> list[float]:
        return [trial.values[place] for place in places]

    with _quietly():
        return optuna.visualization.plot_pareto_front(_known(study), target_names=list(names), targets=targets)


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what Optuna says of its own experiments, which is nothing that whoever looks at a figure can act on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.filterwarnings("ignore", "PedAnovaImportanceEvaluator computes", UserWarning)
        yield


# -- ours


def _sharing(study: Study, objective: Objective) -> go.Figure:
    """Of each trial the seconds of each component, stacked: executed for it, and pale what it took from another."""
    import plotly.graph_objects as go
    from plotly.colors import qualitative

    if objective is not None:
        raise StudyError("the figure of sharing is of all steps, whatever the objective: leave objective= out.")
    numbers, executed, reused = shared_seconds(study)
    if not numbers:
        raise StudyError(f"study {study.name} has no trial yet.")
    bars = []
    for position, name in enumerate(executed):
        color = qualitative.Plotly[position % len(qualitative.Plotly)]
        for seconds, word, opacity in ((executed[name], "executed", 1.0), (reused[name], "reused", 0.3)):
            if any(seconds):
                hover = f"%{{x}}: %{{y:.4g}} s {word}<extra>{name}</extra>"
                bars.append(
                    go.Bar(
                        x=numbers, y=seconds, name=f"{name}, {word}", legendgroup=name, hovertemplate=hover,
                        marker={"color": color, "line": {"width": 0}}, opacity=opacity,
                    )
                )  # fmt: skip
    layout = {"barmode": "stack", "bargap": 0.1, "xaxis_title": "Trial", "yaxis_title": "Seconds of steps"}
    return go.Figure(bars, layout)


def shared_seconds(study: Study) -> tuple[list[int], dict[str, list[float]], dict[str, list[float]]]:
    """The numbers of the trials, and by component, for each of them, the seconds executed and those reused.

    Components come in the order in which trials first called them. A reused step has the seconds of the execution that
    it stands for, 0 where these are known no more.
    """
    runs, store = study.runs, study.workspace.store
    below = store.tasks.below([run.id for run in runs])
    steps = [task for task in below if task.kind is Kind.STEP]
    took = executed_seconds(store, {step.reused_from for step in steps if step.reused_from is not None})
    place_of = _places({run.id: place for place, run in enumerate(runs)}, below)
    executed: dict[str, list[float]] = {}
    reused: dict[str, list[float]] = {}
    for step in sorted(steps, key=lambda step: (place_of[step.id], step.position or 0)):
        name = step.component or step.name
        for each in (executed, reused):
            each.setdefault(name, [0.0] * len(runs))
        if step.reused_from is None:
            executed[name][place_of[step.id]] += step.seconds or 0.0
        else:
            reused[name][place_of[step.id]] += took.get(step.reused_from, 0.0)
    return [run.task.trial or 0 for run in runs], executed, reused


def _places(tops: Mapping[str, int], below: Sequence[Task]) -> dict[str, int]:
    """Which trial each task is of; ``below`` comes level by level."""
    found = dict(tops)
    for task in below:
        found[task.id] = found[str(task.parent)]
    return found


_DRAWN: Mapping[str, Callable[[Any, Objective], Any]] = {
    "history": _history,
    "parallel": _parallel,
    "importance": _importance,
    "pareto": _pareto,
    "slice": _slice,
    "sharing": _sharing,
}
_TITLES = {
    "history": "values by trial",
    "parallel": "parameters and values",
    "importance": "which parameters matter",
    "pareto": "Pareto front",
    "slice": "values by parameter",
    "sharing": "seconds of steps, executed and reused",
}
