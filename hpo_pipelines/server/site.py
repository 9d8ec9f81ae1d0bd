"""What the handlers of requests share: the workspace, who drives runs, the live feed, where MLflow's pages are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, Any

from fastapi import Depends, Request

from hpo_pipelines.errors import CodeUnavailable, HpoPipelinesError, TaskNotFound
from hpo_pipelines.run import Run
from hpo_pipelines.runstep import RunStep
from hpo_pipelines.server.access import Access
from hpo_pipelines.server.agent import Driving
from hpo_pipelines.server.derived import Derived
from hpo_pipelines.server.drives import StudyDrives
from hpo_pipelines.server.feed import Feed
from hpo_pipelines.server.sweeping import Sweeping
from hpo_pipelines.server.trials import Trials, goals
from hpo_pipelines.snapshot import Content
from hpo_pipelines.store import TaskFilter
from hpo_pipelines.study import Analysis, Study
from hpo_pipelines.task import Task
from hpo_pipelines.tracking import run_id_of
from hpo_pipelines.types import Kind
from hpo_pipelines.workspace import Workspace


@dataclass
class Site:
    """One server's parts."""

    workspace: Workspace
    agent: Driving
    feed: Feed
    has_mlflow: bool = False
    access: Access = field(default_factory=Access)
    sweeping: Sweeping = field(init=False)
    drives: StudyDrives = field(init=False)
    _contents: dict[str, Content] = field(default_factory=dict)
    derived: Derived = field(default_factory=Derived)
    _analyses: dict[str, Analysis] = field(default_factory=dict)
    _trials: dict[str, tuple[int, Trials]] = field(default_factory=dict)
    """Of each study that was looked at: the store's last event then, and the trials."""

    def __post_init__(self) -> None:
        self.sweeping = Sweeping(self.workspace)
        self.drives = StudyDrives(self.workspace)
        self.drives.take_up()

    # -- finding

    def run(self, reference: str) -> Run:
        """The run called ``reference``. Raises TaskNotFound."""
        return self.workspace.run_called(reference)

    def step(self, run: str, name: str) -> RunStep:
        """The step ``name`` of a run. Raises TaskNotFound."""
        found = self.workspace.get(f"{self.run(run).id}/{name}")
        if isinstance(found, RunStep):
            return found
        raise TaskNotFound(f"{name!r} is a run inside {run}; ask for it by its own id, {found.id}.")

    def study(self, reference: str) -> Study:
        """The study with this id, or this name. Raises StudyError for a name, TaskNotFound for an id, that is none."""
        task = self.workspace.store.tasks.get_all([reference]).get(reference)
        if task is not None and task.kind is Kind.STUDY:
            return Study(self.workspace, task)
        found = [each for each in self.studies() if each.name == reference]
        if found:
            return Study(self.workspace, found[0])
        names = ", ".join(each.name for each in self.studies()[:20]) or "none"
        raise TaskNotFound(f"there is no study called {reference!r}; there are: {names}.")

    def studies(self, *, archived: bool | None = None) -> list[Task]:
        """The tasks of all studies, or of those that are archived or are not; newest first."""
        return self.workspace.store.tasks.list(TaskFilter(kind=Kind.STUDY, archived=archived), limit=None)

    def analysis(self, study: Study) -> Analysis:
        """What Optuna knows of ``study``: its trials' values, and the importance of its parameters."""
        if study.id not in self._analyses:
            self._analyses[study.id] = Analysis(study)
        return self._analyses[study.id]

    def trials(self, study: Study) -> Trials:
        """The trials of ``study`` as they stand; of one that was looked at before, only what may have changed is read.

        Safe to use from many threads.
        """
        store = self.workspace.store
        news = store.events.last()
        before = self._trials.get(study.id)
        if before is not None and before[0] == news:
            return before[1]
        rows = [] if before is None else before[1].rows
        runs = sum(store.studies.counts(study.id).values())
        analysis = self.analysis(study)
        values = analysis.values_among(runs)
        violations = analysis.violations if analysis.goals.constraints else {}
        found = None
        if before is not None:
            first = rows[before[1].settled - 1].trial + 1 if before[1].settled else 0
            found = before[1].read_on(store.studies.rows(study.id, first=first), values, violations)
        if found is None or len(found.rows) != runs:  # some were deleted, say
            found = Trials(goals(study.task), study.space, store.studies.rows(study.id), values, violations)
        self._trials[study.id] = news, found
        return found

    # -- code

    def content(self, task: Task) -> Content:
        """The code that ``task`` was recorded with, as text; nothing of it is run. Raises CodeUnavailable."""
        digest = task.snapshot
        if digest is None:
            raise CodeUnavailable(f"{task.label} was recorded without its code.")
        if digest not in self._contents:
            ref = self.workspace.engine.snapshot_ref(digest)
            self._contents[digest] = Content.decode(self.workspace.artifacts.read_bytes(ref))
        return self._contents[digest]

    def sources(self, task: Task) -> Mapping[str, str]:
        """Component → source; the pipeline's own body under its name. Empty where the code is not to be had."""
        try:
            content = self.content(task)
        except HpoPipelinesError:
            return {}
        body = _body(content)
        return {**content.components, **({str(task.pipeline): body} if body else {})}

    def schema(self, run: Run) -> list[dict[str, Any]]:
        """The parameters of the run's pipeline. Raises CodeUnavailable."""
        pipeline, _ = self.workspace.code(run.task)
        return pipeline.parameters.schema()

    # -- links

    def label_of(self, task_id: str | None) -> str | None:
        """What a task is called, for links; None for none, and for one deleted since."""
        if task_id is None:
            return None
        task = self.workspace.store.tasks.get_all([task_id]).get(task_id)
        return None if task is None else task.label

    def mlflow_page(self, task: Task) -> str | None:
        """The page of MLflow's run that shows ``task``, None as long as there is none."""
        if not self.has_mlflow:
            return None
        run = run_id_of(self.workspace.store, self.workspace.settings, task.id)
        return None if run is None else f"/mlflow-run/{run}"

    def close(self) -> None:
        self.feed.close()
        self.drives.close()
        self.agent.close()
        self.sweeping.close()


def _body(content: Content) -> str:
    """The source of the pipeline's own function, with its decorators."""
    module, _, qualname = content.entry.partition(":")
    unit = content.modules.get(module)
    texts = [unit.source] if unit is not None else list(content.texts.values())
    return next((found for text in texts if (found := _function(text, qualname.rpartition(".")[2]))), "")


@lru_cache(maxsize=128)
def _function(text: str, name: str) -> str:
    import ast

    try:
        tree = ast.parse(text)
    except SyntaxError:
        return ""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            return "\n".join(text.splitlines()[first - 1 : node.end_lineno]) + "\n"
    return ""


def _site(request: Request) -> Site:
    return request.app.state.site  # type: ignore[no-any-return]


SiteOf = Annotated[Site, Depends(_site)]
