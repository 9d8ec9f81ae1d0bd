from __future__ import annotations

import shutil
from pathlib import Path

import optuna
import pytest

from hpo_pipelines.errors import StudyError
from hpo_pipelines.study.past import trials_of
from hpo_pipelines.types import Status


def study(storage: object, directions: list[str] | None = None) -> optuna.Study:
    made = optuna.create_study(study_name="old", storage=storage, directions=directions or ["maximize"])
    made.add_trial(
        optuna.trial.create_trial(
            params={"lr": 0.1},
            distributions={"lr": optuna.distributions.FloatDistribution(0, 1)},
            values=[1.0] * len(made.directions),
        )
    )
    made.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL))
    made.ask()
    return made


def test_the_trials_that_have_ended_with_their_values(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/old.db"
    study(url)
    first, second = trials_of(url, "old")
    assert first.source.startswith("optuna:old:0:")
    assert (first.params, first.metrics) == ({"lr": 0.1}, {"value": 1.0})
    assert first.finished_at >= first.started_at > 0
    assert (first.status, second.status, second.metrics) == (Status.COMPLETED, Status.FAILED, {})


def test_two_studies_of_one_name_are_two_and_a_copy_is_the_same(tmp_path: Path) -> None:
    one, other = f"sqlite:///{tmp_path}/one.db", f"sqlite:///{tmp_path}/other.db"
    study(one)
    study(other)
    shutil.copy(tmp_path / "one.db", tmp_path / "copy.db")
    sources = [[past.source for past in trials_of(url, "old")] for url in (one, other)]
    assert not {*sources[0]} & {*sources[1]}
    assert [past.source for past in trials_of(f"sqlite:///{tmp_path}/copy.db", "old")] == sources[0]


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_journal_and_several_objectives(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    backend = optuna.storages.journal.JournalFileBackend(str(path))
    made = study(optuna.storages.JournalStorage(backend), ["maximize", "minimize"])
    assert next(trials_of(str(path), "old")).metrics == {"value_0": 1.0, "value_1": 1.0}
    made.set_metric_names(["auc", "cost"])
    assert next(trials_of(str(path), "old")).metrics == {"auc": 1.0, "cost": 1.0}


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/old.db"
    study(url)
    with pytest.raises(StudyError, match=r"no study 'odl'; did you mean 'old'"):
        list(trials_of(url, "odl"))
    with pytest.raises(StudyError, match=r"no file .*absent\.db"):
        list(trials_of(f"sqlite:///{tmp_path}/absent.db", "old"))
    assert not (tmp_path / "absent.db").exists()
    with pytest.raises(StudyError, match=r"absent\.log"):
        list(trials_of(str(tmp_path / "absent.log"), "old"))
    assert not (tmp_path / "absent.log").exists()
