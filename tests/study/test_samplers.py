from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import Any

import optuna
import pytest

from hpo_pipelines import Float, Int, SpaceError, StudyError
from hpo_pipelines.study import samplers
from search_spaces import Space

SPACE = Space(
    {"kind": ["a", "b"], "n": Int(1, 3, when={"kind": "a"}), "m": Int(1, 2)}, constraints=["n != 2 or m == 1"]
)


@pytest.mark.parametrize(
    ("choice", "kind"),
    [
        (None, "TPESampler"),
        ("tpe", "TPESampler"),
        ("tpe()", "TPESampler"),
        ("TPE(multivariate=true, n_startup_trials=20)", "TPESampler"),
        ({"name": "tpe", "multivariate": True}, "TPESampler"),
        ("random", "RandomSampler"),
        ("qmc(qmc_type=halton, scramble=true)", "QMCSampler"),
        ("qmc(qmc_type='sobol', independent_sampler=tpe(n_startup_trials=2))", "QMCSampler"),
        ("grid", "Grid"),
        ("brute-force", "BruteForce"),
        ("nsga-ii(population_size=10, crossover=sbx, mutation_prob=null)", "NSGAIISampler"),
        ("nsgaiii(dividing_parameter=2)", "NSGAIIISampler"),
        ("prefix-reuse", "PrefixReuseSampler"),
        ("prefix_reuse(base=random, max_uses=5)", "PrefixReuseSampler"),
        ("memo-gp(hedge=0.1, gain=gittins, wait=1, stages={'load': ['n']})", "MemoGPSampler"),
        ({"name": "memo-gp", "stages": {"load": ["n"], "fit": {"params": ["m"], "after": ["load"]}}}, "MemoGPSampler"),
    ],
)
def test_samplers_by_name(choice: Any, kind: str) -> None:
    assert type(samplers.sampler(choice, 3, SPACE)).__name__ == kind


def test_options_reach_the_sampler() -> None:
    made: Any = samplers.sampler("tpe(multivariate=true, n_startup_trials=7)", 1)
    assert (made._multivariate, made._n_startup_trials) == (True, 7)
    crossed: Any = samplers.sampler("nsgaii(crossover=sbx)", 1)
    assert type(crossed._child_generation_strategy._crossover).__name__ == "SBXCrossover"
    given = optuna.samplers.RandomSampler()
    assert samplers.sampler(given, 1) is given


def test_a_sampler_inside_another_has_its_options_and_the_seed() -> None:
    made: Any = samplers.sampler("prefix-reuse(base=tpe(n_startup_trials=7), n_startup_trials=5)", 4)
    assert (made.base._n_startup_trials, made._n_startup) == (7, 5)
    written: Any = samplers.sampler({"name": "prefix-reuse", "base": {"name": "random"}}, 4)
    assert isinstance(written.base, optuna.samplers.RandomSampler)
    seeds = [samplers.sampler("prefix-reuse", seed).base._rng.rng.random() for seed in (4, 4, 5)]  # type: ignore[attr-defined]
    assert seeds[0] == seeds[1] != seeds[2]


@pytest.mark.integration
def test_scipy_is_imported_only_for_the_sampler_that_needs_it() -> None:
    code = "import sys; from hpo_pipelines.study import samplers; samplers.sampler('prefix-reuse', 1); "
    code += "print('hpo_pipelines.study.reuse.gaussian' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "False"


def drawn(choice: Any, seed: int | None) -> list[float]:
    study = optuna.create_study(sampler=samplers.sampler(choice, seed))
    return [study.ask().suggest_float("x", 0, 1) for _ in range(3)]


