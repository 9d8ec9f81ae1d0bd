from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_pipelines.planning.simulation import Simulation, Work


def test_what_is_shared_runs_once_and_is_waited_for() -> None:
    trials = [[Work("load", 4), Work(f"fit{at}", 1, (0,))] for at in range(3)]
    found = Simulation(trials, n_jobs=3, workers=3).run()
    assert (found.wall, found.compute, found.trials) == (5, 7, (5, 5, 5))


def test_trials_wait_for_their_turn_and_steps_for_workers() -> None:
    trials = [[Work(f"fit{at}", 2)] for at in range(4)]
    assert Simulation(trials, n_jobs=1, workers=4).run().wall == 8
    assert Simulation(trials, n_jobs=4, workers=2).run().wall == 4
    assert Simulation(trials, n_jobs=4, workers=4).run().wall == 2


def test_what_is_recorded_takes_no_time_and_what_has_no_identity_always_does() -> None:
    trials = [[Work("load", 4, is_recorded=True), Work(None, 1, (0,))], []] * 2
    found = Simulation(trials, n_jobs=1, workers=1).run()
    assert (found.wall, found.compute, found.trials) == (2, 2, (1, 0, 1, 0))


def test_what_many_wait_for_goes_first() -> None:
    fan = [Work(f"own{at}", 2) for at in range(6)]
    study = [[Work("features", 4), Work(f"fit{at}", 1, (0,))] for at in range(3)]
    fair, urgent = (Simulation([fan, *study], n_jobs=4, workers=2, urgent=urgent).run() for urgent in (False, True))
    assert fair.compute == urgent.compute == 19
    assert (fair.wall, urgent.wall) == (12, 10)


calls = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.booleans()), min_size=0, max_size=5)


@settings(max_examples=40, deadline=None)
@given(st.lists(calls, max_size=6), st.integers(1, 4), st.integers(1, 4), st.booleans())
def test_every_trial_ends_and_no_work_is_lost(
    made: list[list[tuple[int, int, bool]]], n_jobs: int, workers: int, urgent: bool
) -> None:
    trials = [
        [
            Work(f"w{name}", name + 1.0, tuple(range(min(before, place))), is_recorded=known and name == 4)
            for place, (name, before, known) in enumerate(trial)
        ]
        for trial in made
    ]
    found = Simulation(trials, n_jobs=n_jobs, workers=workers, urgent=urgent).run()
    assert len(found.trials) == len(trials)
    works = {work.identity: work.seconds for trial in trials for work in trial if not work.is_recorded}
    assert found.compute <= sum(works.values())
    assert found.compute / workers <= found.wall + 1e-9 <= found.compute + 1e-6
