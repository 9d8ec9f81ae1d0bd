"""What a process holds stays its own while it lives, however long, and is free as soon as it is known to be gone."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from engine.contract import eventually
from engine.going import Going, begun, executions, known_key
from samples import sharing

from hpo_pipelines import Workspace
from hpo_pipelines.engine import liveness
from hpo_pipelines.engine.flights import lease_of
from hpo_pipelines.engine.liveness import Liveness
from hpo_pipelines.owner import machine
from hpo_pipelines.store import Store
from hpo_pipelines.store.leases import Lease


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(f"sqlite:///{tmp_path}/hpo.db")
    yield opened
    opened.close()


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "LEASE_SECONDS", 0.6)
    monkeypatch.setattr(liveness, "BEAT_SECONDS", 0.2)


def name_of(pid: int) -> str:
    return f"{machine()}:{pid}:{psutil.Process(pid).create_time():.2f}:x"


# -- claiming


def test_a_lease_is_had_by_one_at_a_time_and_says_what_for(store: Store) -> None:
    one, two = Liveness(store), Liveness(store)
    assert one.claim("key:a", "churn#1/fit")
    assert one.claim("key:a", "churn#1/fit")
    assert not two.claim("key:a", "churn#2/fit")
    holder = two.holder("key:a")
    assert holder is not None
    assert (holder.owner, holder.note) == (one.owner, "churn#1/fit")
    two.release("key:a")  # not its own: nothing happens
    assert two.holder("key:a") == holder
    one.release("key:a")
    assert two.holder("key:a") is None
    assert two.claim("key:a")


def test_of_many_who_claim_at_once_one_gets_it(store: Store) -> None:
    processes = [Liveness(store) for _ in range(8)]
    got: list[str] = []
    together = threading.Barrier(8)

    def claim(each: Liveness) -> None:
        together.wait()
        if each.claim("key:a"):
            got.append(each.owner)

    threads = [threading.Thread(target=claim, args=(each,)) for each in processes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1
    holder = processes[0].holder("key:a")
    assert holder is not None
    assert got == [holder.owner]


def test_the_lease_of_a_process_that_has_ended_is_free_at_once(store: Store) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert store.leases.claim("key:a", name_of(process.pid), 600.0)
        here = Liveness(store)
        assert not here.claim("key:a")
        process.communicate(b"\n")
    assert here.claim("key:a")


def test_the_lease_of_another_machine_is_free_when_it_has_run_out(store: Store) -> None:
    assert store.leases.claim("key:a", "other-host:1:1.00:x", 0.3)
    here = Liveness(store)
    assert not here.claim("key:a")
    assert eventually(lambda: here.claim("key:a"))


FORK = """
import os, sys
from hpo_pipelines.engine.liveness import Liveness
from hpo_pipelines.store import Store
here = Liveness(Store.open(sys.argv[1]))
assert here.claim("key:a")
mine = here.owner
child = os.fork()
if child == 0:
    os._exit(here.owner == mine or here.holds("key:a") or here.claim("key:a"))
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert here.owner == mine and here.holds("key:a")
"""


def test_a_forked_child_holds_nothing_of_its_parents(store: Store) -> None:
    done = subprocess.run([sys.executable, "-c", FORK, store.url], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# -- the heartbeat


@pytest.mark.usefixtures("short")
def test_the_heart_beats_for_what_is_held_and_only_that(store: Store) -> None:
    here = Liveness(store)
    for name in ("key:kept", "key:released", "key:dropped"):
        assert here.claim(name)
    here.release("key:released")
    here.drop("key:dropped")
    kept, dropped = here.holder("key:kept"), here.holder("key:dropped")
    assert kept is not None
    assert dropped is not None

    def renewed() -> bool:
        found = here.holder("key:kept")
        assert found is not None, "the lease ran out although its owner's heart beats"
        return found.expires_at > kept.expires_at + 2 * liveness.LEASE_SECONDS

    eventually(renewed)
    assert here.holder("key:dropped") is None
    assert here.holder("key:released") is None
    here.close()
    eventually(lambda: here.holder("key:kept") is None)


@pytest.mark.usefixtures("short")
def test_a_beat_does_not_take_back_what_another_has_by_now(store: Store) -> None:
    here, there = Liveness(store), Liveness(store)
    here.close()  # it sleeps: its heart does not beat
    there.close()
    assert here.claim("key:a")
    eventually(lambda: there.claim("key:a"))
    taken = there.holder("key:a")

    def over() -> bool:
        here.beat()
        return there.holder("key:a") is None

    eventually(over)  # `there` does not beat either, and `here` renews nothing for it
    assert taken is not None
    assert taken.owner == there.owner


def test_what_was_dropped_is_given_back_by_the_next_beat(store: Store) -> None:
    here, there = Liveness(store), Liveness(store)
    assert here.claim("key:a")
    assert here.claim("key:b")
    here.drop("key:a")
    assert not there.claim("key:a")
    here.beat()
    assert there.claim("key:a")
    assert not there.claim("key:b")
    here.beat()  # it has nothing more to give back
    assert there.holds("key:a")
    assert store.leases.last("key:a") is not None


@pytest.mark.parametrize("when", ["before it is looked at", "before it is given back"])
def test_what_was_dropped_and_is_claimed_again_meanwhile_stays_ours(
    store: Store, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    here = Liveness(store)
    assert here.claim("key:a")
    here.drop("key:a")
    last = store.leases.last

    def claiming(name: str) -> Lease | None:
        found = last(name) if when == "before it is given back" else None
        assert here.claim(name)
        return found or last(name)

    monkeypatch.setattr(store.leases, "last", claiming)
    here.beat()
    assert here.holds("key:a")
    assert last("key:a") is not None


@pytest.mark.integration
@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("executor", ["local", "inline"])
def test_a_step_may_run_longer_than_its_lease(tmp_path: Path, executor: str) -> None:
    folder, home = tmp_path / "ran", tmp_path / "home"
    folder.mkdir()
    with Workspace(home=home) as workspace, Workspace(home=home) as elsewhere:
        name = lease_of(known_key(workspace, folder, sharing.shared, "prefix").key)
        (folder / "open").unlink()
        slow = Going(workspace, sharing.shared, executor=executor, folder=str(folder))
        begun(folder, count=2)
        waiter = Going(elsewhere, sharing.shared, folder=str(folder), x=2.0)
        waiter.wait_until_computed_elsewhere()
        first = workspace.store.leases.holder(name)
        assert first is not None

        def renewed() -> bool:
            found = workspace.store.leases.holder(name)
            assert found is not None, "the lease ran out although its owner's heart beats"
            assert found.owner == first.owner
            return found.expires_at > first.expires_at + 3 * liveness.LEASE_SECONDS

        eventually(renewed)
        (folder / "open").touch()
        assert (slow.end().value, waiter.end().value) == (101.0, 103.0)
        assert executions(folder) == 2
        assert workspace.store.leases.holder(name) is None
