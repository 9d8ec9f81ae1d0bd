"""``hpo chain``, and the file of a chain wherever a pipeline is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli.conftest import Hpo

SAMPLES = Path(__file__).parents[1] / "samples"
TEXT = """\
parameters: {lr: 0.1}
steps:
  train:
    task: churn#1/fit
    params: {lr: "${pipeline.lr}"}
  again:
    task: churn#1/fit
    params: {lr: 0.3}
    when: ${train.metrics.auc} > 100
returns: ${train.metrics.auc}
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, hpo: Hpo) -> None:
    monkeypatch.chdir(tmp_path)
    Path("nightly.yaml").write_text(TEXT)
    assert hpo("run", f"{SAMPLES / 'chained.py'}:churn").code == 0


def test_a_chain_is_run_cloned_and_shown(hpo: Hpo) -> None:
    ended = hpo("chain", "nightly.yaml", "-P", "lr=0.5")
    assert (ended.code, ended.out.splitlines()[-1]) == (0, "5.0")  # behind what the step printed
    assert "nightly#1/again  skipped" in ended.err
    assert hpo("clone", "nightly#1", "-P", "lr=2").out.splitlines()[-1] == "20.0"
    shown = hpo("show", "nightly#2").out
    assert "train" in shown
    assert "when ${train.metrics.auc} > 100 is false" in shown
    assert hpo("why", "nightly#2", "train").code == 0


def test_its_file_is_scheduled(hpo: Hpo) -> None:
    added = hpo("schedule", "add", "0 3 * * *", "nightly.yaml", "-P", "lr=0.2")
    assert (added.code, added.err) == (0, "")
    assert hpo("schedule", "fire", "nightly").out == "nightly#1 is queued\n"
    assert hpo("agent", "--until-idle", "--executor", "inline").code == 0
    assert hpo("show", "nightly#1", "--json").document["params"] == {"lr": 0.2}


def test_its_file_stands_for_a_pipeline(hpo: Hpo) -> None:
    assert hpo("run", "nightly.yaml").out == "1.0\n"
    plan = hpo("plan", "nightly.yaml").out
    assert "reused from churn#1/fit" in plan
    study = hpo("optimize", "nightly#1", "-P", "lr=uniform(0.1,1)", "--objective", "train.auc", "-n", "2")
    assert study.code == 0, study.err
    Path("study.yaml").write_text(
        "pipeline: nightly.yaml\nobjective: train.auc\nn_trials: 2\nparams: {lr: {low: 0.1, high: 1.0}}\nname: filed\n"
    )
    assert "nobody knows, since no step was followed" in hpo("optimize", "study.yaml", "--plan").out
    assert hpo("optimize", "study.yaml").code == 0


def test_it_can_be_checked_alone(hpo: Hpo) -> None:
    ended = hpo("chain", "nightly.yaml", "--check")
    assert ended.out == ("train: churn#1/fit\nagain: churn#1/fit, after train, when ${train.metrics.auc} > 100\n")
    document = hpo("chain", "nightly.yaml", "--check", "--json").document
    assert [step["name"] for step in document["steps"]] == ["train", "again"]
    assert "nightly" not in hpo("ls").out


def test_mistakes_are_said_with_file_and_line(hpo: Hpo) -> None:
    Path("nightly.yaml").write_text(TEXT.replace("churn#1/fit", "churn#1/fitt", 1))
    ended = hpo("chain", "nightly.yaml")
    assert ended.code == 3
    assert "nightly.yaml:4: steps.train.task: churn#1 has no step 'fitt'; did you mean 'fit'?" in ended.err
    assert hpo("chain", "nothing.yaml").code == 19
