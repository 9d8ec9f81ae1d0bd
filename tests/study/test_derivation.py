from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from hpo_pipelines import Categorical, Float, Int
from hpo_pipelines.study.derivation import Reach, RunRecord, reach
from hpo_pipelines.study.reuse import Stage, Stages
from hpo_pipelines.task import Edge, Task
from hpo_pipelines.types import Kind, Status
from search_spaces import Space

Steps = dict[str, tuple[dict[str, Any], Iterable[str]]]


def recorded(number: int, params: dict[str, Any], steps: Steps) -> RunRecord:
    """A run with ``steps``: of each its literal arguments, and the steps whose outputs it uses."""
    tasks, edges, keys = [], [], dict[str, str]()
    for name, (arguments, sources) in steps.items():
        keys[name] = repr((name, sorted(arguments.items()), [keys[source] for source in sources]))
        shown = {**arguments, **{f"from_{source}": {"$from": f"{source}.output"} for source in sources}}
        tasks.append(
            Task(f"{number}-{name}", Kind.STEP, name, "p", status=Status.COMPLETED, params=shown, key=keys[name])
        )
        edges += [Edge(f"{number}-{source}", f"{number}-{name}") for source in sources]
    return RunRecord(params, tasks, edges)


def derived(space: dict[str, Any], body: Callable[..., Steps], rows: list[dict[str, Any]]) -> Reach | None:
    return reach([recorded(at, row, body(**row)) for at, row in enumerate(rows)], Space(space))


SPACE = {"rows": Int(1, 100), "factor": Float(0, 1), "lr": Float(0, 1)}
ROWS = [{"rows": 3 + 7 * at % 50, "factor": (at * 37 % 11) / 11, "lr": (at * 29 % 13) / 13} for at in range(8)]


def test_a_parameter_reaches_what_it_is_passed_to_and_all_after_that() -> None:
    def body(rows: int, factor: float, lr: float) -> Steps:
        return {"load": ({"n": rows}, ()), "scale": ({"by": factor}, ("load",)), "fit": ({"lr": lr}, ("scale",))}

    found = derived(SPACE, body, ROWS)
    assert found is not None
    assert found.stages == Stages({"load": ["rows"], "scale": ["factor"], "fit": ["lr"]})


def test_a_value_made_of_one_parameter_moves_with_it() -> None:
    def body(rows: int, factor: float, lr: float) -> Steps:
        return {"load": ({"n": -2 * rows}, ()), "fit": ({"a": lr**2, "b": round(factor, 3)}, ("load",))}

    found = derived(SPACE, body, ROWS)
    assert found is not None
    assert found.stages == Stages([Stage("load", ("rows",)), Stage("fit", ("factor", "lr"), ("load",))])


def test_what_nothing_explains_may_depend_on_everything() -> None:
    def body(rows: int, factor: float, lr: float) -> Steps:
        return {"load": ({"n": rows}, ()), "fit": ({"mixed": f"{lr * factor:.9f}"}, ("load",))}

    found = derived(SPACE, body, ROWS)
    assert found is not None
    assert found.stages == Stages([Stage("load", ("rows",)), Stage("fit", ("factor", "lr"), ("load",))])
    alone = derived(SPACE, lambda rows, factor, lr: {"fit": ({"mixed": str(lr * factor * rows)}, ())}, ROWS)
    assert alone is not None
    assert alone.stages.reaching("fit") == {"rows", "factor", "lr"}


def test_a_choice_decides_whose_output_is_used() -> None:
    def body(pca: bool, n: int, lr: float) -> Steps:
        steps: Steps = {"load": ({}, ())}
        if pca:
            steps["pca"] = ({"n": n}, ("load",))
        return {**steps, "fit": ({"lr": lr}, ("pca" if pca else "load",))}

    space = {"pca": Categorical([True, False]), "n": Int(1, 50), "lr": Float(0, 1)}
    rows = [{"pca": at % 3 > 0, "n": 2 + 5 * at % 31, "lr": (at * 29 % 13) / 13} for at in range(8)]
    found = derived(space, body, rows)
    assert found is not None
    assert "load" not in found.stage_of  # no parameter reaches it: it is computed once
    assert found.stages.reaching(found.stage_of["pca"]) == {"n"}
    assert found.stages.reaching(found.stage_of["fit"]) == {"n", "pca", "lr"}


