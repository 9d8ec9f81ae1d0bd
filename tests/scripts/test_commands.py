"""Commands as components: in plain Python, in runs, and in clones when the script is gone."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
from samples import scripted

from hpo_pipelines import CommandFailed, DefinitionError, Status, StepFailed, Workspace, command, notebook
from hpo_pipelines.scripts.folder import WorkingFolder
from hpo_pipelines.snapshot.beside import MOST_BYTES


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace(home=tmp_path / "home") as opened:
        yield opened


def test_outside_a_run_it_just_runs() -> None:
    made = scripted.train(pd.DataFrame({"a": [1, 2]}), lr=0.5)
    assert made["model"].read_text() == "1.5"
    assert pickle.loads(pickle.dumps(made["model"])) == Path(made["model"])
    folder = made["model"].parent
    del made
    assert not folder.exists()


def test_a_command_is_a_step(place: Workspace) -> None:
    note = 'it\'s "quoted"; $HOME `ls` &'
    run = scripted.scripted.run(note=note, workspace=place, executor="inline")
    assert run.status is Status.COMPLETED, run.error
    assert run.value == pytest.approx(0.4)
    step = run.steps["train"]
    assert f"training on 4 lines {note!r}" in step.console()
    assert "metric val.by is no number" in step.console()
    assert step.metrics == {"auc": 0.2, "loss": 1.0, "val.acc": 0.5}
    series = [(m.step, m.value) for m in place.store.metrics.of([step.id]) if m.name == "loss"]
    assert series == [(0, 3.0), (1, 2.5), (2, 1.0)]
    assert step.outputs["model"].name == "model.bin"
    again = scripted.scripted.run(note=note, lr=0.5, workspace=place, executor="inline")
    assert again.steps["train"].reused_from is None
    assert scripted.scripted.run(note=note, workspace=place, executor="inline").steps["train"].reused_from == step.id


def test_its_arguments_are_typed() -> None:
    assert str(scripted.train.signature) == "(data, lr: float = 0.1, note: str = '')"
    assert scripted.train.name == "train"
    assert (scripted.exits.options.outputs, scripted.train.options.outputs) == ((), ("model",))
    run = command("echo {x:int} {b}", params={"b": 2.5}, name="typed")
    assert str(run.signature) == "(x: int, b: float = 2.5)"


def write(folder: Path, script: str = "print('v1')") -> None:
    (folder / "script_here.py").write_text(script)
    (folder / "command_here.py").write_text(
        "from hpo_pipelines import command, pipeline\n"
        "say = command('python script_here.py {x:int}', outputs={'out': 'out.txt'})\n"
        "@pipeline\ndef saying(x: int = 1):\n    return say(x)['out']\n"
    )


SCRIPT = "import sys; open('out.txt', 'w').write('{} ' + sys.argv[1])"


def test_the_scripts_bytes_are_in_the_key_and_travel(
    place: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, SCRIPT.format("v1"))
    monkeypatch.syspath_prepend(str(tmp_path))
    import command_here as before  # type: ignore[import-not-found]

    first = before.saying.run(workspace=place, executor="inline")
    assert first.value.read_text() == "v1 1"
    write(tmp_path, SCRIPT.format("v2"))
    del sys.modules["command_here"]
    import command_here as after

    second = after.saying.run(workspace=place, executor="inline")
    assert second.value.read_text() == "v2 1"
    assert second.task.snapshot != first.task.snapshot
    assert [change.name for change in second.steps["script_here"].why().changes] == ["script_here.py"]
    for name in ("script_here.py", "command_here.py"):
        (tmp_path / name).unlink()
    del sys.modules["command_here"]
    with Workspace(home=place.home) as later:
        assert later.get(first.id).clone(x=5).run(executor="inline").value.read_text() == "v1 5"
        assert later.get(second.id).clone(x=6).run(executor="inline").value.read_text() == "v2 6"


def test_one_defined_in_a_function_travels_by_value(place: Workspace) -> None:
    made = command("printf %s {x} ", name="inner")
    run = made.run(x="hello", workspace=place, executor="inline")
    assert "hello" in run.steps["inner"].console()
    other = command("printf %s%s {x} {x}", name="inner")
    again = other.run(x="hello", workspace=place, executor="inline")
    assert again.task.snapshot != run.task.snapshot
    with Workspace(home=place.home) as later:
        assert "bye" in later.get(run.id).clone(x="bye").run(executor="inline").steps["inner"].console()


def test_another_exit_code_fails_the_step_with_the_last_lines(place: Workspace) -> None:
    run = scripted.exits.run(code=3, workspace=place, executor="inline")
    assert run.status is Status.FAILED
    assert run.error is not None
    assert run.error["type"] == "CommandFailed"
    assert run.error["message"].startswith("exits ended with exit code 3: python -c")
    assert run.error["message"].endswith("\n  so far")
    assert scripted.exits.run(code=0, workspace=place, executor="inline").status is Status.COMPLETED
    with pytest.raises(StepFailed):
        scripted.exits(code=4)


@pytest.mark.parametrize(
    ("made", "values", "said"),
    [
        (scripted.leaves_nothing, {}, r"left no x \(out/x.bin\). There are: scripts/train.py"),
        (command("no-such-program-here", name="absent"), {}, "cannot be run: no-such-program-here: No such file"),
        (command("kill -9 $$", shell=True, name="killed"), {}, "killed was killed by SIGKILL"),
        (command("true", metrics="m.json", name="silent"), {}, "left no m.json with metrics"),
        (
            command("printf x > m.json", shell=True, metrics="m.json", name="wrong"),
            {},
            "metrics in m.json that are no JSON",
        ),
        (
            command("cat {a}", inputs={"a": "a.bin"}, name="cat"),
            {"a": "text"},
            "cannot be put at a.bin: give a Path or bytes",
        ),
        (command("cat {a}", inputs={"a": "a.bin"}, name="cat"), {"a": Path("nowhere")}, "a path to no file or folder"),
        (command("cat {a}", inputs={"a": "a.json"}, name="cat"), {"a": object()}, "cannot be put at a.json"),
    ],
)
def test_what_goes_wrong_is_said(made: Any, values: dict[str, Any], said: str) -> None:
    with pytest.raises(CommandFailed, match=said):
        made(**values)


def test_a_shell_is_used_only_where_asked_for() -> None:
    said = scripted.shelled(text="a b; $(touch x) 'q'")["said"]
    assert said.read_text() == "a b; $(touch x) 'q'"


def test_inputs_are_put_by_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "x").write_text("in it")
    place = WorkingFolder()
    place.put_input("a", "deep/a.bin", b"bytes")
    place.put_input("b", "b.csv", pd.DataFrame({"x": [1]}))
    place.put_input("c", "c.parquet", pd.DataFrame({"x": [2]}))
    place.put_input("d", "d.json", {"k": [1, None]})
    place.put_input("e", "e", tmp_path / "folder")
    assert (place.path / "deep/a.bin").read_bytes() == b"bytes"
    assert (place.path / "b.csv").read_text() == "x\n1\n"
    assert pd.read_parquet(place.path / "c.parquet")["x"].tolist() == [2]
    assert (place.path / "d.json").read_text() == '{"k": [1, null]}'
    assert (place.path / "e/x").read_text() == "in it"
    place.put_file("run.sh", b"#!/bin/sh\n")
    assert (place.path / "run.sh").stat().st_mode & 0o100


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("echo", {"inputs": {"a b": "x"}}, "a name and a path"),
        ("echo", {"inputs": {"a": "../x"}}, "lies below that"),
        ("echo", {"outputs": {"a": "/etc/x"}}, "lies below that"),
        ("echo", {"metrics": "/m.json"}, "lies below that"),
        (
            "echo",
            {"files": ["nothing.py"]},
            "there is no 'nothing.py' beside .*test_commands; there: .*test_commands.py",
        ),
        ("echo", {"files": "x"}, "files is a list"),
        ("echo", {"params": {"x": 1}}, "has no {x}"),
        ("echo", {"inputs": {"a": "x"}, "outputs": {"a": "y"}}, "among both inputs and outputs"),
        ("echo", {"timeout": "soon"}, "duration"),
    ],
)
def test_what_cannot_be_a_command(text: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(Exception, match=said) as raised:
        command(text, **options)
    assert type(raised.value).__name__ in ("DefinitionError", "ParameterError")


def test_files_that_are_data_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "big.bin").write_bytes(bytes(MOST_BYTES + 1))
    namespace: dict[str, Any] = {"__name__": "big_here", "__file__": str(tmp_path / "big_here.py")}
    code = "from hpo_pipelines import command\nc = command('cat big.bin')\n"
    with pytest.raises(DefinitionError, match="data is given as an input"):
        exec(code, namespace)


@pytest.mark.integration
def test_a_command_past_its_timeout_leaves_no_process(place: Workspace, tmp_path: Path) -> None:
    mark = f"mark-{tmp_path.name}"
    run = scripted.lingering.run(mark=mark, workspace=place, executor="local")
    assert (run.status, run.steps["lingers"].reason) == (Status.FAILED, "timeout")
    assert [each for each in psutil.process_iter(["cmdline"]) if mark in (each.info["cmdline"] or [])] == []


@pytest.mark.integration
def test_a_worker_runs_it_from_the_snapshot(place: Workspace) -> None:
    run = scripted.scripted.run(workspace=place, executor="local", lr=0.2)
    assert run.value == pytest.approx(0.8)
    assert "training on 4 lines" in run.steps["train"].console()


NOTEBOOK = """{"cells": [
 {"cell_type": "code", "execution_count": null, "id": "a", "metadata": {"tags": ["parameters"]}, "outputs": [],
  "source": "lr = 0.0\\ndata = ''"},
 {"cell_type": "code", "execution_count": null, "id": "b", "metadata": {}, "outputs": [],
  "source": "open('model.txt', 'w').write(open(data).read() * int(lr * 10))\\nprint('lr is', lr)"}],
 "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
 "nbformat": 4, "nbformat_minor": 5}"""


def noted(folder: Path) -> Any:
    (folder / "train.ipynb").write_text(NOTEBOOK)
    namespace: dict[str, Any] = {
        "__name__": "noted_here", "__file__": str(folder / "noted_here.py"), "notebook": notebook,
    }  # fmt: skip
    text = (
        "train = notebook('train.ipynb', params={'lr': 0.1}, inputs={'data': 'd.txt'}, outputs={'model': 'model.txt'})"
    )
    exec(text, namespace)
    return namespace["train"]


@pytest.mark.integration
def test_a_notebook_is_executed_with_its_parameters(tmp_path: Path) -> None:
    made = noted(tmp_path)(data=b"ab", lr=0.3)
    assert made["model"].read_text() == "ababab"
    assert "lr is 0.3" in made["notebook"].read_text()
    assert made["notebook"].name == "train.ipynb"


def test_a_notebook_without_papermill_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = noted(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(CommandFailed, match=r"pip install 'hpo-pipelines\[notebooks\]'"):
        made(data=b"x")
