"""The forms of studies: one over a run, its ranges filled from the types of the parameters; and one more trial."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from hpo_pipelines.errors import HpoPipelinesError, ParameterError
from hpo_pipelines.run import Run
from hpo_pipelines.server.api.studies import StudyRequest, enqueued, extended, started
from hpo_pipelines.server.pages.newrun import controls, given_in
from hpo_pipelines.server.site import Site, SiteOf
from hpo_pipelines.server.templating import is_part, rendered
from hpo_pipelines.study import Study, stop
from hpo_pipelines.study.samplers import SAMPLERS
from hpo_pipelines.waiting import CONTROLLERS
from search_spaces import Categorical, Distribution, Fixed, Float, Int
from search_spaces.errors import SpaceError
from search_spaces.groups import flattened, nested

router = APIRouter()

_ASKED = ("objective", "name", "sampler", "n_trials", "n_jobs")


@router.get("/runs/{run}/study")
def form(request: Request, site: SiteOf, run: str) -> Response:
    """The form of a study over a run."""
    return _form(request, site, site.run(run), {}, {})


@router.post("/runs/{run}/study")
async def submit(request: Request, site: SiteOf, run: str) -> Response:
    """Start the study; what does not fit is said at its field, and then nothing is recorded."""
    given = given_in(await request.body())

    def made() -> Study | dict[str, str]:
        base = site.run(run)
        space, wrong = _space(fields(site, base, given, {}))
        if wrong:
            return wrong
        try:
            asked = {
                key: given[key] for key in ("objective", "name", "sampler", "n_trials", "n_jobs") if given.get(key)
            }
            fixed = {"direction": given.get("direction", "maximize"), "queue": given.get("queue") or CONTROLLERS}
            return started(site, StudyRequest.model_validate({"run": base.id, "space": space, **fixed, **asked}))
        except ValidationError as error:
            return {str(each["loc"][0]): each["msg"] for each in error.errors()}
        except (HpoPipelinesError, SpaceError) as error:
            return {"": str(error)}

    found = await run_in_threadpool(made)
    if isinstance(found, dict):
        return await run_in_threadpool(_form, request, site, site.run(run), given, found, 422)
    return _to(request, f"/studies/{found.id}")


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
    return _to(request, f"/studies/{done.id}")


@router.post("/studies/{study}/do/{action}")
async def act(request: Request, site: SiteOf, study: str, action: str) -> Response:
    """What the buttons of the page do: stop, abort, resume, extend; then the page again."""
    given = given_in(await request.body())
    found = site.study(study)
    if action in ("stop", "abort"):
        await run_in_threadpool(stop, found, abort=action == "abort")
    elif action == "resume":
        await run_in_threadpool(site.drives.go_on, found)
    elif action == "extend" and given.get("trials", "").isdecimal():
        await run_in_threadpool(extended, site, found, int(given["trials"]))
    else:
        raise ParameterError(f"a study is stopped, aborted, resumed, or extended by a number; not {action}.")
    return RedirectResponse(f"/studies/{found.id}", 303)


def _to(request: Request, address: str) -> Response:
    return Response(headers={"HX-Redirect": address}) if is_part(request) else RedirectResponse(address, 303)


# -- a study over a run


def _form(
    request: Request, site: Site, base: Run, given: Mapping[str, str], wrong: Mapping[str, str], status: int = 200
) -> Response:
    return rendered(
        request,
        "newstudy_form.html" if is_part(request) else "newstudy.html",
        status=status,
        task=base.task,
        fields=fields(site, base, given, wrong),
        general=wrong.get("", ""),
        wrong=wrong,
        objectives=objectives(base),
        samplers=[name for name in SAMPLERS if name not in ("grid", "bruteforce", "nsgaii", "nsgaiii")],
        queues=sorted(site.workspace.settings.queues),
        given={"n_trials": "30", "n_jobs": "2", "queue": CONTROLLERS, **given},
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


def fields(site: Site, base: Run, given: Mapping[str, str], wrong: Mapping[str, str]) -> list[dict[str, Any]]:
    """For each parameter whether it is varied, and within what: a range of numbers, or choices."""
    found = []
    for control in controls(site, base, {}, {}):
        name, kind = control["name"], control["kind"]
        field = {"name": name, "was": control["was"], "type": control["type"], "wrong": wrong.get(name, "")}
        field["kind"] = "range" if kind in ("int", "float") else "choices"
        field["step"] = control["step"]
        filled = _range(kind, control["was"]) if field["kind"] == "range" else _choices(kind, control)
        for key in ("on", "low", "high", "log", "choices"):
            field[key] = given.get(f"s.{name}.{key}", "") if given else filled.get(key, "")
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
    """The space that the form describes, and what is wrong with it by parameter."""
    space: dict[str, Any] = {}
    wrong = {}
    for field in found:
        if field["on"] != "true":
            continue
        try:
            space[field["name"]] = _distribution(field).as_dict()
        except (SpaceError, ValueError) as error:
            wrong[field["name"]] = str(error)
    if not space and not wrong:
        wrong[""] = "tick one parameter or more: a study varies something."
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


# -- one more trial


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
