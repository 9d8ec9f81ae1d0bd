"""A study as the person who started it sees it: its trials, each with its run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import optuna

from hpo_pipelines.accounting import Accounting
from hpo_pipelines.engine.rungs import Ladder
from hpo_pipelines.errors import StudyError
from hpo_pipelines.remote import RemoteWorkspace
from hpo_pipelines.run import Run
from hpo_pipelines.store import TaskFilter
from hpo_pipelines.store.chain import first
from hpo_pipelines.study.gathered import trials_of
from hpo_pipelines.study.goals import Goals, least_violated
from hpo_pipelines.study.imported import Imported, Pinned
from hpo_pipelines.study.outcome import outcome_of
from hpo_pipelines.study.rebuilt import is_behind, rebuilt
from hpo_pipelines.study.sampling import storage
from hpo_pipelines.study.trial import Trial
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind, Status
from search_spaces import Space
from search_spaces.groups import flattened

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from hpo_pipelines.planning import Reach
    from hpo_pipelines.study.planned import PlanComparison
    from hpo_pipelines.workspace import Workspace


class Study:
    """A recorded study, running or not."""

    def __init__(self, workspace: Workspace, task: Task) -> None:
        self.workspace = workspace
        self._task = task

    @classmethod
    def called(cls, workspace: Workspace, name: str) -> Study:
        """The study with this name. Raises StudyError listing those there are."""
        task = find(workspace, name)
        if task is None:
            names = ", ".join(sorted(task.name for task in workspace.store.tasks.list(TaskFilter(kind=Kind.STUDY))))
            raise StudyError(f"there is no study called {name!r}; there are: {names or 'none'}.")
        return cls(workspace, task)

    @property
    def task(self) -> Task:
        return self.workspace.store.tasks.get(self._task.id)

    @property
    def id(self) -> str:
        return self._task.id

    @property
    def name(self) -> str:
        return self._task.name

    @property
    def status(self) -> Status:
        return self.task.status

    @property
    def is_abandoned(self) -> bool:
        """Whether it is recorded as running while nobody drives it. The same name goes on with it."""
        running = self.status is Status.RUNNING
        return running and not self.workspace.engine.liveness.is_held(f"study:{self.id}")

    @property
    def reason(self) -> str | None:
        """Why it ended, or what was said of it last."""
        return self.task.reason

    @property
    def stopped_by(self) -> str | None:
        """Which limit ended it, by the name of its option: ``n_trials``, ``target``, …; None while none has."""
        found = self.task.params.get("stopped_by")
        return None if found is None else str(found)

    @property
    def goals(self) -> Goals:
        """Its objectives, their directions, and its constraints."""
        return Goals.recorded(self._task.params)

    @property
    def objectives(self) -> tuple[str | None, ...]:
        """The metrics, or keys of the returned dict, that are optimised; None: the returned number itself."""
        return self.goals.objectives

    @property
    def directions(self) -> tuple[str, ...]:
        """``maximize`` or ``minimize``, for each objective."""
        return self.goals.directions

    @property
    def direction(self) -> str:
        """The direction of the objective; of several that of the first."""
        return self.goals.directions[0]

    @property
    def objective(self) -> str | None:
        """The objective; of several the first."""
        return self.goals.objectives[0]

    @property
    def optuna_study(self) -> optuna.Study:
        """Optuna's own study, for its plots and analyses; of a server's study a copy as it is now.

        In memory, made from our store, where its storage is a file of another machine, or has less.
        """
        known, runs = self._stored_by_optuna, self.runs
        if known is not None and not is_behind(known, runs):
            return known
        params = self._task.params
        pinned = Pinned(self.space, self.goals, Ladder.of_option(params.get("fidelity")))
        began_with = [run for _, run in self.imported.found(self.workspace)]
        return rebuilt(runs, pinned, name=self.name, began_with=began_with)

    @property
    def _stored_by_optuna(self) -> optuna.Study | None:
        if isinstance(self.workspace, RemoteWorkspace):
            self.workspace.fetch_journal(self.id)
        try:
            place = storage(self._storage_url, self.workspace.home, self.id)
            return optuna.load_study(study_name=self.name, storage=place)
        except KeyError:  # no study of this name
            return None

    @property
    def _storage_url(self) -> str | None:
        url = self._task.params.get("storage")
        return None if url is None else str(url)

    @property
    def runs(self) -> list[Run]:
        """The trials' runs, in the order of their numbers."""
        tasks = self.workspace.store.tasks.list(TaskFilter(kind=Kind.PIPELINE, study=self.id), limit=None)
        # Attempts that asked for another are the study's as well, but the trial is the last.
        trials = [task for task in tasks if not task.parent and task.trial is not None]
        return [Run(self.workspace, task) for task in sorted(trials, key=lambda task: task.trial or 0)]

    @property
    def trials(self) -> list[Trial]:
        """Every trial that has a run, in the order of their numbers; those that were brought in have the first."""
        return trials_of(self)

    @property
    def repeats(self) -> dict[str, list[Any]]:
        """The parameter that the runs of one trial differ in, with its values; empty without repeats."""
        return dict(self._task.params.get("repeats") or {})

    @property
    def accounting(self) -> Accounting:
        """Seconds that the steps of its trials took, wasted, and saved by reuse."""
        return self.workspace.accounting(self.task)

    @property
    def best_trials(self) -> list[Trial]:
        """The feasible completed trials that no other is better than: of several objectives the Pareto front.

        Best first by the first objective; of one objective the best trial alone, the earliest of equals. Empty while
        no feasible trial has completed.
        """
        return self.front_of(self.trials)

    def front_of(self, trials: Sequence[Trial]) -> list[Trial]:
        """:attr:`best_trials` among ``trials``."""
        done = {trial.number: trial for trial in trials if trial.values is not None and trial.is_feasible}
        return [done[number] for number in self.goals.front({n: trial.values or () for n, trial in done.items()})]

    @property
    def best_trial(self) -> Trial:
        """The feasible completed trial with the best value, the earliest of equals.

        Raises StudyError when there is none, and of a study with several objectives, whose best are several.
        """
        if self.goals.several:
            raise StudyError(
                f"study {self.name} has {len(self.objectives)} objectives, so no one trial is best: best_trials is its "
                f"Pareto front (in the shell: hpo best {self.name})."
            )
        trials = self.trials
        for best in self.front_of(trials):
            return best
        done = {trial.number: trial.violations for trial in trials if trial.values is not None}
        nearest = least_violated(done)
        if nearest is None:
            raise StudyError(f"study {self.name} has no completed trial yet; {self.lacking(trials)}")
        broken = ", ".join(f"{key} by {amount:.4g}" for key, amount in done[nearest].items() if amount > 0)
        raise StudyError(
            f"none of the {len(done)} completed trials of study {self.name} satisfies its constraints; trial {nearest} "
            f"comes nearest (violates {broken})."
        )

    def lacking(self, trials: Sequence[Trial]) -> str:
        """Why none of ``trials`` has a value."""
        for trial in trials:
            problem = outcome_of(self.workspace, trial.run.task, self.goals).problem
            if problem:  # its run has completed, so that nothing of it says so
                return f"of trial {trial.number}: {problem.rstrip('.')}."
        return "look at its runs for what failed."

    @property
    def best_run(self) -> Run:
        return self.best_trial.run

    @property
    def best_value(self) -> float:
        value = self.best_trial.value
        assert value is not None
        return value

    @property
    def space(self) -> Space:
        """The search space, as it is pinned."""
        return Space(self._task.params["space"])

    @property
    def best_params(self) -> dict[str, Any]:
        """The parameters that the space gave the best run, with their types; inactive ones left out.

        Of a trial that was retriggered those that it began with. A member of a group is called ``group.member``.
        """
        return self.given_to(self.best_run)

    def given_to(self, run: Run) -> dict[str, Any]:
        """The parameters of the ``run`` of a trial that the space gave it, as in :attr:`best_params`."""
        params = flattened(self.space, Run(self.workspace, first(self.workspace.store.tasks, run.task)).params)
        active: dict[str, Any] = {}
        for name in self.space.order():
            if self.space.is_active(name, active):
                active[name] = params[name]
        return active

    def reach(self) -> Reach:
        """Which parameters of its space reach which step: by following the body, checked against its trials' keys."""
        from hpo_pipelines.study.reaching import reach_of

        return reach_of(self)

    def plan_comparison(self) -> PlanComparison:
        """What was planned before it began (``hpo optimize --plan``) against what has happened so far.

        Raises StudyError for a study that was not planned.
        """
        from hpo_pipelines.study.plans import compared

        return compared(self)

    @property
    def imported(self) -> Imported:
        """The trials that it began with, which were run elsewhere."""
        return Imported.recorded(self._task.params)

    @property
    def fidelity(self) -> dict[str, Any]:
        """The parameter whose ``values`` trials climb, as it is recorded; empty without ``fidelity``."""
        return dict(self._task.params.get("fidelity") or {})

    def enqueue(self, params: Mapping[str, Any] | None = None, /, **named: Any) -> bool:
        """Have it run one more trial next, with a value for each parameter of the space; a group's members in a dict.

        False if nobody drives it: then it runs once the study is resumed. Raises ParameterError for what is not a point
        of the space, StudyError for a study that takes no point but its own.
        """
        from hpo_pipelines.study.requests import enqueue

        return enqueue(self, {**(params or {}), **named})

    def continue_trial(self, number: int) -> bool:
        """Have it run one more trial next that continues trial ``number``, which was pruned; nothing prunes it again.

        It has the same parameters and takes what that trial has computed; :attr:`Trial.continues` links the two. False
        if nobody drives the study: then it runs once that is resumed. Raises StudyError for a trial that was not
        pruned, or is continued already.
        """
        from hpo_pipelines.study.requests import continue_trial

        return continue_trial(self, number)

    def narrowed(self, keep: float = 0.2) -> Space:
        """Its space around the best of its trials; see :func:`hpo_pipelines.study.narrowing.narrowed`."""
        from hpo_pipelines.study.narrowing import narrowed

        return narrowed(self, keep)

    def trials_dataframe(self) -> pd.DataFrame:
        """One row a trial, in the order of their numbers, for pandas.

        ``number``, ``run``, ``status``, ``reason``, ``value`` (with several objectives ``values.NAME`` for each; with
        repeats also ``….std`` and ``….ci95``; with constraints ``feasible``), ``params.NAME``, ``metrics.NAME`` of
        every step, ``steps`` and ``steps_reused``, of each component ``seconds.NAME`` (executed for this trial, 0 if
        reused) and ``reused.NAME`` (how many of its calls), and ``seconds`` from start to end. Where a trial was
        retriggered, ``attempts``; metrics, steps and seconds are then those of its last attempt. With ``fidelity`` also
        that, the highest value reached; and ``origin`` and ``continues`` where trials have any.
        """
        from hpo_pipelines.study.frame import trials_frame

        return trials_frame(self)

    def figure(self, kind: str, *, objective: str | Sequence[str] | None = None) -> go.Figure:
        """A Plotly figure, for notebooks, ``write_html`` and ``write_image``.

        ``history``     the value of each trial, and the best so far
        ``parallel``    parameters and value of each trial as a line
        ``importance``  how much of the value each parameter explains, by PED-ANOVA (Watanabe et al., IJCAI 2023)
        ``slice``       values over each parameter
        ``pareto``      the trials by two or three objectives, with the front
        ``sharing``     of each trial the seconds of each component: executed for it, and taken from another

        Of several objectives the first four are of ``objective`` (default: the first); ``pareto`` of two or three
        named there, where there are more. Raises StudyError for no such figure or objective, while there is nothing
        to draw, and without Plotly (``pip install 'hpo-pipelines[plots]'``).
        """
        from hpo_pipelines.study.figures import figure

        return figure(self, kind, objective)

    def promote(self, trial: int | None = None, *, register: str | None = None, output: str | None = None) -> Run:
        """Clone the best trial, or the one with this number, as a run of its own, tagged ``promoted``.

        All that the trial has computed is reused. ``register`` is the name of a model in MLflow's registry that gets a
        new version, with the study, the trial, the run and the digest of its code as tags; the run then is tagged
        ``model=NAME/VERSION``. The model is what a step logged last into MLflow; or else ``output``, an output that
        predicts: ``fit.model``, ``fit`` of a step with one output, or a key of the returned dict. A scikit-learn
        estimator is logged as that, anything else as a pyfunc.

        Raises StudyError for a study without a completed trial, or with several objectives and no ``trial``, and where
        there is no model; TaskNotFound for no such output; ConfigError and TrackingError for MLflow.
        """
        from hpo_pipelines.study.promotion import promote

        return promote(self, trial, register, output)

    def __repr__(self) -> str:
        return f"<study {self.name} {self.status}>"


def find(workspace: Workspace, name: str) -> Task | None:
    """The task of the study called ``name``, if there is one."""
    found = workspace.store.tasks.list(TaskFilter(kind=Kind.STUDY, name=name), limit=1)
    return found[0] if found else None
