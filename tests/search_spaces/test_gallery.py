"""The gallery: every space loads, names its sources, and says where its comments belong."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

import pytest

import search_spaces
from search_spaces import Fixed, Float, Int, Space, SpaceError, dumps, gallery, load, loads
from search_spaces.documents import gallery_entry, gallery_names

NAMES = gallery_names()
FOLDER = Path(search_spaces.__file__).parent / "gallery"


def test_the_estimators_people_tune_most_are_there() -> None:
    assert set(NAMES) >= {
        "catboost", "elastic_net", "extra_trees", "hist_gradient_boosting", "lightgbm", "logistic_regression", "mlp",
        "random_forest", "ridge", "svm", "transformer_finetune", "xgboost",
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_each_loads_and_gives_feasible_samples(name: str) -> None:
    space = gallery(name)
    assert load(name) == space
    assert loads(dumps(space, "yaml"), "yaml") == space
    random = Random(1)
    drawn = [space.draw(random) for _ in range(200)]
    assert sum(not space.violated(values) for values in drawn) > 40
    assert any(not isinstance(distribution, Fixed) for distribution in space.values())


@pytest.mark.parametrize("name", NAMES)
def test_each_names_what_it_is_for_and_its_sources(name: str) -> None:
    entry = gallery_entry(name)
    assert entry.title
    assert not entry.title.startswith("Source")
    assert entry.sources
    for source in entry.sources:
        assert re.search(r"https://\S+", source), source
        assert re.search(r"(19|20)\d\d|readthedocs", source), source


@pytest.mark.parametrize("name", NAMES)
def test_each_may_be_a_group(name: str) -> None:
    space = Space({"fit": {"space": name}})
    assert space.group("fit") == gallery(name)
    assert loads(f"fit: !space {name}", "yaml") == space


def test_overrides_are_laid_over() -> None:
    space = gallery("xgboost", {"n_estimators": Int(50, 500), "gamma": 0})
    assert space["n_estimators"] == Int(50, 500)
    assert space["gamma"] == Fixed(0)
    assert space["learning_rate"] == Float(1e-5, 0.7, log=True)
    assert "gamma" not in gallery("svm", {"kernel": "linear"})


def test_a_constraint_of_a_gallery_space_holds_in_a_group() -> None:
    space = Space({"fit": {"space": "lightgbm"}})
    values = {name: distribution.examples()[0] for name, distribution in space.items()}
    assert space.violated(values) == []
    assert space.violated({**values, "fit.num_leaves": 9, "fit.max_depth": 3}) == [
        "fit.num_leaves <= 2 ** fit.max_depth"
    ]


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(SpaceError, match=r"no space called 'randomforest' .* Did you mean 'random_forest'\?.*suffix"):
        load("randomforest")
    with pytest.raises(SpaceError, match="no space called"):
        gallery("../gallery/svm")


def test_a_file_of_the_same_name_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "svm").write_text("C: 1")
    with pytest.raises(SpaceError, match="a space is kept in"):
        load("svm")


def test_the_gallery_is_packaged() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(NAMES)
