"""Tune a whole pipeline: python examples/quickstart.py"""

import numpy as np

from hpo_pipelines import Float, Int, component, optimize, pipeline, report


@component(outputs=("x", "y"))
def measure(points: int, noise: float):
    x = np.linspace(-1, 1, points)
    return x, np.sin(4 * x) + np.random.default_rng(0).normal(0, noise, points)


@component
def fit(x, y, degree: int, ridge: float):
    basis = np.vander(x[::2], degree + 1)
    return np.linalg.solve(basis.T @ basis + ridge * np.eye(degree + 1), basis.T @ y[::2])


@component
def evaluate(weights, x, y):
    error = np.mean((np.polyval(weights, x[1::2]) - y[1::2]) ** 2)
    report("error", error)
    return float(error)


@pipeline(project="examples")
def curve(degree: int = 1, ridge: float = 1.0, points: int = 200, noise: float = 0.2):
    x, y = measure(points, noise)  # runs once: every trial shares it
    return evaluate(fit(x, y, degree, ridge), x, y)


if __name__ == "__main__":
    space = {"degree": Int(1, 12), "ridge": Float(1e-6, 10.0, log=True)}
    study = optimize(curve, space, objective="evaluate.error", direction="minimize", n_trials=20, seed=0, name="curve")
    print(f"best error {study.best_value:.4f} with {study.best_params}")
    print(f"measure was reused from {study.best_run.steps['measure'].reused_from}")
