"""The command group: help, what it costs, and what is said of commands that there are not."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest
from cli.conftest import HPO, Hpo

from hpo_pipelines.cli.app import COMMANDS
from hpo_pipelines.errors import OUTCOMES

HEAVY = ("sqlalchemy", "alembic", "optuna", "pandas", "mlflow", "ray", "numpy", "rich", "pyarrow", "wrapt", "ruamel")


def test_help_lists_every_command_and_every_exit_code(hpo: Hpo) -> None:
    shown = hpo("--help")
    assert shown.code == 0
    for name in COMMANDS:
        assert f"\n  {name} " in shown.out
    text = " ".join(shown.out.split())
    for error, outcome in OUTCOMES.items():
        assert f"{outcome.exit_code} {error.__name__}" in text
    assert hpo().code == 2  # no command is wrong usage, and shows the help


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_that_begins_like_its_line_in_the_list(hpo: Hpo, name: str) -> None:
    shown = hpo(name, "--help")
    assert shown.code == 0
    assert shown.out.startswith(f"Usage: hpo {name} ")
    assert "Options:" in shown.out


def test_help_imports_nothing_heavy() -> None:
    code = f"""
import sys
from hpo_pipelines.cli import main
for command in [[], *([name] for name in {list(COMMANDS)!r}), ["--version"]]:
    try:
        main([*command, "--help"])
    except SystemExit as ended:
        assert ended.code == 0, command
print(*[name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stderr.split() == []


def test_help_takes_less_than_0_3_s_of_cpu() -> None:
    spent = []
    for _ in range(5):  # a busy machine makes CPU seconds longer: the best of a few is what it costs
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([*HPO, "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
        if spent[-1] < 0.3:
            return
    pytest.fail(f"hpo --help took {min(spent):.2f} s of CPU")


def test_version(hpo: Hpo) -> None:
    from hpo_pipelines import __version__

    assert hpo("--version").out == f"hpo, version {__version__}\n"


@pytest.mark.parametrize(("wrong", "right"), [("runn", "run"), ("optimise", "optimize"), ("log", "logs")])
def test_a_misspelt_command_names_the_nearest(hpo: Hpo, wrong: str, right: str) -> None:
    refused = hpo(wrong)
    assert refused.code == 2
    assert f"'{right}'" in refused.err
    assert refused.out == ""
