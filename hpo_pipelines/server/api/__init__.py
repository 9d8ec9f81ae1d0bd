"""REST below ``/api/v1``: the objects that the pages show, as JSON."""

from __future__ import annotations

from fastapi import APIRouter

from hpo_pipelines.server.api import actions, details, driving, events, queues, records, runs, studies, submission
from hpo_pipelines.server.problems import DOCUMENTED

PREFIX = "/api/v1"

router = APIRouter(prefix=PREFIX, responses=DOCUMENTED)
for part in (runs, details, actions, submission, studies, driving, queues, events, records):
    router.include_router(part.router)
