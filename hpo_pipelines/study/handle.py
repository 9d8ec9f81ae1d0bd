"""A study as the person who started it sees it: its trials, each with its run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import optuna

from hpo_pipelines.accounting import Accounting
from hpo_pipelines.errors import StudyError
from hpo_pipelines.remote import RemoteWorkspace
from hpo_pipelines.run import Run
from hpo_pipelines.store import TaskFilter
from hpo_pipelines.study.sampling import storage
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind, Status
from search_spaces import Space
from search_spaces.groups import flattened

if TYPE_CHECKING:
    import pandas as pd

    from hpo_pipelines.workspace import Workspace


@dataclass(frozen=True)
class Trial:
    """One trial of a study: its number, what was sampled, what it gave, and its run."""

    number: int
    params: Mapping[str, Any]
    value: float | None
    status: Status
    run: Run


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
    def direction(self) -> str:
        """``maximize`` or ``minimize``."""
        return str(self._task.params["direction"])

    @property
    def objective(self) -> str | None:
        """The metric, or the key of the returned dict, that is optimised; None: the returned number itself."""
        objective = self._task.params["objective"]
        return None if objective is None else str(objective)

    @property
    def optuna_study(self) -> optuna.Study:
        """Optuna's own study, for its plots and analyses; of a server's study a copy as it is now."""
        if isinstance(self.workspace, RemoteWorkspace):
            self.workspace.fetch_journal(self.id)
        return optuna.load_study(study_name=self.name, storage=storage(self._storage_url, self.workspace.home, self.id))

    @property
    def _storage_url(self) -> str | None:
        url = self._task.params.get("storage")
        return None if url is None else str(url)

    @property
    def runs(self) -> list[Run]:
        """The trials' runs, in the order of their numbers."""
        tasks = self.workspace.store.tasks.list(TaskFilter(kind=Kind.PIPELINE, study=self.id), limit=None)
        return [
            Run(self.workspace, task) for task in sorted(tasks, key=lambda task: task.trial or 0) if not task.parent
        ]

    @property
    def trials(self) -> list[Trial]:
        """Every trial that has a run, in the order of their numbers."""
        values = self.values
        numbered = [(run.task.trial or 0, run) for run in self.runs]
        return [Trial(number, run.task.params, values.get(number), run.status, run) for number, run in numbered]

    @property
    def values(self) -> Mapping[int, float]:
        """The value of each completed trial, by its number."""
        if isinstance(self.workspace, RemoteWorkspace):
            return self.workspace.trial_values(self.id)
        done = self.optuna_study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
        return {trial.number: trial.value for trial in done}

    @property
    def accounting(self) -> Accounting:
        """Seconds that the steps of its trials took, wasted, and saved by reuse."""
        return self.workspace.accounting(self.task)

    @property
    def best_trial(self) -> Trial:
        """The completed trial with the best value, the earliest of equals. Raises StudyError when none completed."""
        done = [trial for trial in self.trials if trial.value is not None]
        if not done:
            raise StudyError(f"study {self.name} has no completed trial yet; look at its runs for what failed.")
        sign = 1 if self.direction == "maximize" else -1
        return max(done, key=lambda trial: (sign * (trial.value or 0.0), -trial.number))

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
        """The parameters of the best run that the space gave it, with their types; inactive ones left out.

        A member of a group is called ``group.member``.
        """
        params = flattened(self.space, self.best_run.params)
        active: dict[str, Any] = {}
        for name in self.space.order():
            if self.space.is_active(name, active):
                active[name] = params[name]
        return active

    def trials_dataframe(self) -> pd.DataFrame:
        """One row a trial: number, status, value, run, ``params.*``, every metric, seconds, steps run and reused."""
        import pandas as pd

        rows = []
        for trial in self.trials:
            steps = trial.run.steps.values()
            rows.append(
                {
                    "number": trial.number,
                    "run": trial.run.label,
                    "status": str(trial.status),
                    "value": trial.value,
                    **{f"params.{name}": value for name, value in trial.params.items()},
                    **{f"metrics.{name}": value for name, value in trial.run.metrics.items()},
                    "seconds": trial.run.task.seconds,
                    "steps": len(steps),
                    "steps_reused": sum(step.reused_from is not None for step in steps),
                }
            )
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        return f"<study {self.name} {self.status}>"


def find(workspace: Workspace, name: str) -> Task | None:
    """The task of the study called ``name``, if there is one."""
    found = workspace.store.tasks.list(TaskFilter(kind=Kind.STUDY, name=name), limit=1)
    return found[0] if found else None
