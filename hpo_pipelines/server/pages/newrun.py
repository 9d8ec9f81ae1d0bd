"""The form for a new run: a typed control for each parameter, filled from the run that it is a clone of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from hpo_pipelines.errors import HpoPipelinesError, ParameterError
from hpo_pipelines.planning import plan
from hpo_pipelines.run import Run
from hpo_pipelines.server.site import Site, SiteOf
from hpo_pipelines.server.templating import is_part, onward, rendered
from hpo_pipelines.waiting import CONTROLLERS

router = APIRouter()

EXECUTORS = ("", "local", "ray", "inline")
_NUMBERS = {"int": "1", "float": "any"}


@router.get("/runs/{run}/new")
def form(request: Request, site: SiteOf, run: str) -> Response:
    """The form, as a part for the dialog or as a page of its own."""
    base = site.run(run)
    return _form(request, site, base, {}, {})


@router.post("/runs/{run}/new")
async def submit(request: Request, site: SiteOf, run: str) -> Response:
    """Record a clone and queue it; what does not fit is said at its field, and then nothing is recorded."""
    given = given_in(await request.body())
    base = site.run(run)

    def made() -> Run | dict[str, str]:
        values, wrong = _read(site, base, given)
        if wrong:
            return wrong
        clone = site.workspace.clone(base.id, values, executor=given.get("executor") or None)
        return site.agent.submit(clone, queue=given.get("queue") or None)

    found = await run_in_threadpool(made)
    if isinstance(found, dict):
        return await run_in_threadpool(_form, request, site, base, given, found, 422)
    return onward(request, f"/runs/{found.id}")


@router.post("/runs/{run}/forecast")
async def forecast(request: Request, site: SiteOf, run: str) -> Response:
    """What such a clone would reuse and what it would run."""
    given = given_in(await request.body())
    base = site.run(run)

    def planned() -> dict[str, Any]:
        values, wrong = _read(site, base, given)
        if wrong:
            return {"plan": None, "wrong": wrong, "trouble": None}
        try:
            return {"plan": plan(site.workspace, base, values), "wrong": wrong, "trouble": None}
        except HpoPipelinesError as error:
            return {"plan": None, "wrong": {}, "trouble": str(error)}

    return rendered(request, "forecast.html", **await run_in_threadpool(planned))


def given_in(body: bytes) -> dict[str, str]:
    """The fields of a form that was sent, each with its last value."""
    fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
    return {name: values[-1] for name, values in fields.items()}


def _form(
    request: Request, site: Site, base: Run, given: Mapping[str, str], wrong: Mapping[str, str], status: int = 200
) -> Response:
    return rendered(
        request,
        "newrun_form.html" if is_part(request) else "newrun.html",
        status=status,
        run=base,
        task=base.task,
        controls=controls(site, base, given, wrong),
        general=wrong.get("", ""),
        executors=EXECUTORS,
        executor=given.get("executor", base.task.executor or ""),
        queues=sorted(site.workspace.settings.queues),
        queue=given.get("queue", CONTROLLERS),
    )


def controls(site: Site, base: Run, given: Mapping[str, str], wrong: Mapping[str, str]) -> list[dict[str, Any]]:
    """One control for each parameter: its kind, its text, what the base had, and what is wrong with it."""
    made = []
    for parameter in site.schema(base):
        if parameter.get("extra"):
            continue
        name = str(parameter["name"])
        current = base.task.params.get(name)
        kind = _kind(parameter, current)
        was = _text(current, kind)
        choices = [_text(choice, "text") for choice in parameter.get("choices", ())]
        text = given.get(f"p.{name}", "" if kind == "bool" and given else was)
        made.append(
            {
                "name": name,
                "kind": kind,
                "type": parameter["type"] if kind != "choice" else f"one of {len(choices)}",
                "choices": choices,
                "text": text,
                "was": was,
                "step": _NUMBERS.get(kind, ""),
                "description": parameter.get("description", ""),
                "required": parameter["required"],
                "wrong": wrong.get(name, ""),
            }
        )
    return made


def _kind(parameter: Mapping[str, Any], current: Any) -> str:
    """``bool``, ``int``, ``float``, ``choice``, ``text`` or ``json``."""
    if parameter.get("choices"):
        return "choice"
    if parameter["type"] in ("bool", "int", "float", "str"):
        plain = not isinstance(current, dict)  # NaN and infinities are no numbers to a number field
        return {"str": "text"}.get(parameter["type"], parameter["type"] if plain else "text")
    return "text" if parameter["type"] in ("Path", "date", "datetime", "time", "PosixPath", "PurePath") else "json"


def _text(value: Any, kind: str) -> str:
    """What stands in the field for an encoded value; it reads back as the same value."""
    if isinstance(value, dict) and len(value) <= 2:
        tag, inner = next(iter(value.items()), ("", None))
        if tag in ("$float", "$date", "$datetime", "$time", "$path", "$enum"):
            return str(inner)
    if kind == "json" or isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    return str(value)


def _read(site: Site, base: Run, given: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Typed values of the fields that differ from the base's, and what is wrong with those that cannot be read."""
    pipeline, _ = site.workspace.code(base.task)
    values, wrong = {}, {}
    for control in controls(site, base, {}, {}):
        name, kind = control["name"], control["kind"]
        text = given.get(f"p.{name}", "false" if kind == "bool" else control["was"])
        if text == control["was"]:
            continue
        try:
            if kind in ("int", "float") and not text.strip():
                raise ParameterError(f"{name} needs a value.")
            if kind == "json":
                values[name] = pipeline.parameters.decode({name: json.loads(text)})[name]
            else:
                values[name] = pipeline.parameters.parse_text(name, text)
        except ParameterError as error:
            wrong[name] = str(error)
        except ValueError:
            wrong[name] = f"{name} is written as JSON here, such as {control['was']}."
    return values, wrong