def test_a_member_of_a_group_reaches_as_itself_or_with_the_whole_group() -> None:
    space = {"model": Space({"depth": Int(1, 50), "lr": Float(0, 1)}), "rows": Int(1, 100)}
    rows = [{"rows": 3 + 7 * at % 50, "model": {"depth": 1 + 3 * at % 17, "lr": at / 9}} for at in range(8)]
    single = derived(
        space, lambda rows, model: {"load": ({"n": rows}, ()), "fit": ({"depth": model["depth"]}, ("load",))}, rows
    )
    assert single is not None
    assert single.stages.reaching("fit") == {"rows", "model.depth"}
    whole = derived(
        space, lambda rows, model: {"load": ({"n": rows}, ()), "fit": ({"model": repr(model)}, ("load",))}, rows
    )
    assert whole is not None
    assert whole.stages.reaching("fit") == {"rows", "model.depth", "model.lr"}


def test_steps_that_the_same_parameters_reach_are_one_stage() -> None:
    def body(rows: int, factor: float, lr: float) -> Steps:
        return {
            "load": ({"n": rows}, ()),
            "clean": ({}, ("load",)),
            "fit": ({"lr": lr, "by": factor}, ("clean",)),
            "score": ({}, ("fit",)),
        }

    found = derived(SPACE, body, ROWS)
    assert found is not None
    assert found.stages.names == ("load+clean", "fit+score")
    assert found.stage_of["score"] == "fit+score"


def test_keys_that_differ_where_nothing_should_are_believed_more() -> None:
    """An upstream step that gives something else each time: what is after it is kept in vain."""

    def body(rows: int, factor: float, lr: float) -> Steps:
        return {"load": ({"n": rows}, ()), "scale": ({"by": factor}, ("load",)), "fit": ({"lr": lr}, ("scale",))}

    twice = [*ROWS, {**ROWS[0], "lr": 0.77}]
    runs = [recorded(at, row, body(**row)) for at, row in enumerate(twice)]
    agreed = reach(runs, Space(SPACE))
    assert agreed is not None
    assert agreed.stages.reaching("scale") == {"rows", "factor"}
    runs[-1].steps[1].__dict__["key"] = "another"
    found = reach(runs, Space(SPACE))
    assert found is not None
    assert found.stage_of["scale"] == found.stage_of["fit"]
    assert found.stages.reaching(found.stage_of["load"]) == {"rows"}


def test_a_step_without_a_key_is_computed_each_time_and_what_follows_may_still_be_kept() -> None:
    def body(rows: int, factor: float, lr: float) -> Steps:
        return {"load": ({"n": rows}, ()), "scale": ({"by": factor}, ("load",)), "fit": ({"lr": lr}, ("scale",))}

    runs = [recorded(at, row, body(**row)) for at, row in enumerate(ROWS)]
    for run in runs:
        run.steps[0].__dict__["key"] = None
    found = reach(runs, Space(SPACE))
    assert found is not None
    assert found.stages.reaching(found.stage_of["load"]) == set(SPACE)
    assert found.stages.reaching(found.stage_of["scale"]) == {"rows", "factor"}


def test_nothing_is_said_before_every_parameter_had_two_values() -> None:
    def body(rows: int, factor: float, lr: float) -> Steps:
        return {"fit": ({"lr": lr, "n": rows, "by": factor}, ())}

    assert derived(SPACE, body, []) is None
    assert derived(SPACE, body, ROWS[:1]) is None
    assert derived(SPACE, body, [{**row, "lr": 0.5} for row in ROWS]) is None
    assert derived(SPACE, body, ROWS[:2]) is not None
