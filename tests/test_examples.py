"""Every example runs: as plain functions, and as the study it is shown for."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from click import Context

import search_spaces
from hpo_pipelines.cli.app import hpo
from hpo_pipelines.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"


def load(path: str) -> ModuleType:
    """An example's module under a name of its own: two of them are called ``pipeline``."""
    name = "example_" + re.sub(r"\W", "_", path.removesuffix(".py"))
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / path)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(script: str | Path, *arguments: str) -> str:
    """What a script (in examples/, or by its whole path) prints; fails with all it wrote unless it exits with 0."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / script), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONWARNINGS": "default"},
    )
    assert done.returncode == 0, f"{script} exited with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def number_after(text: str, label: str) -> float:
    found = re.search(rf"{label}\s*(-?\d+(?:\.\d+)?)", text)
    assert found, f"no number after {label!r} in:\n{text}"
    return float(found[1])


def test_the_quickstart_is_short() -> None:
    assert len((EXAMPLES / "quickstart.py").read_text("utf-8").splitlines()) <= 40


def test_the_quickstart_pipeline_is_a_plain_function() -> None:
    curve = load("quickstart.py").curve
    assert curve(degree=7, ridge=1e-4) < 0.1 < curve(degree=1)


def test_the_digits_space_knows_its_pipeline() -> None:
    space = search_spaces.load(EXAMPLES / "digits" / "space.yaml")
    assert set(space) == {
        "dimensions", "scale", "model", "C", "gamma", "n_estimators", "max_depth", "attempts",
    }  # fmt: skip


@pytest.mark.integration
def test_the_digits_pipeline_is_a_plain_function_that_trains_again() -> None:
    digits = load("digits/pipeline.py").digits
    base = digits()
    assert base["trainings"] == 3
    assert 0.75 < base["accuracy"] < 0.85
    better = digits(model="svm", C=1.0, gamma=0.03, dimensions=36, scale=False)
    assert better["trainings"] == 1
    assert better["accuracy"] > 0.97


@pytest.mark.integration
def test_the_penguins_pipeline_is_a_plain_function() -> None:
    penguins = load("penguins/pipeline.py").penguins
    base = penguins()["error_grams"]
    assert penguins(learning_rate=0.1, max_depth=2, encoding="onehot")["error_grams"] < base - 50
    assert penguins(missing_sex="frequent")["error_grams"] < 500


@pytest.mark.integration
def test_the_example_of_the_readme_tunes(tracked_home: Path, tmp_path: Path) -> None:
    block = re.search(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert block
    code = [line for line in block[1].splitlines() if line]
    assert len(code) <= 25
    script = tmp_path / "readme_example.py"
    script.write_text("\n".join(code))
    assert 0.9 < float(run(script).splitlines()[-1].split()[0]) <= 1.0


@pytest.mark.integration
def test_the_quickstart_tunes(tracked_home: Path) -> None:
    printed = run("quickstart.py")
    assert number_after(printed, "best error") < 0.1
    assert "measure was reused from None" not in printed


@pytest.mark.integration
def test_the_penguins_study_beats_its_base_run(tracked_home: Path) -> None:
    printed = run("penguins/study.py")
    assert number_after(printed, "best trial") < number_after(printed, "base run")


@pytest.mark.integration
@pytest.mark.parametrize(("executor", "trials"), [("local", 12), ("ray", 30)])
def test_the_digits_study_passes_its_own_checks(tracked_home: Path, executor: str, trials: int) -> None:
    printed = run("digits/study.py", "--executor", executor, "--trials", str(trials))
    assert number_after(printed, "tracked") == trials
    assert number_after(printed, "reused") > 0
    assert number_after(printed, "retrained") > 0


def test_the_compose_file_sets_what_it_says() -> None:
    path = EXAMPLES / "machines" / "compose.yaml"
    services = yaml.safe_load(path.read_text())["services"]
    assert set(services) == {"store", "artifacts", "bucket", "mlflow", "agent"}
    for service in services.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    agent = services["agent"]
    settings = Settings.load("/nowhere", agent["environment"])
    assert settings.store.startswith("postgresql+psycopg://")
    assert settings.artifacts.startswith("s3://")
    words = shlex.split(shlex.split(agent["command"])[2])
    command = words[words.index("agent") :]
    assert hpo.get_command(Context(hpo), "agent") is not None
    queues = [command[place + 1] for place, word in enumerate(command) if word == "--queue"]
    assert all(name in settings.queues for name in queues)


@pytest.mark.integration
def test_recorded_steps_are_chained(home: Path) -> None:
    printed = run("chain/chain.py")
    assert number_after(printed, "best error") <= number_after(printed, "error")
    assert "prep reused True" in printed
    assert "few rows: when ${prep.metrics.rows} > 100 is false: ${prep.metrics.rows} is 75.0" in printed


@pytest.mark.integration
def test_a_script_is_a_step(home: Path) -> None:
    printed = run("command/pipeline.py")
    assert number_after(printed, "slope") > number_after(printed, "with a ridge")
    assert "points reused from None" not in printed
