"""Which role each route asks for. What is not in the table is not answered: a new route gets its line here.

A viewer looks, a runner also starts and stops what is recorded, an author also sends code and deletes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum

from starlette.routing import compile_path


class Role(IntEnum):
    """What somebody may do; each role may what those below it may."""

    VIEWER = 1
    RUNNER = 2
    AUTHOR = 3

    def __str__(self) -> str:
        return self.name.lower()


ROLES = tuple(str(role) for role in Role)
DUTIES = {
    Role.VIEWER: "looks at everything",
    Role.RUNNER: "starts, stops, annotates and archives runs and studies",
    Role.AUTHOR: "sends code, and deletes",
}

_API = "/api/v1"
_READS, _WRITES = ("GET", "HEAD", "OPTIONS"), ("POST", "PUT", "PATCH", "DELETE")
_Rules = Mapping[tuple[str, ...], Sequence[str]]

_OPEN: _Rules = {
    ("GET", "HEAD"): ["/static/{path:path}"],
    ("GET",): ["/login", "/login/known"],
    ("POST",): ["/login", "/logout"],
}
"""For everybody: what is needed to log in. Static files are those of the release, the same everywhere."""

_VIEWER: _Rules = {
    ("GET", "HEAD"): [f"{_API}/openapi.json"],
    ("GET",): [
        *(
            _API + path
            for path in (
                "/me", "/pipelines", "/pipelines/{project}/{pipeline}", "/agents", "/nodes", "/queues",
                "/queues/{queue}",
                "/events",
                "/artifacts/{digest}", "/artifacts/{digest}/content",
                "/runs", "/runs/{run}", "/runs/{run}/artifacts", "/runs/{run}/console", "/runs/{run}/console/download",
                "/runs/{run}/edges", "/runs/{run}/graph", "/runs/{run}/metrics", "/runs/{run}/source",
                "/runs/{run}/steps", "/runs/{run}/why",
                "/runs/{run}/steps/{step}", "/runs/{run}/steps/{step}/console",
                "/runs/{run}/steps/{step}/console/download", "/runs/{run}/steps/{step}/metrics",
                "/runs/{run}/steps/{step}/source", "/runs/{run}/steps/{step}/why",
                "/studies", "/studies/{study}", "/studies/{study}/best", "/studies/{study}/trials",
                "/records/tasks", "/records/called", "/records/tasks/{task}", "/records/tasks/{task}/ancestry",
                "/records/tasks/{task}/accounting", "/records/tasks/{task}/why",
                "/records/children", "/records/executions", "/records/edges", "/records/outputs", "/records/attempts",
                "/records/metrics", "/records/stories",
                "/records/runs/{run}/consoles", "/records/runs/{run}/consoles/{name}",
                "/records/outcomes", "/records/snapshots/{digest}", "/records/leases",
                "/records/studies/{study}/progress",
                "/records/studies/{study}/journal",
            )
        ),
        "/", "/pipelines", "/pipelines/{project}/{pipeline}", "/pipelines/{project}/{pipeline}/runs.csv",
        "/runs/{run}", "/runs/{run}/part/{part}",
        "/studies", "/studies/{study}", "/studies/{study}/chart", "/studies/{study}/part/{part}",
        "/compare", "/cluster", "/search",
        "/mlflow", "/mlflow-run/{run}",
    ],
    _READS: ["/mlflow/{path:path}"],
}  # fmt: skip

_RUNNER: _Rules = {
    # These load the run's code, as what follows does.
    ("GET",): ["/runs/{run}/new", "/runs/{run}/study", "/studies/{study}/enqueue"],
    ("POST",): [
        *(
            _API + path
            for path in (
                "/runs", "/records/studies", "/records/studies/{study}/resume", "/records/studies/{study}/stop",
                "/records/archive", "/records/restore",
                "/runs/{run}/plan", "/runs/{run}/clone", "/runs/{run}/submit", "/runs/{run}/rerun",
                "/runs/{run}/resume", "/runs/{run}/abort", "/runs/{run}/archive", "/runs/{run}/restore",
                "/pipelines/{project}/{pipeline}/archive", "/pipelines/{project}/{pipeline}/restore",
                "/studies", "/studies/{study}/stop", "/studies/{study}/resume", "/studies/{study}/extend",
                "/studies/{study}/archive", "/studies/{study}/restore",
                "/studies/{study}/trials", "/studies/{study}/trials/{number}/continue",
            )
        ),
        "/runs/{run}/new", "/runs/{run}/forecast", "/runs/{run}/do/{action}", "/queues/{queue}/do/{action}",
        "/pipelines/{project}/{pipeline}/do/{action}",
        "/runs/{run}/study", "/studies/{study}/enqueue", "/studies/{study}/do/{action}",
    ],
    ("PATCH",): [f"{_API}/runs/{{run}}", f"{_API}/queues/{{queue}}"],
    _WRITES: ["/mlflow/{path:path}"],
}  # fmt: skip

_AUTHOR: _Rules = {
    ("DELETE",): [f"{_API}/runs/{{run}}", f"{_API}/studies/{{study}}", f"{_API}/pipelines/{{project}}/{{pipeline}}"],
    ("POST",): [
        f"{_API}/snapshots", f"{_API}/records/delete",
        "/runs/{run}/delete", "/studies/{study}/delete", "/pipelines/{project}/{pipeline}/delete",
    ],
}  # fmt: skip

TABLE: Mapping[Role | None, _Rules] = {
    None: _OPEN, Role.VIEWER: _VIEWER, Role.RUNNER: _RUNNER, Role.AUTHOR: _AUTHOR,
}  # fmt: skip
"""Role → methods → paths, as the routes write them; None: everybody."""

_ASKS = re.compile(
    r"(?:ajax-)?api/\d\.\d/mlflow/(?:"
    r"(?:experiments|runs|traces|logged-models|issues|datasets|prompt-optimization/jobs)/search"
    r"|experiments/search-datasets|traces/(?:batchGetInfos|metrics|calculate-filter-correlation)"
    r"|registered-models/get-latest-versions|artifacts/presigned-download-url)"
    r"|graphql"
)
"""What MLflow's pages ask by POST and what changes nothing; its GraphQL knows queries only."""


def asks_only(path: str) -> bool:
    """Whether a POST to MLflow's ``path``, below its root, only reads."""
    return _ASKS.fullmatch(path) is not None


def rules() -> Iterator[tuple[str, str, Role | None]]:
    """(method, path, role) of every line of the table."""
    for role, groups in TABLE.items():
        for methods, paths in groups.items():
            for path in paths:
                for method in methods:
                    yield method, path, role


class Policy:
    """The table, compiled."""

    def __init__(self) -> None:
        found: dict[str, dict[str, Role | None]] = {}
        for method, path, role in rules():
            found.setdefault(path, {})[method] = role
        self._rules = [(compile_path(path)[0], methods) for path, methods in found.items()]

    def methods(self, path: str) -> dict[str, Role | None]:
        """Each method that ``path`` knows with its role; empty for a path that is no route's.

        Where several lines fit, the most that one of them asks for.
        """
        found: dict[str, Role | None] = {}
        for pattern, methods in self._rules:
            if pattern.match(path):
                for method, role in methods.items():
                    found[method] = max(role or 0, found.get(method) or 0) or None  # type: ignore[assignment]
        if path.startswith("/mlflow/") and asks_only(path.removeprefix("/mlflow/")):
            found["POST"] = Role.VIEWER
        return found
