"""``hpo schedule``."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli.conftest import BODIES, Hpo

pytestmark = pytest.mark.usefixtures("home")


def test_a_schedule_is_added_listed_fired_paused_and_removed(hpo: Hpo) -> None:
    added = hpo("schedule", "add", "0 3 * * *", f"{BODIES}:simple", "-P", "x=40", "-P", "y=2", "--tz", "Europe/Prague")
    assert (added.code, added.err) == (0, "")
    assert added.out.startswith("simple: ")
    assert ":simple 0 3 * * * (Europe/Prague); next at 20" in added.out
    assert added.out.endswith("03:00:00 Europe/Prague\n")
    (listed,) = hpo("schedule", "ls", "--json").documents
    assert (listed["schedule"], listed["fired"], listed["missed"]) == ("simple", 0, "once")
    assert hpo("schedule", "fire", "simple").out == "simple#1 is queued\n"
    assert hpo("agent", "--until-idle").code == 0
    assert hpo("show", "simple#1", "--json").document["status"] == "completed"
    assert "fired by hand" in hpo("schedule", "ls").out
    assert hpo("schedule", "pause", "simple").out == "simple is paused\n"
    assert hpo("schedule", "ls", "--json").document["next"] == "paused"
    assert "next at 20" in hpo("schedule", "resume", "simple").out
    assert hpo("schedule", "rm", "simple").out == "simple is removed\n"
    assert hpo("schedule", "ls").err.startswith("no schedules; ")


def test_an_agent_is_not_idle_before_it_has_driven_what_follows_a_run(hpo: Hpo) -> None:
    arguments = (f"{BODIES}:simple", "-P", "x=40", "-P", "y=2")
    assert hpo("schedule", "add", "0 3 * * *", *arguments, "--name", "nightly").code == 0
    for name, before in (("then", "nightly"), ("last", "then")):
        assert hpo("schedule", "add", "--on-tag", f"schedule:{before}", *arguments, "--name", name).code == 0
    assert hpo("schedule", "fire", "nightly").out == "simple#1 is queued\n"
    assert hpo("agent", "--until-idle").err.splitlines()[-1] == "3 runs driven"


def test_a_recorded_run_is_cloned_when_another_ends(hpo: Hpo) -> None:
    assert hpo("run", f"{BODIES}:simple", "-P", "x=1", "-P", "y=1").code == 0
    added = hpo("schedule", "add", "--after", "other", "simple#1", "-P", "x=5", "--name", "chained")
    assert added.out == "chained: a clone of simple#1 after other\n"
    tagged = hpo("schedule", "add", "--on-tag", "ready", "simple#1", "--json").document
    assert (tagged["when"], tagged["next_at"]) == ("on tag ready", None)


def test_a_study_file_is_scheduled(hpo: Hpo, tmp_path: Path) -> None:
    file = tmp_path / "nightly.yaml"
    file.write_text(f"pipeline: {BODIES}:simple\nn_trials: 2\nparams: {{x: {{low: 0, high: 3}}, y: 1}}\n")
    added = hpo("schedule", "add", "0 3 * * *", str(file))
    assert (added.code, added.err) == (0, "")
    assert added.out.startswith("nightly: study nightly 0 3 * * * (UTC); next at 20")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["0 3 * * *"], 2, "say when and what"),
        (["0", "3", "*", "*", "*", "simple#1"], 2, "a time stands in quotes"),
        (["0 3 * * *", "simple#1", "--after", "x"], 2, "say when and what"),
        (["0 3 * *", f"{BODIES}:simple"], 22, "a time is five fields"),
        (["0 3 * * *", "nobody#1"], 7, "nobody"),
        (["0 3 * * *", f"{BODIES}:simple", "-P", "z=1"], 4, "z"),
        (["0 3 * * *", f"{BODIES}:simple", "-P", "x=1", "-P", "y=1", "--queue", "gpu"], 19, "gpu"),
    ],
)
def test_what_cannot_be_scheduled(hpo: Hpo, words: list[str], code: int, said: str) -> None:
    ended = hpo("schedule", "add", *words)
    assert ended.code == code
    assert said in ended.err


@pytest.mark.parametrize("command", ["pause", "resume", "rm", "fire"])
def test_a_schedule_that_is_not_there(hpo: Hpo, command: str) -> None:
    ended = hpo("schedule", command, "nightly")
    assert (ended.code, ended.err) == (22, "error: there is no schedule 'nightly'; there are: none.\n")
