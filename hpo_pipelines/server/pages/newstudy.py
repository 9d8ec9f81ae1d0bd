"""The form of a study over a run: what varies, its ranges filled from the types of the parameters, and its options."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from hpo_pipelines.errors import HpoPipelinesError
from hpo_pipelines.run import Run
from hpo_pipelines.server.api.studies import started
from hpo_pipelines.server.pages.newrun import controls
from hpo_pipelines.server.pages.studyform import Given, StudyForm, given_lists, named_in
from hpo_pipelines.server.site import Site, SiteOf
from hpo_pipelines.server.templating import is_part, onward, rendered
from hpo_pipelines.study import Study
from hpo_pipelines.study.samplers import SAMPLERS
from hpo_pipelines.study.sampling import PRUNERS
from search_spaces import Categorical, Distribution, Float, Int
from search_spaces.errors import SpaceError

router = APIRouter()


@router.get("/runs/{run}/study")
def form(request: Request, site: SiteOf, run: str) -> Response:
    """The form of a study over a run."""
    return _form(request, site, site.run(run), {}, {})


@router.post("/runs/{run}/study")
async def submit(request: Request, site: SiteOf, run: str) -> Response:
    """Start the study; what does not fit is said at its field, and then nothing is recorded."""
    given = given_lists(await request.body())
    found = await run_in_threadpool(_started, site, site.run(run), given)
    if isinstance(found, dict):
        return await run_in_threadpool(_form, request, site, site.run(run), given, found, 422)
    return onward(request, f"/studies/{found.id}")


def _started(site: Site, base: Run, given: Given) -> Study | dict[str, str]:
    """The study that was asked for; or what is wrong, by field, with what is no field's under an empty name."""
    space, wrong = _space(fields(site, base, given, {}))
    wanted, also = StudyForm(given).read(base.id, space)
    wrong |= also
    if wanted is None or wrong:
        return wrong
    try:
        return started(site, wanted)
    except (HpoPipelinesError, SpaceError) as error:
        return {named_in(str(error), space): str(error)}


def _form(
    request: Request, site: Site, base: Run, given: Given, wrong: Mapping[str, str], status: int = 200
) -> Response:
    varied = fields(site, base, given, wrong)
    return rendered(
        request,
        "newstudy_form.html" if is_part(request) else "newstudy.html",
        status=status,
        task=base.task,
        fields=varied,
        counts=[field["name"] for field in varied if field["step"] == "1"],
        wrong=wrong,
        objectives=objectives(base),
        samplers=SAMPLERS,
        pruners=PRUNERS,
        queues=sorted(site.workspace.settings.queues),
        form=StudyForm(given),
    )


def objectives(base: Run) -> list[str]:
    """What a study over ``base`` can optimise: metrics of its steps, then the numbers that it returned.

    Of a run that has not run, those of the one it is a clone of.
    """
    returned = []
    for name in base.workspace.store.tasks.outputs(base.id):
        key = name.partition(".")[2]
        try:
            base.objective(key or None)
        except HpoPipelinesError:
            continue
        returned.append(key)
    found = [*base.metrics, *returned]
    origin = base.task.cloned_from
    if not found and origin is not None:
        task = base.workspace.store.tasks.get_all([origin]).get(origin)
        return [] if task is None else objectives(Run(base.workspace, task))
    return found


def fields(site: Site, base: Run, given: Given, wrong: Mapping[str, str]) -> list[dict[str, Any]]:
    """For each parameter whether it is varied, and within what: a range of numbers, or choices."""
    found = []
    for control in controls(site, base, {}, {}):
        name, kind = control["name"], control["kind"]
        field = {"name": name, "was": control["was"], "type": control["type"], "wrong": wrong.get(f"s.{name}", "")}
        field["kind"] = "range" if kind in ("int", "float") else "choices"
        field["step"] = control["step"]
        filled = _range(kind, control["was"]) if field["kind"] == "range" else _choices(kind, control)
        for key in ("on", "low", "high", "log", "choices"):
            field[key] = given.get(f"s.{name}.{key}", [""])[-1] if given else filled.get(key, "")
        found.append(field)
    return found


def _range(kind: str, text: str) -> dict[str, str]:
    """A range around a number, wide enough to be worth a search: tenfold to each side; what is below 1 stays so."""
    value = float(text)
    if kind == "int":
        most = max(4 * abs(int(value)), 10)
        low = -most if value < 0 else max(1, int(value) // 4) if value > 0 else 0
        return {"low": str(low), "high": str(most), "log": "true" if low > 0 and most >= 32 * low else ""}
    if value > 0:
        return {
            "low": f"{value / 10:.6g}",
            "high": f"{min(10 * value, 1.0) if value < 1 else 10 * value:.6g}",
            "log": "true",
        }
    return {"low": f"{10 * value:.6g}" if value else "0.0", "high": f"{-10 * value:.6g}" if value else "1.0"}


def _choices(kind: str, control: Mapping[str, Any]) -> dict[str, str]:
    if kind == "bool":
        return {"choices": "[true, false]"}
    if control["choices"]:
        return {"choices": json.dumps(control["choices"], ensure_ascii=False)}
    return {"choices": f"[{control['was']}]" if kind == "json" else json.dumps([control["was"]], ensure_ascii=False)}


def _space(found: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, str]]:
    """The space that the form describes, and what is wrong with it by field."""
    space: dict[str, Any] = {}
    wrong = {}
    for field in found:
        if field["on"] != "true":
            continue
        try:
            space[field["name"]] = _distribution(field).as_dict()
        except (SpaceError, ValueError) as error:
            wrong[f"s.{field['name']}"] = str(error)
    if not space and not wrong:
        wrong["space"] = "tick one parameter or more: a study varies something."
    return space, wrong


def _distribution(field: Mapping[str, Any]) -> Distribution:
    if field["kind"] == "choices":
        try:
            return Categorical(json.loads(field["choices"]))
        except json.JSONDecodeError:
            raise ValueError('choices are a JSON list, such as ["a", "b"] or [true, false].') from None
    log = field["log"] == "true"
    try:
        if field["step"] == "1":
            return Int(int(field["low"]), int(field["high"]), log=log)
        low, high = float(field["low"]), float(field["high"])
    except SpaceError:
        raise
    except ValueError:
        raise ValueError("a range has two numbers, the lowest and the highest.") from None
    return Float(low, high, log=log)
