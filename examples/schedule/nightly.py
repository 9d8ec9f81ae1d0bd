"""A run every night, a report whenever one has completed, a study once a month; here fired by hand.

python examples/schedule/nightly.py. An agent (`hpo agent`, or the one inside `hpo up`) fires them when it is time:
what ClearML's cron_example.py and trigger_example.py show, in our words. In the shell, from this folder:

    hpo schedule add "0 3 * * *" nightly.py:ingest -P rows=500 --tz Europe/Prague --name nightly
    hpo schedule add --after examples/ingest nightly.py:summary -P of='${trigger.label}' --name told
    hpo schedule fire nightly
    hpo agent --until-idle
    hpo schedule ls
"""

from __future__ import annotations

from hpo_pipelines import Float, Space, Workspace, component, get, pipeline, report
from hpo_pipelines.agent import Agent
from hpo_pipelines.schedules import After, Clock, Firing, Policy, add_run, add_study
from hpo_pipelines.study.resumption import resume


@component
def collect(rows: int) -> list[float]:
    return [(7919 * index % 1000) / 1000 for index in range(rows)]


@component
def mean(values: list[float]) -> float:
    result = sum(values) / len(values)
    report("mean", result)
    return result


@component
def distance(values: list[float], guess: float) -> float:
    return sum(abs(value - guess) for value in values) / len(values)


@pipeline(project="examples")
def ingest(rows: int = 100) -> float:
    return mean(collect(rows))


@pipeline(project="examples")
def summary(of: str) -> str:
    """Says what the run labelled ``of`` has found."""
    return f"{of} has a mean of {get(of).value:.3f}"


@pipeline(project="examples")
def guessing(rows: int = 100, guess: float = 0.0) -> float:
    return distance(collect(rows), guess)


def schedule(workspace: Workspace) -> None:
    """Adds all three; what they start has the code and the parameters of now."""
    nightly = Clock("0 3 * * *", "Europe/Prague")
    add_run(workspace, nightly, ingest, {"rows": 500}, name="nightly", policy=Policy(missed="skip"))
    add_run(workspace, After("examples/ingest"), summary, {"of": "${trigger.label}"}, name="told")
    search = {"direction": "minimize", "n_trials": 5}
    add_study(workspace, Clock("0 0 1 * *"), guessing, Space({"guess": Float(0, 1)}), search, name="monthly")


def fire(workspace: Workspace) -> None:
    """What agents do when it is time, now: the run, what follows it, and the study."""
    firing = Firing(workspace)
    firing.fire("nightly")
    Agent(workspace, ["services"]).run(until_idle=True, last_look=firing.look)  # at what follows the run
    resume(workspace, firing.fire("monthly"))  # an agent would take it up, as it does when a study's driver went away


if __name__ == "__main__":
    with Workspace() as workspace:
        schedule(workspace)
        fire(workspace)
        for each in workspace.store.schedules.all():
            started = workspace.store.tasks.get(str(each.last_task))
            print(f"{each.name}: {started.label} is {started.status}")
