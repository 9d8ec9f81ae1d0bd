from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from samples import queueing
from services import wait_until

from hpo_pipelines import Float, ScheduleError, Space, Status, Workspace, pipeline
from hpo_pipelines.agent import Agent
from hpo_pipelines.engine.liveness import Liveness
from hpo_pipelines.errors import ParameterError, StudyError
from hpo_pipelines.run import Run
from hpo_pipelines.schedules import After, Clock, Firing, Policy, Tagged, add_run, add_study
from hpo_pipelines.schedules.firing import LATE_SECONDS
from hpo_pipelines.store import TaskFilter
from hpo_pipelines.study import Study, keeping
from hpo_pipelines.types import Kind

NIGHTLY = Clock("0 3 * * *")


@pytest.fixture
def workspace(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    monkeypatch.setenv("HPO_EXECUTOR", "inline")
    with Workspace() as opened:
        yield opened


@pipeline
def doubled(x: int = 1, note: str = "") -> int:
    return 2 * x


@pipeline
def curve(x: float = 0.0) -> float:
    return (x - 1) ** 2


def due(workspace: Workspace, name: str, *, ago: float = 0.0) -> None:
    workspace.store.schedules.update(name, next_at=workspace.store.now() - ago)


def made(workspace: Workspace, name: str = "doubled") -> list[Run]:
    return [run for run in workspace.runs() if f"schedule:{name}" in run.task.tags]


def drive(workspace: Workspace) -> None:
    Agent(workspace, ["services"]).run(until_idle=True)


def test_what_is_due_starts_once_and_the_next_time_is_told(workspace: Workspace) -> None:
    kept = add_run(workspace, NIGHTLY, doubled, {"x": 21})
    Firing(workspace).look()
    assert made(workspace) == []
    due(workspace, kept.name)
    Firing(workspace).look()
    Firing(workspace).look()
    (run,) = made(workspace)
    assert (run.status, run.task.queue) == (Status.QUEUED, "services")
    drive(workspace)
    assert run.value == 42
    after = workspace.store.schedules.get("doubled")
    assert (after.fired, after.last_task, after.said) == (1, run.id, None)
    assert after.next_at == NIGHTLY.after(workspace.store.now())


def test_of_agents_that_look_at_once_one_fires(workspace: Workspace, home: Path) -> None:
    names = [add_run(workspace, NIGHTLY, doubled, name=f"n{number}").name for number in range(5)]
    for name in names:
        due(workspace, name)
    with Workspace(home=home) as other:
        places = [workspace, other, workspace, other]
        barrier = threading.Barrier(len(places))

        def look(place: Workspace) -> None:
            barrier.wait(60)
            Firing(place).look()

        threads = [threading.Thread(target=look, args=(place,)) for place in places]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        Firing(workspace).look()  # what was locked for a moment
    assert [len(made(workspace, name)) for name in names] == [1] * 5
    assert [workspace.store.schedules.get(name).fired for name in names] == [1] * 5


def test_the_code_is_that_of_when_it_was_added_and_a_clone_that_of_its_run(workspace: Workspace) -> None:
    base = doubled.run(x=3, workspace=workspace)
    kept = add_run(workspace, NIGHTLY, base, {"note": "again"}, name="clones")
    Firing(workspace).fire(kept.name)
    (run,) = made(workspace, "clones")
    drive(workspace)
    assert (run.value, run.params["note"], run.task.cloned_from) == (6, "again", base.id)
    assert run.task.snapshot == base.task.snapshot


@pytest.mark.parametrize(("policy", "count"), [("once", 1), ("skip", 0)])
def test_missed_times(workspace: Workspace, policy: str, count: int) -> None:
    kept = add_run(workspace, Clock("* * * * *"), doubled, policy=Policy(missed=policy))
    due(workspace, kept.name, ago=5 * LATE_SECONDS)
    Firing(workspace).look()
    after = workspace.store.schedules.get(kept.name)
    assert (len(made(workspace)), after.fired) == (count, count)
    assert after.said is not None
    assert after.said.startswith("missed at 20")
    assert after.next_at is not None
    assert after.next_at > workspace.store.now()


@pytest.mark.parametrize(("policy", "count"), [("skip", 1), ("allow", 2)])
def test_a_run_that_has_not_ended(workspace: Workspace, policy: str, count: int) -> None:
    kept = add_run(workspace, NIGHTLY, doubled, policy=Policy(overlap=policy))
    for _ in range(2):
        due(workspace, kept.name)
        Firing(workspace).look()
    assert len(made(workspace)) == count
    said = workspace.store.schedules.get(kept.name).said
    assert said == ("left out: doubled#1 is queued" if policy == "skip" else None)


def test_a_paused_schedule_does_not_fire(workspace: Workspace) -> None:
    kept = add_run(workspace, NIGHTLY, doubled)
    due(workspace, kept.name)
    workspace.store.schedules.update(kept.name, paused=True)
    Firing(workspace).look()
    assert made(workspace) == []


def test_a_schedule_whose_run_is_gone_is_paused_and_says_so(workspace: Workspace) -> None:
    base = doubled.run(workspace=workspace)
    kept = add_run(workspace, NIGHTLY, base)
    keeping.delete(workspace, base.id)
    due(workspace, kept.name)
    Firing(workspace).look()
    after = workspace.store.schedules.get(kept.name)
    assert after.paused
    assert str(after.said).startswith("could not fire: ")


def test_the_end_of_a_pipelines_run_starts_another_which_knows_it(workspace: Workspace) -> None:
    workspace_events = workspace.store.events.last()
    doubled.run(x=0, workspace=workspace)  # before: does not count
    kept = add_run(workspace, After("curve"), doubled, {"note": "${trigger.label} at ${at}"})
    assert kept.cursor > workspace_events
    firing = Firing(workspace)
    firing.look()
    assert made(workspace) == []
    curve.run(workspace=workspace)
    firing.look()
    firing.look()
    (run,) = made(workspace)
    assert run.params["note"].startswith("curve#1 at 20")
    assert run.params["note"].endswith(" UTC")


def test_schedules_that_start_each_other_come_to_an_end(workspace: Workspace) -> None:
    add_run(workspace, After("curve"), doubled, name="there")
    add_run(workspace, After("doubled"), curve, name="back")
    curve.run(workspace=workspace)
    for _ in range(4):
        Firing(workspace).look()
        drive(workspace)
    assert [run.label for run in made(workspace, "there")] == ["curve#2", "doubled#1"]
    assert [run.label for run in made(workspace, "back")] == ["curve#2"]
    with pytest.raises(ScheduleError, match="would start itself"):
        add_run(workspace, After("curve"), curve)


def test_a_tag_fires_once_for_a_run_however_often_its_tags_change(workspace: Workspace) -> None:
    add_run(workspace, Tagged("ready"), doubled, policy=Policy(overlap="allow"))
    firing = Firing(workspace)
    tagged, later = curve.run(tags=["ready"], workspace=workspace), curve.run(workspace=workspace)
    firing.look()
    assert len(made(workspace)) == 1
    workspace.store.tasks.update(tagged.id, tags=("ready", "more"))
    firing.look()
    assert len(made(workspace)) == 1
    workspace.store.tasks.update(later.id, tags=("ready",))
    firing.look()
    Firing(workspace).look()
    assert len(made(workspace)) == 2


def studies(workspace: Workspace) -> list[Study]:
    return [Study(workspace, task) for task in workspace.store.tasks.list(TaskFilter(kind=Kind.STUDY))]


def test_a_study_is_begun_under_a_name_of_its_own_and_driven(workspace: Workspace) -> None:
    kept = add_study(
        workspace, NIGHTLY, curve, Space({"x": Float(0, 2)}),
        {"direction": "minimize", "n_trials": 3, "name": "nightly", "sampler": "random", "seed": 1},
    )  # fmt: skip
    due(workspace, kept.name)
    Firing(workspace).look()
    (study,) = studies(workspace)
    assert study.name.startswith("nightly-20")
    assert study.task.tags == ("schedule:nightly",)
    wait_until(lambda: study.status is Status.COMPLETED, "the study has completed")
    assert len(study.trials) == 3


def test_a_study_that_cannot_be_begun_is_said_and_the_next_time_comes(workspace: Workspace) -> None:
    options = {"direction": "minimize", "n_trials": 1, "name": "nightly"}
    kept = add_study(workspace, NIGHTLY, curve, Space({"x": Float(0, 2)}), options)
    changed = {**kept.target, "options": {**options, "sampler": "nobody"}}
    workspace.store.schedules.update(kept.name, target=changed)
    due(workspace, kept.name)
    Firing(workspace).look()
    after = workspace.store.schedules.get(kept.name)
    assert str(after.said).startswith("could not fire: ")
    assert (after.fired, after.next_at) == (0, NIGHTLY.after(workspace.store.now()))
    assert studies(workspace) == []


def test_a_study_whose_driver_went_away_is_gone_on_with(workspace: Workspace) -> None:
    kept = add_study(
        workspace, NIGHTLY, curve, Space({"x": Float(0, 2)}), {"direction": "minimize", "n_trials": 2}, name="left"
    )
    Firing(workspace).fire(kept.name)  # recorded, and not driven
    (study,) = studies(workspace)
    Firing(workspace).look()
    assert not study.status.finished  # it may just be being begun
    workspace.store.schedules.update(kept.name, last_at=workspace.store.now() - 60)
    Firing(workspace).look()
    wait_until(lambda: study.status is Status.COMPLETED, "the study has completed")


def test_an_agent_until_idle_drives_the_study_that_waits_to_its_end(workspace: Workspace) -> None:
    options = {"direction": "minimize", "n_trials": 2, "queue": "services"}
    kept = add_study(workspace, NIGHTLY, curve, Space({"x": Float(0, 2)}), options, name="left")
    Firing(workspace).fire(kept.name)  # recorded, and not driven; its trials wait in the agent's queue
    workspace.store.schedules.update(kept.name, last_at=workspace.store.now() - 60)
    (study,) = studies(workspace)
    with Firing(workspace).beside() as firing:
        assert not firing.is_idle
        Agent(workspace, ["services"]).run(until_idle=True, idle_besides=lambda: firing.is_idle)
        assert firing.is_idle
    assert (study.status, len(study.trials)) == (Status.COMPLETED, 2)


def test_it_is_not_idle_while_a_study_is_taken_up(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"direction": "minimize", "n_trials": 1, "queue": "services"}
    kept = add_study(workspace, NIGHTLY, curve, Space({"x": Float(0, 2)}), options, name="left")
    Firing(workspace).fire(kept.name)
    workspace.store.schedules.update(kept.name, last_at=workspace.store.now() - 60)
    firing, liveness = Firing(workspace), workspace.engine.liveness
    look = threading.Thread(target=firing.look)

    def holds(name: str) -> bool:
        found = Liveness.holds(liveness, name)
        if look.ident is None:  # just now the thread that looks takes it up, or would
            look.start()
            look.join(2.0)
        return found

    monkeypatch.setattr(liveness, "holds", holds)
    assert not firing.is_idle
    look.join()
    assert not firing.is_idle, "it is driven here"
    Agent(workspace, ["services"]).run(until_idle=True, idle_besides=lambda: firing.is_idle)
    (study,) = studies(workspace)
    assert study.status is Status.COMPLETED


@pytest.mark.parametrize(
    ("params", "options", "error", "said"),
    [
        ({"y": 1}, {}, ParameterError, "y"),
        ({"x": "many"}, {}, ParameterError, "x"),
        ({}, {"name": "a b"}, ScheduleError, "letters, digits"),
        ({}, {"policy": {"missed": "onc"}}, ScheduleError, "did you mean 'once'"),
        ({}, {"policy": {"overlap": "never"}}, ScheduleError, "known: skip, allow"),
        ({}, {"policy": {"priority": 2**31}}, ParameterError, "priority"),
    ],
)
def test_what_is_wrong_is_said_when_it_is_added(
    workspace: Workspace, params: dict[str, object], options: dict[str, object], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        policy = Policy(**options.pop("policy")) if "policy" in options else None  # type: ignore[arg-type]
        add_run(workspace, NIGHTLY, doubled, params, policy=policy, **options)  # type: ignore[arg-type]
    assert workspace.store.schedules.all() == []


def test_a_study_without_an_end_is_refused_when_it_is_added(workspace: Workspace) -> None:
    with pytest.raises(StudyError, match="a study needs an end"):
        add_study(workspace, NIGHTLY, curve, Space({"x": Float(0, 2)}), {})
    assert (studies(workspace), workspace.store.schedules.all()) == ([], [])


@pytest.mark.integration
def test_an_agent_fires_and_drives(workspace: Workspace, home: Path, tmp_path: Path) -> None:
    from agents import agent

    kept = add_run(workspace, NIGHTLY, queueing.quick, {"folder": str(tmp_path), "n": 4})
    with agent(home), Firing(workspace).beside():
        due(workspace, kept.name)
        wait_until(
            lambda: [run.status for run in made(workspace, "quick")] == [Status.COMPLETED], "the run has completed"
        )
    assert made(workspace, "quick")[0].value == 8


def test_a_fault_in_one_look_does_not_end_looking(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[str] = []
    look = Firing.look

    def stumbling(firing: Firing) -> None:
        looks.append("look")
        if len(looks) == 1:
            raise ZeroDivisionError
        look(firing)

    monkeypatch.setattr(Firing, "look", stumbling)
    monkeypatch.setattr("hpo_pipelines.schedules.firing.LATE_SECONDS", 0.01)
    kept = add_run(workspace, NIGHTLY, doubled, policy=Policy(missed="once"))
    due(workspace, kept.name)
    with Firing(workspace).beside():
        wait_until(lambda: len(made(workspace)) == 1, "the schedule fires in a later look")
    assert len(looks) >= 2
