from __future__ import annotations

import pytest
from cache.conftest import DAY, Place

from hpo_pipelines.cache import delete_runs
from hpo_pipelines.cache.deletion import old_runs
from hpo_pipelines.errors import StudyError
from hpo_pipelines.types import Status


def test_consoles_and_journals_go_too(local: Place) -> None:
    outer = local.run()
    inner = local.run(parent=outer.id)
    kept = local.run()
    study = local.study()
    for run in (outer, inner, kept):
        (local.home / "consoles" / run.id).mkdir(parents=True)
        (local.home / "consoles" / run.id / "fit.1.log").write_text("said")
    (local.home / "optuna").mkdir()
    for name in (study.id, "another"):
        (local.home / "optuna" / f"{name}.journal").write_text("{}")
    removed = delete_runs(local.store, local.home, outer.id, study.id)
    assert len(removed.tasks) == 3
    assert [path.name for path in (local.home / "consoles").iterdir()] == [kept.id]
    assert [path.name for path in (local.home / "optuna").iterdir()] == ["another.journal"]


def test_nothing_is_touched_where_it_is_refused(local: Place) -> None:
    study = local.study()
    trial = local.run(study=study.id, trial=0)
    (local.home / "consoles" / trial.id).mkdir(parents=True)
    with pytest.raises(StudyError):
        delete_runs(local.store, local.home, trial.id)
    assert (local.home / "consoles" / trial.id).exists()


def test_what_is_old_enough(local: Place) -> None:
    now = local.store.now()
    old, young = now - 10 * DAY, now - DAY
    runs = [local.run(finished_at=at) for at in (old, young)]
    local.run(Status.RUNNING)
    local.run(Status.DRAFT)
    failed = local.run(Status.FAILED, finished_at=old)
    local.run(parent=runs[0].id, finished_at=old)
    assert set(old_runs(local.store, now - 5 * DAY)) == {runs[0].id, failed.id}
    assert set(old_runs(local.store, now)) == {runs[0].id, runs[1].id, failed.id}
    assert old_runs(local.store, 0.0) == []
