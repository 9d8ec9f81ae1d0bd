"""Completion in the shell, asked as the shells' scripts ask."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from cli.conftest import HPO, Hpo
from click.shell_completion import ShellComplete

from hpo_pipelines.cli.app import COMMANDS
from hpo_pipelines.cli.app import hpo as group


def completions(*words: str) -> list[str]:
    """What may follow: the last word is begun."""
    return [
        item.value
        for item in ShellComplete(group, {}, "hpo", "_HPO_COMPLETE").get_completions([*words[:-1]], words[-1])
    ]


def test_commands_and_options() -> None:
    assert completions("") == list(COMMANDS)
    assert completions("com") == ["compare", "completion"]
    assert set(completions("rerun", "--")) >= {"--failed", "--from", "--refresh", "--json"}
    assert completions("run", "--executor", "l") == ["local"]


def test_runs_steps_and_studies(recorded: Path) -> None:
    assert completions("show", "training#") == ["training#1"]
    assert completions("compare", "simple#1", "simple#")[-2:] == ["simple#2", "simple#1"]
    assert completions("show", "training#1/fi") == ["training#1/fit", "training#1/fit.2"]
    assert completions("logs", "training#1", "num") == ["number", "number.2"]
    assert completions("rerun", "training#1", "--from", "fit") == ["fit", "fit.2"]
    assert completions("best", "x") == ["xs"]
    assert completions("ls", "--study", "") == ["xs"]
    assert completions("logs", "nope#1", "") == []
    assert completions("show", "nope#1/") == []


@pytest.mark.parametrize("home", ["/dev/null/x", "/nonexistent/home"])
def test_without_a_store_there_is_nothing_to_complete_and_nothing_is_made(
    home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPO_HOME", home)
    assert completions("show", "x") == []
    assert not os.path.exists("/nonexistent")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_scripts(hpo: Hpo, shell: str) -> None:
    script = hpo("completion", shell).out
    assert "_HPO_COMPLETE" in script
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    assert hpo("completion", "cmd").code == 2


def test_as_bash_asks(recorded: Path) -> None:
    environment = {**os.environ, "_HPO_COMPLETE": "bash_complete", "COMP_WORDS": "hpo show trai", "COMP_CWORD": "2"}
    done = subprocess.run(HPO, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "plain,training#1\n"
    assert done.stderr == ""
