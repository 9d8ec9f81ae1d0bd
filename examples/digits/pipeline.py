"""Handwritten digits: load, split, reduce, train, evaluate; and train again while the result is not good enough.

hpo run examples/digits/pipeline.py:digits -P model=svm
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from hpo_pipelines import component, pipeline, report

Model = Literal["logistic", "svm", "forest"]


@component(outputs=("images", "labels"))
def load() -> Any:
    """1797 images of 8 x 8 grey levels as rows of 64 numbers, and the digit each shows (scikit-learn bundles them)."""
    return load_digits(return_X_y=True)


@component(outputs=("train_images", "test_images", "train_labels", "test_labels"))
def split(images: np.ndarray, labels: np.ndarray, test_share: float, seed: int) -> Any:
    """Two parts with equal shares of each digit."""
    return train_test_split(images, labels, test_size=test_share, random_state=seed, stratify=labels)


@component(outputs=("train_points", "test_points"))
def reduce(train_images: np.ndarray, test_images: np.ndarray, dimensions: int, scale: bool) -> Any:
    """The leading principal components with unit variance, fitted on the training part alone.

    ``scale`` gives each pixel unit variance first.
    """
    pca = PCA(dimensions, whiten=True, random_state=0)
    reduction = make_pipeline(StandardScaler(), pca) if scale else pca
    train_points = reduction.fit_transform(train_images)
    report("explained_variance", pca.explained_variance_ratio_.sum())
    return train_points, reduction.transform(test_images)


@component
def train(
    points: np.ndarray, labels: np.ndarray, model: Model, settings: dict[str, float], seed: int
) -> ClassifierMixin:
    """A fitted classifier; ``settings`` are the arguments of its scikit-learn class."""
    if model == "logistic":
        classifier = LogisticRegression(max_iter=2000, **settings)
    elif model == "svm":
        classifier = SVC(**settings)
    else:
        classifier = RandomForestClassifier(random_state=seed, **settings)
    return classifier.fit(points, labels)


@component
def evaluate(classifier: ClassifierMixin, points: np.ndarray, labels: np.ndarray) -> float:
    """The share of digits that ``classifier`` reads rightly."""
    guesses = classifier.predict(points)
    accuracy = accuracy_score(labels, guesses)
    report("accuracy", accuracy)
    report("macro_f1", f1_score(labels, guesses, average="macro"))
    return accuracy


@pipeline(project="examples")
def digits(
    dimensions: int = 6,
    scale: bool = True,
    model: Model = "forest",
    C: float = 0.01,
    gamma: float = 0.01,
    n_estimators: int = 3,
    max_depth: int = 3,
    target: float = 0.9,
    attempts: int = 3,
    seed: int = 7,
) -> dict[str, Any]:
    """Train with the given settings, and again with more capacity while the accuracy is below ``target``.

    There are at most ``attempts`` trainings. Returns the last accuracy and the number of trainings.
    """
    images, labels = load()
    train_images, test_images, train_labels, test_labels = split(images, labels, test_share=0.3, seed=seed)
    train_points, test_points = reduce(train_images, test_images, dimensions, scale)

    trainings = 0
    accuracy = 0.0
    while trainings == 0 or (accuracy < target and trainings < attempts):
        settings = {
            "logistic": {"C": C},
            "svm": {"C": C, "gamma": gamma},
            "forest": {"n_estimators": n_estimators, "max_depth": max_depth},
        }[model]
        classifier = train(train_points, train_labels, model, settings, seed)
        accuracy = evaluate(classifier, test_points, test_labels)
        C, n_estimators, max_depth = C * 4, n_estimators * 2, max_depth + 1
        trainings += 1
    return {"accuracy": accuracy, "trainings": trainings}
