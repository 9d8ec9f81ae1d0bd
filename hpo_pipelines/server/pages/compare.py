"""Runs beside each other: what differs, first."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from hpo_pipelines.errors import ParameterError
from hpo_pipelines.run import Run
from hpo_pipelines.server.graph import Graph
from hpo_pipelines.server.runview import RunView
from hpo_pipelines.server.site import Site, SiteOf
from hpo_pipelines.server.templating import rendered
from hpo_pipelines.store import TaskFilter

router = APIRouter()

MOST = 20


@router.get("/compare")
def page(request: Request, site: SiteOf, runs: str = "", base: str = "", all: str = "") -> Response:
    """Two to twenty runs; parameters, metrics, steps and code that differ from the base's, or everything."""
    references = list(dict.fromkeys(word for word in runs.split(",") if word))
    if len(references) > MOST:
        raise ParameterError(f"{len(references)} runs are too many to be seen beside each other; {MOST} is the most.")
    found = [site.run(reference) for reference in references]
    first = next((run for run in found if base in (run.id, run.label)), found[0] if found else None)
    context: dict[str, Any] = {"runs": found, "base": first, "everything": bool(all), "sections": [], "code": []}
    if first is not None and len(found) > 1:
        context["sections"] = _sections(site, found, found.index(first), everything=bool(all))
        context["code"] = _code(site, found, first)
    return rendered(request, "compare.html", recent=_recent(site, found), **context)


def _recent(site: Site, found: Sequence[Run]) -> list[Run]:
    chosen = {run.id for run in found}
    return [
        run
        for run in site.workspace.runs(TaskFilter(archived=False), limit=30)
        if run.id not in chosen and run.task.parent is None
    ]


def _sections(site: Site, runs: Sequence[Run], base: int, *, everything: bool) -> list[dict[str, Any]]:
    views = [RunView(site, run) for run in runs]
    metrics, graphs = [view.metrics for view in views], [view.graph for view in views]
    facts: dict[str, Callable[[Run], Any]] = {
        "status": lambda run: str(run.status),
        "code": lambda run: (run.task.snapshot or "")[:10] or None,
        "commit": lambda run: str((run.task.git or {}).get("commit") or "")[:10] or None,
        "executor": lambda run: run.task.executor,
    }
    params = [run.task.params for run in runs]
    sections = [
        ("Run", "text", _rows(list(facts), lambda name, i: facts[name](runs[i]), len(runs))),
        ("Parameters", "param", _rows(_names(params), lambda name, i: params[i].get(name), len(runs))),
        ("Metrics", "metric", _rows(_names(metrics), lambda name, i: metrics[i].get(name), len(runs))),
        ("Steps", "step", _steps(graphs)),
    ]
    made: list[dict[str, Any]] = []
    for title, kind, rows in sections:
        for row in rows:
            row["differs"] = [kind != "step" and not _same(value, row["values"][base]) for value in row["values"]]
            row["shown"] = everything or kind == "step" or any(row["differs"])
            if kind == "metric":
                row["deltas"] = [_delta(value, row["values"][base]) for value in row["values"]]
        shown = [row for row in rows if row["shown"]]
        made.append({"title": title, "kind": kind, "rows": shown, "hidden": len(rows) - len(shown)})
    seconds = [run.task.seconds for run in runs]
    made[3]["rows"].append(
        {"name": "whole run", "values": [{"seconds": each, "shown": "total", "width": 0.0} for each in seconds]}
    )
    return made


def _names(mappings: Sequence[Any]) -> list[str]:
    return list(dict.fromkeys(name for mapping in mappings for name in mapping))


def _rows(names: Sequence[str], value: Callable[[str, int], Any], count: int) -> list[dict[str, Any]]:
    return [{"name": name, "values": [value(name, i) for i in range(count)]} for name in names]


def _same(one: Any, other: Any) -> bool:
    # NaN is not equal to itself, and two runs that report it do not differ.
    return bool(one == other or (one != one and other != other)) and (one is None) == (other is None)


def _delta(value: Any, base: Any) -> float | None:
    return value - base if value is not None and base is not None and value != base else None


def _steps(graphs: Sequence[Graph]) -> list[dict[str, Any]]:
    """Each step with how long it took in each run, and whether it was reused there."""
    names = list(dict.fromkeys(node.name for graph in graphs for node in graph.nodes))
    longest = max(
        (node.seconds or 0.0 for graph in graphs for node in graph.nodes if node.shown != "reused"), default=0.0
    )

    def cell(graph: Graph, name: str) -> dict[str, Any] | None:
        node = graph.node(name)
        if node is None:
            return None
        seconds = None if node.shown == "reused" else node.seconds
        width = 100 * (seconds or 0.0) / longest if longest else 0.0
        return {
            "shown": node.shown,
            "seconds": seconds,
            "width": round(width, 1),
            "origin": node.origin,
            "origin_run": node.origin_run,
        }

    return [{"name": name, "values": [cell(graph, name) for graph in graphs]} for name in names]


def _code(site: Site, runs: Sequence[Run], base: Run) -> list[dict[str, str]]:
    """The source of each component that another run has otherwise than the base, as a diff."""
    old = site.sources(base.task)
    found = []
    for run in runs:
        if run.task.snapshot == base.task.snapshot:
            continue
        new = site.sources(run.task)
        for name in dict.fromkeys([*old, *new]):
            before, after = old.get(name, ""), new.get(name, "")
            lines = difflib.unified_diff(before.splitlines(), after.splitlines(), base.label, run.label, lineterm="")
            if before != after:
                found.append({"name": name, "run": run.label, "diff": "\n".join(lines)})
    return found
