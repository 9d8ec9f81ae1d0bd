"""What pages and REST say of a study: in lists, in its facts, and of each of its trials."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hpo_pipelines.accounting import Accounting
from hpo_pipelines.engine.repeats import Spread
from hpo_pipelines.server.listing import MOST, rows_of
from hpo_pipelines.server.site import Site
from hpo_pipelines.server.trials import Goal, Trials, front, goals
from hpo_pipelines.store import TaskFilter
from hpo_pipelines.store.studies import Shared, TrialRow
from hpo_pipelines.study import Study
from hpo_pipelines.study.imported import Imported
from hpo_pipelines.study.samplers import exhaustive
from hpo_pipelines.study.trial import spreads_of
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind
from search_spaces.groups import flattened

BEST = 5
"""How many of the best trials are offered for comparison."""


def summary(site: Site, task: Task) -> dict[str, Any]:
    """What lists say of a study: name, status, how many trials stand where, the best value and its run."""
    study = Study(site.workspace, task)
    counts = site.workspace.store.studies.counts(task.id)
    (goal, *others) = goals(task)
    analysis = site.analysis(study)
    values, infeasible = analysis.values_among(sum(counts.values())), analysis.infeasible
    best = _best(site, task.id, goal, values, infeasible)
    run = None if best is None else _run_of(site, task, best)
    return {
        "id": task.id,
        "name": task.name,
        "project": task.project,
        "pipeline": task.pipeline,
        "status": str(task.status),
        "abandoned": study.is_abandoned,
        "reason": task.reason,
        "direction": task.params["direction"],
        "objective": task.params["objective"],
        "goals": [vars(each) for each in (goal, *others)],
        "constraints": [str(each) for each in study.goals.constraints],
        "repeats": study.repeats or None,
        "stopped_by": study.stopped_by,
        "trials": sum(counts.values()),
        "asked": (task.params.get("asked") or {}).get("n_trials"),
        "counts": counts,
        "best_value": None if best is None else values[best][0],
        "best_trial": best,
        "best_run": None if run is None else run.id,
        "best_run_label": None if run is None else run.label,
        "cloned_from": task.cloned_from,
        "created_at": task.created_at,
        "started_at": task.started_at,
        "finished_at": task.finished_at,
        "seconds": task.seconds,
        "archived_at": task.archived_at,
    }


def _best(
    site: Site, study: str, goal: Goal, values: Mapping[int, tuple[float, ...]], infeasible: frozenset[int]
) -> int | None:
    """The number of the best trial, found anew when there are more: values are told once, and stay."""

    def best() -> int | None:
        feasible = values.keys() - infeasible
        return max(feasible, key=lambda number: (goal.sign * values[number][0], -number), default=None)

    return site.derived.get(("best", study), hash((len(values), len(infeasible))), best, exact=True)


def _run_of(site: Site, study: Task, trial: int) -> Task | None:
    tasks = site.workspace.store.tasks
    brought = Imported.recorded(study.params).runs
    if trial < len(brought):  # it was run elsewhere
        return tasks.get_all([brought[trial]]).get(brought[trial])
    found = tasks.list(TaskFilter(kind=Kind.PIPELINE, study=study.id, trial=trial, top=True), limit=1)
    return found[0] if found else None


def spreads(site: Site, study: Study, trials: Sequence[TrialRow]) -> dict[int, tuple[Spread, ...]]:
    """Of each of ``trials`` that has values, by its number, how they spread over its repeats; empty without repeats."""
    if not study.repeats:
        return {}
    values = site.trials(study).values
    reported: dict[str, dict[str, float]] = {}
    for (run, name), value in site.workspace.store.metrics.latest([row.run for row in trials]).items():
        reported.setdefault(run, {})[name] = value
    names = study.goals.names
    return {
        row.trial: spreads_of(names, values[row.trial], reported.get(row.run, {}))
        for row in trials
        if row.trial in values
    }


# -- what takes long: see hpo_pipelines.server.derived


def accounting(site: Site, study: Study, version: int, *, exact: bool = False) -> Accounting:
    """What the trials have cost and saved, as it was when ``version`` of them had ended."""
    return site.derived.get(("accounting", study.id), version, lambda: study.accounting, exact=exact)


def importances(site: Site, study: Study, version: int, *, exact: bool = False) -> dict[str, float]:
    """How much of the objective each parameter explains."""
    return site.derived.get(("importances", study.id), version, lambda: site.analysis(study).importances, exact=exact)


def shared_work(site: Site, study: Study, version: int) -> list[Shared]:
    """Of each component how often it ran and how often it was reused."""
    return site.derived.get(("work", study.id), version, lambda: site.workspace.store.studies.work(study.id))


def finished(counts: dict[str, int]) -> int:
    """How many trials have ended, of those that :func:`summary` counts: the version of what is derived from them."""
    return sum(count for status, count in counts.items() if status not in ("draft", "queued", "running"))


# -- the parts of the page


def facts(site: Site, study: Study, *, patient: bool) -> dict[str, Any]:
    """The numbers at the top of the page. Without ``patient`` what takes long is None where it is not known yet."""
    trials = site.trials(study)
    said, version = summary(site, study.task), trials.finished
    costs: Accounting | None = site.derived.known(("accounting", study.id), version)
    work: list[Shared] | None = site.derived.known(("work", study.id), version)
    if patient:
        costs, work = accounting(site, study, version), shared_work(site, study, version)
    first = trials.rows[0] if trials.rows else None
    base = None if first is None or first.trial != 0 else trials.values.get(0)
    gain = None
    if base is not None and said["best_trial"] not in (None, 0):
        gain = said["best_value"] - base[0]
    return {
        "study": said,
        "task": study.task,
        "goals": trials.goals,
        "front": list(front(trials)) if len(trials.goals) > 1 else [],
        "accounting": costs,
        "steps_ran": None if work is None else sum(row.ran for row in work),
        "steps_reused": None if work is None else sum(row.reused for row in work),
        "gain": gain,
        "better": gain is not None and (gain > 0) == (trials.goals[0].sign > 0),
        "base_label": None if first is None else _label(study.task, first),
        "can": possible(study.task, said["status"], abandoned=said["abandoned"]),
        "stopping": study.task.params.get("stop") is not None,
        "top": [row.run for row in trials.ranked[:BEST]],
    }


def possible(task: Task, status: str, *, abandoned: bool) -> dict[str, bool]:
    """What can be done with the study now; with an archived one nothing before it is restored."""
    asked = task.params.get("asked") or {}
    sampler = asked.get("sampler")
    hidden = task.archived_at is not None
    recorded = not hidden and (not isinstance(sampler, dict) or "object" not in sampler)
    driven = status == "running" and not abandoned
    return {
        "stop": driven,
        "resume": recorded and (abandoned or status in ("aborted", "failed")),
        "extend": recorded and bool(asked) and not (recorded and exhaustive(sampler)),
        "archive": not hidden and not driven,
        "restore": hidden,
        "delete": not driven,
    }


def _label(study: Task, row: TrialRow) -> str:
    return f"{study.pipeline}#{row.number}"


def work(site: Site, study: Study) -> dict[str, Any]:
    """How often each step ran and was reused."""
    trials = site.trials(study)
    found = shared_work(site, study, trials.finished)
    return {
        "work": found,
        "most": max((row.ran + row.reused for row in found), default=1),
        "trials": len(trials.rows),
    }


def inspected(site: Site, study: Study, number: int | None) -> dict[str, Any]:
    """One trial for the inspector: the chosen one, else the best, else none."""
    trials = site.trials(study)
    best = -1 if trials.best is None else trials.best.trial
    row = trials.by_number.get(best if number is None else number)
    task = None if row is None else site.workspace.store.tasks.get_all([row.run]).get(row.run)
    names = trials.space.order()
    base = flattened(names, trials.rows[0].params) if trials.rows else {}
    mine = trials.given(row) if row is not None else {}
    values = None if row is None else trials.values.get(row.trial)
    return {
        "study": study.task,
        "can": possible(study.task, str(study.task.status), abandoned=False),
        "goals": trials.goals,
        "trial": task,
        "is_best": row is not None and row.trial == best,
        "values": values or [None] * len(trials.goals),
        "spreads": () if row is None else spreads(site, study, [row]).get(row.trial, ()),
        "violations": {} if row is None else dict(trials.violations.get(row.trial, {})),
        "repeated": next(iter(study.repeats), ""),
        "repeats": [] if task is None else _repeats(site, study, task),
        "row": None if task is None else rows_of(site, [task])[0],
        "params": [
            {"name": name, "value": mine[name], "was": base.get(name), "changed": mine[name] != base.get(name)}
            for name in names
            if name in mine
        ],
    }


def _repeats(site: Site, study: Study, task: Task) -> list[Task]:
    """The runs inside the run of a trial, one for each repeat, in their order."""
    if not study.repeats:
        return []
    children = site.workspace.store.tasks.children(task.id)
    return sorted((each for each in children if each.pipeline == study.task.pipeline), key=lambda each: each.id)


def columns(site: Site, study: Study, *, after: int = -1, limit: int = MOST) -> dict[str, Any]:
    """The first ``limit`` trials past number ``after``, as REST gives them: one list for each thing known of them.

    ``next`` is the number to go on after, None behind the last one.
    """
    trials: Trials = site.trials(study)
    begin = bisect_right(trials.rows, after, key=lambda row: row.trial)
    rows, task = trials.rows[begin : begin + limit], study.task
    steps = site.workspace.store.overview.totals([row.run for row in rows])
    values = [trials.values.get(row.trial) for row in rows]
    return {
        "name": study.name,
        "objective": trials.goals[0].name,
        "direction": trials.goals[0].direction,
        "number": [row.trial for row in rows],
        "value": [None if each is None else each[0] for each in values],
        "values": [None if each is None else list(each) for each in values],
        **_quality(site, study, rows),
        "status": [row.status for row in rows],
        "run": [row.run for row in rows],
        "label": [_label(task, row) for row in rows],
        "seconds": [None if row.seconds is None else round(row.seconds, 3) for row in rows],
        "steps": [steps[row.run][0] for row in rows],
        "reused": [steps[row.run][1] for row in rows],
        "params": {
            column.name: {
                "type": "number" if column.choices is None else "category",
                "log": column.log,
                "values": list(column.values[begin : begin + limit]),
            }
            for column in trials.columns.values()
        },
        "next": rows[-1].trial if begin + limit < len(trials.rows) else None,
    }


def _quality(site: Site, study: Study, rows: Sequence[TrialRow]) -> dict[str, Any]:
    """Whether each of ``rows`` is feasible, what it violates by how much, and the spread of each of its values."""
    trials, found = site.trials(study), spreads(site, study, rows)
    has_values = [row.trial in trials.values for row in rows]
    return {
        "feasible": [
            row.trial not in trials.infeasible if has else None for row, has in zip(rows, has_values, strict=True)
        ],
        "violations": [
            dict(trials.violations.get(row.trial, {})) if has else None
            for row, has in zip(rows, has_values, strict=True)
        ],
        "std": [_numbers(each.std for each in found[row.trial]) if row.trial in found else None for row in rows],
        "ci95": [_numbers(each.ci95 for each in found[row.trial]) if row.trial in found else None for row in rows],
    }


def _numbers(values: Iterable[float]) -> list[float | None]:
    """None for what is not known."""
    return [None if math.isnan(value) else value for value in values]
