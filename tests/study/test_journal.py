"""Optuna's journal beside our store: its own format, mended after a power cut, told again from the store."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from samples import bodies

from hpo_pipelines import Int, Workspace, optimize
from hpo_pipelines.study import Study
from hpo_pipelines.study.journal import StudyJournal, StudyStorage


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "optuna" / "s.journal"


def trials(path: Path) -> int:
    """How many trials Optuna's own backend reads."""
    study = optuna.load_study(study_name="s", storage=JournalStorage(JournalFileBackend(str(path))))
    return len(study.trials)


def test_optuna_reads_it(path: Path) -> None:
    study = optuna.create_study(study_name="s", storage=JournalStorage(StudyJournal(path)))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    assert trials(path) == 3


@pytest.mark.parametrize("torn", [b'{"op_code":', b"\0" * 40, b'{"op_code":4}x\n'])
def test_what_was_half_written_is_cut_off(path: Path, torn: bytes) -> None:
    study = optuna.create_study(study_name="s", storage=JournalStorage(StudyJournal(path)))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    StudyJournal(path).mend()
    assert path.read_bytes() == whole
    assert trials(path) == 2


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.9])
def test_trials_that_the_journal_lost_are_told_again(tmp_path: Path, kept: float) -> None:
    with Workspace(home=tmp_path) as workspace:

        def search(n_trials: int) -> Study:
            return optimize(
                bodies.simple,
                {"x": Int(0, 100)},
                name="lost",
                n_trials=n_trials,
                seed=1,
                executor="inline",
                workspace=workspace,
            )

        before = search(6)
        values = [trial.value for trial in before.trials]
        path = tmp_path / "optuna" / f"{before.id}.journal"
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * kept)])
        after = search(7)
        assert [trial.value for trial in after.trials][:6] == values
        assert [trial.number for trial in after.trials] == list(range(7))
        told = after.optuna_study.get_trials(deepcopy=False)
        assert [trial.value for trial in told][:6] == values
        assert [trial.params for trial in told] == [{"x": trial.params["x"]} for trial in after.trials]


def test_trials_that_wait_are_found_as_optuna_finds_them(tmp_path: Path) -> None:
    path, waiting = tmp_path / "study.journal", (TrialState.WAITING,)
    storage = StudyStorage(StudyJournal(path))
    study = optuna.create_study(storage=storage, study_name="s", sampler=optuna.samplers.RandomSampler(0))
    plain = JournalStorage(StudyJournal(path))
    again = StudyStorage(StudyJournal(path))

    def numbers(of: JournalStorage) -> list[int]:
        return [trial.number for trial in of.get_all_trials(study._study_id, states=waiting)]

    for number in range(30):
        if number % 3 == 0:
            study.enqueue_trial({"x": number / 30}, skip_if_exists=False)
        if number % 7 == 0:
            study.enqueue_trial({"x": 0.5}, skip_if_exists=False)
        assert numbers(storage) == numbers(again) == numbers(plain)
        trial = study.ask()
        trial.suggest_float("x", 0.0, 1.0)
        assert numbers(storage) == numbers(plain)
        if number % 5:  # others go on running
            study.tell(trial, 0.0)
    assert numbers(StudyStorage(StudyJournal(path))) == numbers(plain)
    study.enqueue_trial({"x": 0.1}, skip_if_exists=False)
    (first, *_), (same, *_) = (each.get_all_trials(study._study_id, True, waiting) for each in (storage, storage))
    assert first is not same
    assert len(storage.get_all_trials(study._study_id)) == len(plain.get_all_trials(study._study_id))
    with pytest.raises(KeyError):
        storage.get_all_trials(99, states=waiting)
