"""Tunes the digits pipeline with 30 trials on a local Ray, shows what came of it, and checks it.

Exits 1 when a check fails: something was reused, something was trained again, the best trial beats the base run, and
MLflow holds one run for each trial.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from mlflow import MlflowClient
from pipeline import digits

from hpo_pipelines import Study, optimize

OBJECTIVE = "evaluate.accuracy"
MIRROR_SECONDS = 30.0
"""How long the MLflow mirror, which follows the study, may take to catch up."""


def tracked_trials(study: Study) -> int:
    """How many runs of ``study`` MLflow holds, once the mirror has caught up."""
    study.workspace.drain(MIRROR_SECONDS)
    client = MlflowClient(study.workspace.settings.tracking_uri)
    experiment = client.get_experiment_by_name("examples/digits")
    if experiment is None:
        return 0
    return len(client.search_runs([experiment.experiment_id], f"tags.`hpo.study` = '{study.name}'", max_results=1000))


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--executor", default="ray", choices=("inline", "local", "ray"))
    arguments.add_argument("--trials", default=30, type=int)
    options = arguments.parse_args()

    started = time.monotonic()
    study = optimize(
        digits,
        space=Path(__file__).with_name("space.yaml"),
        objective=OBJECTIVE,
        direction="maximize",
        n_trials=options.trials,
        n_jobs=2,
        executor=options.executor,
        seed=0,
        name="digits",
    )
    seconds = time.monotonic() - started

    runs = study.runs
    base, best = runs[0], study.best_run
    steps = [step for run in runs for step in run.steps.values()]
    reused = sum(step.reused_from is not None for step in steps)
    retrained = [run for run in runs if "train.2" in run.steps]
    tracked = tracked_trials(study)

    print(f"\n{len(runs)} trials, {len(steps)} steps in {seconds:.1f} s on {options.executor}")
    print(f"base run    {base.label}: accuracy {base.metrics[OBJECTIVE]:.4f} after {base.value['trainings']} trainings")
    print(f"best trial  {best.label}: accuracy {study.best_value:.4f} with")
    for name, value in study.best_params.items():
        print(f"              {name} = {value}")
    print(f"reused      {reused} of {len(steps)} steps ({reused / len(steps):.0%}) were taken from another trial")
    print(f"retrained   {len(retrained)} runs, because their first accuracy was below the target")
    print(f"tracked     {tracked} trial runs in MLflow, experiment examples/digits")
    print("\nto look further (with the same HPO_HOME):")
    for command in (
        "hpo ls",
        f"hpo show {best.label}",
        f"hpo compare {base.label} {best.label}",
        f"hpo clone {best.label} -P C=1.0",
        "hpo mlflow",
    ):
        print(f"  {command}")

    checks = {
        f"the study has {options.trials} trials, not {len(runs)}": len(runs) == options.trials,
        "at least one step is reused": reused > 0,
        "at least one run trains again": bool(retrained),
        "the best trial beats the base run": study.best_value > base.metrics[OBJECTIVE],
        f"MLflow holds one run for each of {len(runs)} trials, not {tracked}": tracked == len(runs),
    }
    failures = [check for check, holds in checks.items() if not holds]
    for failure in failures:
        print(f"FAILED: expected that {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
