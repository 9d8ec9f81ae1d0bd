"""What trials gave, read from the journal: always what Optuna reads from it."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from hpo_pipelines.study.journal import StudyJournal
from hpo_pipelines.study.results import JournalResults


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "optuna").mkdir()
    return tmp_path / "optuna" / "s.journal"


def given_by(study: optuna.Study) -> dict[int, tuple[float, ...]]:
    done = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    return {trial.number: tuple(trial.values) for trial in done}


@pytest.mark.parametrize("backend", [StudyJournal, lambda path: JournalFileBackend(str(path))])
@pytest.mark.parametrize("directions", [["maximize"], ["minimize", "maximize"]])
def test_they_are_what_optuna_reads(path: Path, backend: object, directions: list[str]) -> None:
    storage = JournalStorage(backend(path))  # type: ignore[operator]
    study = optuna.create_study(study_name="s", storage=storage, directions=directions)
    read = JournalResults(path)
    assert read.values() == {}
    given = len(directions)
    study.enqueue_trial({"x": 0.5})
    for number in range(6):
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        if number == 2:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        elif number == 4:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, [number / 3] * given)
        assert read.values() == given_by(study)
    study.add_trial(
        optuna.trial.create_trial(params={}, distributions={}, values=[1.25] * given, user_attrs={"op_code": 6})
    )
    study.ask()
    assert read.values() == given_by(study)
    assert len(read.values()) == 5
    assert JournalResults(path).values() == read.values()


def test_a_line_that_is_being_written_is_read_when_it_is_whole(path: Path) -> None:
    study = optuna.create_study(study_name="s", storage=JournalStorage(StudyJournal(path)))
    study.optimize(lambda trial: 1.0, n_trials=2)
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    read = JournalResults(path)
    assert read.values() == {0: (1.0,)}
    path.write_bytes(whole)
    assert read.values() == {0: (1.0,), 1: (1.0,)}


def test_a_journal_that_was_cut_is_read_anew(path: Path) -> None:
    study = optuna.create_study(study_name="s", storage=JournalStorage(StudyJournal(path)))
    study.optimize(lambda trial: 1.0, n_trials=1)
    short = path.read_bytes()
    study.optimize(lambda trial: 2.0, n_trials=1)
    read = JournalResults(path)
    assert read.values() == {0: (1.0,), 1: (2.0,)}
    path.write_bytes(short)
    assert read.values() == {0: (1.0,)}


def test_no_journal_has_no_results(path: Path) -> None:
    assert JournalResults(path).values() == {}