def test_the_seed_may_be_an_option() -> None:
    assert drawn("random(seed=5)", None) == drawn("random", 5) == drawn("random(seed=5)", 9)
    assert drawn("random", 6) != drawn("random", 5)


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ("tpo", "there are tpe, .* Did you mean 'tpe'"),
        ("nsga-iiii", "Did you mean 'nsgaiii'"),
        ("tpe(multivariat=true)", "the sampler tpe has no option 'multivariat'. Did you mean 'multivariate'. It has "),
        ("tpe(multivariate=20)", "multivariate is bool . None; got 20"),
        ("tpe(n_startup_trials=true)", "n_startup_trials is int; got True"),
        ("tpe(n_startup_trials='20')", "n_startup_trials is int; got '20'"),
        ("tpe(20)", r"write tpe\(multivariate=true"),
        ("tpe(", r"write tpe\(multivariate=true"),
        ("tpe(n_startup_trials=2) + 1", r"write tpe\(multivariate=true"),
        ("tpe(**x)", r"write tpe\(multivariate=true"),
        ("tpe(gamma=__import__('os'))", "has no option 'gamma'"),
        ("qmc(independent_sampler=__import__('os').system('x'))", "sampler=.__import__"),
        ("qmc(qmc_type=hlaton)", "qmc_type"),
        ("nsgaii(crossover=sbxx)", "crossover: there are .* Did you mean 'sbx'"),
        ("grid(points=0)", "points=0"),
        ("grid(pints=3)", "Did you mean 'points'"),
        ("prefix-reuse(base=grid)", "base='grid' takes every point once, .* use it as it is"),
        ("prefix-reuse(base=tpo)", "Did you mean 'tpe'"),
        ("prefix-reuse(bsae=tpe)", "Did you mean 'base'"),
        ("prefix-reuse(stages=load)", "stages: .* Write {load: .rows., fit: .lr.}, or leave it out"),
        ("memo-gp(stages={'load': 'rows'})", "a list of names; got the text 'rows'. Write"),
        ("memo-gp(hedge=2)", "hedge=2: it is a share, from 0 to 1"),
        ("memo-gp(hegde=0.2)", "Did you mean 'hedge'"),
        ("memo-gpp", "Did you mean 'memogp'"),
        ({"multivariate": True}, "write {name: tpe"),
        (7, "a name, a mapping with a name, or an Optuna sampler object"),
    ],
)
def test_wrong_choices_say_what_there_is(choice: Any, words: str) -> None:
    with pytest.raises(StudyError, match=words):
        samplers.sampler(choice, 1, SPACE)


@pytest.mark.parametrize(("name", "module"), [("gp(deterministic_objective=true)", "torch"), ("cma-es", "cmaes")])
def test_what_is_not_installed_has_a_cure(name: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec(module) is not None:
        assert isinstance(samplers.sampler(name, 1), optuna.samplers.BaseSampler)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(StudyError, match=rf"needs {module}, which is not installed: pip install 'hpo-pipelines\["):
        samplers.sampler(name, 1)


def test_an_exhaustive_sampler_ends_the_study() -> None:
    size = len(list(SPACE.samples()))
    assert size == 7
    for name in ("grid", "bruteforce"):
        made = samplers.sampler(name, 1, SPACE)
        assert samplers.exhaustive(made)
        assert samplers.exhaustive(name)
        assert samplers.limit(made, SPACE, None) == size
        assert samplers.limit(made, SPACE, 4) == 4
        assert samplers.limit(made, SPACE, 100) == size
    tpe = samplers.sampler("tpe", 1, SPACE)
    assert not samplers.exhaustive(tpe)
    assert samplers.limit(tpe, SPACE, 100) == 100
    assert not samplers.exhaustive(None)


def test_a_grid_over_a_continuous_range_needs_points() -> None:
    space = Space({"x": Float(0, 1), "lr": Float(1e-4, 1.0, log=True)})
    with pytest.raises(StudyError, match=r"x is continuous.*grid\(points=5\)"):
        samplers.limit(samplers.sampler("grid", 1, space), space, None)
    assert samplers.limit(samplers.sampler("grid(points=3)", 1, space), space, None) == 9
    rates = sorted({point["lr"] for point in space.samples(3)})
    assert rates == pytest.approx([1e-4, 1e-2, 1.0])
    assert (rates[0], rates[-1]) == (1e-4, 1.0)


def test_a_grid_too_large_to_count_needs_an_end() -> None:
    space = Space({"a": Int(1, 2000), "b": Int(1, 2000)})
    made = samplers.sampler("grid", 1, space)
    assert samplers.limit(made, space, 50) == 50


def test_an_infeasible_grid_is_refused() -> None:
    space = Space({"a": Int(1, 3)}, constraints=["a > 5"])
    with pytest.raises(SpaceError, match="no point of the space satisfies"):
        samplers.limit(samplers.sampler("grid", 1, space), space, None)


def test_who_has_one_objective_only() -> None:
    names = {"memo-gp": True, "prefix-reuse": False, "prefix-reuse(base=memo-gp(hedge=0.5))": True, "tpe": False}
    assert {name: samplers.is_memo(samplers.sampler(name, 1)) for name in names} == names
