from __future__ import annotations

import inspect
from dataclasses import fields

from hpo_pipelines import optimize
from hpo_pipelines.study.options import Options


def test_every_option_of_optimize_is_passed_on_with_its_default() -> None:
    signature = inspect.signature(optimize).parameters
    here = {"pipeline", "space", "progress", "workspace", "on_trial", "on_best"}
    assert {name: one.default for name, one in signature.items() if name not in here} == {
        one.name: one.default for one in fields(Options)
    }


def test_options_are_found_among_other_things() -> None:
    assert Options.among({"n_trials": 3, "space": {}, "workspace": None}) == Options(n_trials=3)
