"""The form of one more trial of a study, filled with the parameters of another."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from hpo_pipelines.errors import HpoPipelinesError
from hpo_pipelines.server.api.studies import enqueued
from hpo_pipelines.server.pages.newrun import given_in
from hpo_pipelines.server.site import Site, SiteOf
from hpo_pipelines.server.templating import is_part, onward, rendered
from hpo_pipelines.study import Study
from search_spaces import Categorical, Distribution, Fixed
from search_spaces.errors import SpaceError
from search_spaces.groups import flattened, nested

router = APIRouter()


@router.get("/studies/{study}/enqueue")
def trial_form(request: Request, site: SiteOf, study: str, trial: int | None = None) -> Response:
    """The form of one more trial, filled with the parameters of another."""
    found = site.study(study)
    return _trial_form(request, site, found, _point(site, found, trial), {})


@router.post("/studies/{study}/enqueue")
async def enqueue(request: Request, site: SiteOf, study: str) -> Response:
    """Have the study run it next."""
    given = given_in(await request.body())

    def made() -> Study | dict[str, str]:
        found = site.study(study)
        pipeline, _ = site.workspace.code(found.task)
        values: dict[str, Any] = {}
        wrong = {}
        for name, text in _texts(found, given).items():
            values[name] = _value(found.space[name], text)
            if not found.space[name].contains(values[name]):
                wrong[name] = f"it is {found.space[name]}; got {text}."
        if wrong:
            return wrong
        try:
            return enqueued(site, found, pipeline.parameters.decode(nested(values)))
        except (HpoPipelinesError, SpaceError) as error:
            return {"": str(error)}

    done = await run_in_threadpool(made)
    if isinstance(done, dict):
        found = site.study(study)
        return await run_in_threadpool(_trial_form, request, site, found, _texts(found, given), done, 422)
    return onward(request, f"/studies/{done.id}")


def _point(site: Site, study: Study, trial: int | None) -> dict[str, str]:
    trials = site.trials(study)
    row = trials.by_number.get(trial) if trial is not None else trials.best
    params = {} if row is None else flattened(study.space, row.params)
    return {name: _text(params[name]) for name in _varied(study) if name in params}


def _texts(study: Study, given: Mapping[str, str]) -> dict[str, str]:
    """What the form has for the sampled parameters, and what the space fixes."""
    space = study.space
    texts = {name: given[f"p.{name}"] for name in _varied(study) if given.get(f"p.{name}", "") != ""}
    fixed = {name: _text(space[name].value) for name in space.order() if isinstance(space[name], Fixed)}  # type: ignore[attr-defined]
    return {**fixed, **texts}


def _varied(study: Study) -> list[str]:
    return [name for name in study.space.order() if not isinstance(study.space[name], Fixed)]


def _value(item: Distribution, text: str) -> Any:
    """What ``text`` stands for: the choice that is written so, or a number."""
    for choice in item.choices if isinstance(item, Categorical) else ():
        if _text(choice) == text:
            return choice
    try:
        return json.loads(text)
    except ValueError:
        return text


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _trial_form(
    request: Request, site: Site, study: Study, texts: Mapping[str, str], wrong: Mapping[str, str], status: int = 200
) -> Response:
    space = study.space
    controls = [
        {
            "name": name,
            "text": texts.get(name, ""),
            "about": str(space[name]),
            "choices": [_text(choice) for choice in getattr(space[name], "choices", ())],
            "wrong": wrong.get(name, ""),
        }
        for name in _varied(study)
    ]
    return rendered(
        request,
        "enqueue_form.html" if is_part(request) else "enqueue.html",
        status=status,
        study=study.task,
        controls=controls,
        general=wrong.get("", ""),
    )
