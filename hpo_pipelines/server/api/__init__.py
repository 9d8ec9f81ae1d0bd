"""REST below ``/api/v1``: the objects that the pages show, as JSON."""

from __future__ import annotations

from fastapi import APIRouter, Security
from fastapi.security import HTTPBearer

from hpo_pipelines.server.api import (
    actions,
    details,
    driving,
    events,
    keeping,
    me,
    queues,
    records,
    runs,
    studies,
    submission,
)
from hpo_pipelines.server.problems import DOCUMENTED

PREFIX = "/api/v1"

_TOKEN = HTTPBearer(auto_error=False, description="A token of `hpo token create`; none where the server asks for none.")
"""Only for the schema: whoever comes this far has been let in by the guard."""

router = APIRouter(prefix=PREFIX, responses=DOCUMENTED, dependencies=[Security(_TOKEN)])
for part in (runs, details, actions, keeping, submission, studies, driving, queues, events, records, me):
    router.include_router(part.router)
