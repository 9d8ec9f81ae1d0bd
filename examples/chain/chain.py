"""Chains recorded steps of two pipelines into a third, runs it, clones it and tunes it."""

from __future__ import annotations

from pathlib import Path

from pipeline import first_try, prepare_data

from hpo_pipelines import Float, Pipeline, optimize
from hpo_pipelines.assembly import load_chain

if __name__ == "__main__":
    prepare_data.run()  # what is chained: somebody has run these once
    first_try.run()

    chain = Pipeline.from_tasks("by hand", "examples", parameters={"size": 200, "shrink": 1.0})
    chain.add("prep", task="prepare_data#1/prepare", params={"size": "${pipeline.size}"})
    chain.add(
        "train",
        task="latest of examples/first_try/fit",
        inputs={"train": "${prep.outputs.train}"},
        params={"shrink": "${pipeline.shrink}"},
    )
    chain.add("score", task="first_try#1/judge", inputs={"model": "${train.output}", "test": "${prep.outputs.test}"})
    chain.returns(error="${score.output}")

    run = chain.run()
    print("error", run.value["error"], "prep reused", run.steps["prep"].reused_from is not None)
    print("with more data", run.clone(size=400).run().value["error"])
    study = optimize(
        run,
        space={"shrink": Float(0.0, 20.0)},
        objective="score.error",
        direction="minimize",
        n_trials=5,
        progress=False,
    )
    print("best error", study.best_value)

    skipped = load_chain(Path(__file__).with_name("nightly.yaml")).run(size=100)
    print("few rows:", skipped.steps["score"].reason)
