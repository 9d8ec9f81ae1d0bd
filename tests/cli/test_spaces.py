"""``hpo space``, and spaces by name in ``hpo optimize``."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli.conftest import BODIES, Hpo

from search_spaces import Int, gallery, load, loads

SWEEP = """\
method: bayes
parameters:
  lr: {distribution: log_uniform_values, min: 1e-5, max: 1e-1}
  layers: {values: [[64], [64, 64]]}
  momentum: {distribution: normal, mu: 0.9, sigma: 0.01}
"""


def test_ls_and_show(hpo: Hpo) -> None:
    assert [line.split()[0] for line in hpo("space", "ls").out.splitlines()[1:]][:2] == ["catboost", "elastic_net"]
    rows = hpo("space", "ls", "--json").documents
    assert {row["name"] for row in rows} >= {"xgboost", "svm"}
    assert all(row["sources"] and row["parameters"] for row in rows)
    shown = hpo("space", "show", "svm")
    assert shown.out.startswith("# scikit-learn's SVC")
    assert loads(shown.out, "yaml") == gallery("svm")
    assert hpo("space", "show", "svm", "--json").document["space"]["degree"]["when"] == {"kernel": "poly"}


def test_show_checks_a_file(hpo: Hpo, tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text("fit: !space ridge\ndepth: {low: 1, high: 9, step: 2}\n")
    assert hpo("space", "show", str(file)).out == (
        "fit.alpha: {low: 0.0001, high: 10000.0, log: true}\ndepth: {low: 1, high: 9, step: 2}\n"
    )
    file.write_text("depth: {low: 1, hihg: 9}\n")
    wrong = hpo("space", "show", str(file))
    assert wrong.code == 5
    assert "space.yaml:1: depth.hihg: unknown key 'hihg'. Did you mean 'high'" in wrong.err


def test_import_prints_our_yaml_with_the_warnings(hpo: Hpo, tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(SWEEP)
    done = hpo("space", "import", str(file))
    assert done.code == 0
    assert done.out.startswith("# imported from wandb\n# left out, since a space has only parameters: method.\n")
    assert list(loads(done.out, "yaml")) == ["lr", "layers", "momentum"]
    assert done.err.count("warning: ") == 2
    for suffix in ("yaml", "toml", "json"):
        out = tmp_path / f"out.{suffix}"
        assert hpo("space", "import", str(file), "--from", "wandb", "-o", str(out)).code == 0
        assert load(out) == loads(done.out, "yaml")


def test_import_of_a_mapping_in_python(hpo: Hpo, tmp_path: Path) -> None:
    file = tmp_path / "search.py"
    file.write_text(
        "from optuna.distributions import IntDistribution\nspace = {'n': IntDistribution(1, 9)}\nother = {'n': 1}\n"
    )
    assert loads(hpo("space", "import", f"{file}:space").out, "yaml")["n"] == Int(1, 9)
    missing = hpo("space", "import", f"{file}:spaec")
    assert missing.code == 5
    assert "its mappings: space, other" in missing.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "xgbost"], "Did you mean 'xgboost'"),
        (["import", "nowhere.yaml"], "nowhere.yaml: the file cannot be read"),
        (["import", "nowhere.py:space"], "nowhere.py: there is no such file"),
        (["import", "SWEEP", "--from", "wadnb"], "Did you mean 'wandb'"),
        (["import", "SWEEP", "--from", "nni"], "has not the shape of nni"),
        (["import", "SWEEP", "-o", "out.txt"], "a space is kept in"),
    ],
)
def test_what_is_refused(hpo: Hpo, tmp_path: Path, arguments: list[str], said: str) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(SWEEP)
    done = hpo("space", *[str(file) if word == "SWEEP" else word for word in arguments])
    assert done.code == 5
    assert said in done.err


def test_a_study_by_grid_needs_no_end(hpo: Hpo, home: Path) -> None:
    study = hpo(
        "optimize", f"{BODIES}:simple", "-P", "x=int(1,3)", "-P", "y=choice(1,2)", "--sampler", "grid", "--json"
    ).document
    assert (study["trials"], study["best"]["params"]) == (6, {"x": 3, "y": 2})


def test_a_sampler_with_options(hpo: Hpo, home: Path) -> None:
    arguments = ["optimize", f"{BODIES}:simple", "-P", "x=int(1,3)", "-n", "2"]
    assert hpo(*arguments, "--sampler", "tpe(multivariate=true, n_startup_trials=1)").code == 0
    wrong = hpo(*arguments, "--sampler", "tpe(multivariat=true)")
    assert wrong.code == 18
    assert "Did you mean 'multivariate'" in wrong.err
