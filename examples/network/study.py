"""Tunes a neural net that tells its accuracy after each epoch, so that hopeless trials are pruned; or for two aims.

    python examples/network/study.py            # accuracy alone; prints the three best
    python examples/network/study.py --front    # accuracy against log loss; prints the Pareto front

What ClearML's hyper_parameter_optimizer.py and multi_objective_hpo.py show.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from hpo_pipelines import Categorical, Float, Int, Study, component, optimize, pipeline, report

SPACE = {
    "layer_1": Int(16, 64, step=16),
    "layer_2": Int(16, 64, step=16),
    "batch_size": Categorical([32, 64, 128]),
    "rate": Float(1e-4, 1e-1, log=True),
}


@component(outputs=("train_x", "test_x", "train_y", "test_y"))
def load(seed: int) -> Any:
    images, digits = load_digits(return_X_y=True)
    return train_test_split(images / 16, digits, test_size=0.3, random_state=seed, stratify=digits)


@component
def train(data: tuple[np.ndarray, ...], layers: list[int], batch_size: int, rate: float, epochs: int) -> MLPClassifier:
    """A net after ``epochs`` passes; reports ``epoch_accuracy`` after each, which the pruner hears."""
    train_x, test_x, train_y, test_y = data
    net = MLPClassifier(layers, batch_size=batch_size, learning_rate_init=rate, random_state=0)
    for epoch in range(epochs):
        net.partial_fit(train_x, train_y, classes=np.arange(10))
        accuracy = net.score(test_x, test_y)
        print(f"epoch {epoch}: loss {net.loss_:.4f}, accuracy {accuracy:.4f}")
        report("epoch_accuracy", accuracy, step=epoch)
    return net


@component
def evaluate(net: MLPClassifier, x: np.ndarray, y: np.ndarray) -> None:
    report("accuracy", net.score(x, y))
    report("loss", log_loss(y, net.predict_proba(x)))


@pipeline(project="examples")
def network(
    layer_1: int = 16, layer_2: int = 16, batch_size: int = 128, rate: float = 1e-3, epochs: int = 5, seed: int = 0
) -> None:
    data = load(seed)
    net = train(data, [layer_1, layer_2], batch_size, rate, epochs)
    evaluate(net, data[1], data[3])


def tune(n_trials: int = 10, **options: Any) -> Study:
    """The study of one objective, trials below the median of the others pruned."""
    best = [float("-inf")]

    def announce(progress: Any) -> None:
        if progress.best is not None and progress.best > best[0]:
            best[0] = progress.best
            print(f"a new record after {progress.done} trials: {progress.best:.4f}")

    return optimize(
        network,
        SPACE,
        objective="train.epoch_accuracy",
        direction="maximize",
        pruner="median",
        n_trials=n_trials,
        seed=0,
        name="network",
        progress=announce,
        **options,
    )


def front(n_trials: int = 10, **options: Any) -> Study:
    """The study of two objectives: right more often, and more sure where right."""
    return optimize(
        network,
        SPACE,
        objective=["evaluate.accuracy", "evaluate.loss"],
        direction=["maximize", "minimize"],
        n_trials=n_trials,
        seed=0,
        name="network-front",
        **options,
    )


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--front", action="store_true")
    if arguments.parse_args().front:
        for trial in front(n_jobs=2).best_trials:
            print(trial.number, trial.values, trial.params)
    else:
        study = tune(n_jobs=2)
        finished = [trial for trial in study.trials if trial.value is not None]
        for trial in sorted(finished, key=lambda trial: trial.value, reverse=True)[:3]:
            print(trial.number, f"{trial.value:.4f}", trial.params)
        print(
            sum(str(trial.status) == "pruned" for trial in study.trials), "of", len(study.trials), "trials were pruned"
        )
