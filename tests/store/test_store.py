"""The store as a whole: transactions, threads, processes, forks, and the doors of opening."""

from __future__ import annotations

import gc
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from services import wait_until

from hpo_pipelines.errors import IllegalTransition, StoreError
from hpo_pipelines.store import Store, schema
from hpo_pipelines.task import Metric
from hpo_pipelines.types import ArtifactRef, Status, new_id


class StoreContract:
    def test_a_transaction_is_kept_whole(self, store: Store, build) -> None:
        with store.transaction():
            step = build.step(build.run())
            store.tasks.set_outputs(step.id, {"a": build.ref("a")})
            store.metrics.add([Metric(step.id, "auc", 1.0, 0, 1.0)])
            with store.transaction():
                store.tasks.transition(step.id, Status.COMPLETED)
        assert store.tasks.get(step.id).status is Status.COMPLETED
        assert build.kinds(step) == ["created", "metrics", "status"]

    def test_a_transaction_that_raises_leaves_nothing(self, store: Store, build) -> None:
        with pytest.raises(KeyboardInterrupt), store.transaction():
            step = build.step(build.run())
            store.tasks.set_outputs(step.id, {"a": build.ref("gone")})
            store.cache.record(build.entry("k", step, out=build.ref("gone")))
            store.leases.claim("l", "me", 100)
            raise KeyboardInterrupt
        assert store.tasks.list() == []
        assert store.artifacts.get("bytes-gone") is None
        assert store.cache.lookup("k") is None
        assert store.leases.holder("l") is None
        assert store.events.last() == 0
        build.run()  # and the store goes on

    def test_others_do_not_see_an_open_transaction(self, store: Store, build) -> None:
        seen: list[int] = []
        with store.transaction():
            build.run()
            thread = threading.Thread(target=lambda: seen.append(len(store.tasks.list())))
            thread.start()
            thread.join()
        assert seen == [0]
        assert len(store.tasks.list()) == 1

    def test_what_a_transaction_read_first_it_may_write_later(self, store: Store, build) -> None:
        run, other = build.run(), Store.open(store.url)
        written = threading.Event()

        def write() -> None:
            other.tasks.update(run.id, notes="second")
            written.set()

        thread = threading.Thread(target=write)
        with store.transaction():
            assert store.tasks.get(run.id).notes == ""
            store.tasks.update(run.id, notes="first")
            thread.start()
            assert not written.wait(0.1)
            assert store.tasks.get(run.id).notes == "first"
        thread.join()
        assert store.tasks.get(run.id).notes == "second"
        with store.transaction():
            assert store.tasks.get(run.id).notes == "second"
            thread = threading.Thread(target=other.events.append, args=("t", "x"))
            thread.start()
            thread.join(0.1)
            store.tasks.update(run.id, notes="third")
        thread.join()
        other.close()
        assert store.tasks.get(run.id).notes == "third"

    def test_an_illegal_transition_does_not_spoil_a_transaction(self, store: Store, build) -> None:
        run = build.run(status=Status.ABORTED)
        with store.transaction():
            with pytest.raises(IllegalTransition):
                store.tasks.transition(run.id, Status.COMPLETED)
            store.tasks.update(run.id, notes="fenced")
        assert store.tasks.get(run.id).notes == "fenced"

    def test_a_refused_write_spoils_its_transaction_on_every_database(self, store: Store, build) -> None:
        run = build.run()
        with pytest.raises(StoreError, match="nothing of it is kept"), store.transaction():
            store.tasks.update(run.id, notes="lost")
            with pytest.raises(StoreError, match="must be there before it"):
                store.tasks.set_outputs(new_id(), {"a": build.ref()})
            store.tasks.get(run.id)
        with pytest.raises(StoreError, match="nothing of it is kept"):
            _swallow_a_refusal(store, build.ref())
        assert store.tasks.get(run.id).notes == ""

    def test_many_threads_share_a_store(self, store: Store, build) -> None:
        """More threads than connections, each writing, reading and waiting; none gets what is another's."""
        failures: list[BaseException] = []

        def work() -> None:
            try:
                run = build.run("many")
                with store.transaction():
                    for name in "ab":
                        build.step(run, name, position=ord(name))
                    assert [task.name for task in store.tasks.children(run.id)] == ["a", "b"]
                store.tasks.transition(run.id, Status.RUNNING)
                assert store.events.wait(0, 60)
                assert store.tasks.get(run.id).status is Status.RUNNING
            except BaseException as error:  # noqa: BLE001 - shown by the main thread
                failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(25)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert store.tasks.find("many").number == 25

    def test_times_are_the_databases(self, store: Store) -> None:
        before = time.time()
        assert before - 1 < store.now() < time.time() + 1

    def test_a_closed_store_says_so(self, store: Store) -> None:
        other = Store.open(store.url)
        other.close()
        other.close()
        with pytest.raises(StoreError, match="This store is closed"):
            other.tasks.list()
        with pytest.raises(StoreError, match="This store is closed"), other.transaction():
            pass

    def test_a_part_of_a_store_keeps_it_open(self, store: Store) -> None:
        events = Store.open(store.url).events
        gc.collect()
        events.append("t", "x")
        assert store.events.last() == events.last()

    def test_opening_again_finds_everything(self, store: Store, build) -> None:
        run = build.run()
        other = Store.open(store.url, create=False)
        assert other.tasks.get(run.id) == run
        other.close()

    def test_a_store_of_a_newer_release_is_refused(self, store: Store) -> None:
        _execute(store, "UPDATE hpo_schema SET version_num = '9999'")
        with pytest.raises(StoreError, match=r"has schema 9999.*Upgrade hpo-pipelines"):
            Store.open(store.url)
        _execute(store, f"UPDATE hpo_schema SET version_num = '{schema.REVISIONS[-1]}'")
        Store.open(store.url).close()

    def test_what_has_our_tables_but_no_version_is_refused(self, store: Store) -> None:
        _execute(store, "ALTER TABLE hpo_schema RENAME TO elsewhere")
        with pytest.raises(StoreError, match="is not a store of hpo_pipelines"):
            Store.open(store.url)
        _execute(store, "ALTER TABLE elsewhere RENAME TO hpo_schema")

    def test_a_forked_child_and_its_parent_both_go_on(self, store: Store, script) -> None:
        printed = script(
            """
            store = Store.open(url)
            first = store.tasks.create(run())
            waiter = threading.Thread(target=store.events.wait, args=(10**9, 60), daemon=True)
            waiter.start()

            def inherited():
                # The parent's files and sockets that this child has open.
                paths = [f"/proc/self/fd/{fd}" for fd in range(3, 64)]
                names = [os.readlink(path) for path in paths if os.path.lexists(path)]
                return [name for name in names if name.startswith("socket:") or ".db" in name]

            def work():
                assert inherited() == [], inherited()
                for _ in range(5):
                    store.tasks.create(run())
                    assert store.events.wait(0, 10)
                assert in_child(lambda: store.tasks.create(run())) == 0
                store.close()

            status = in_child(work)
            store.tasks.transition(first.id, Status.RUNNING)
            print(status, store.tasks.find("churn").number, store.check())
            """,
            store.url,
        )
        assert printed == "0 7 []\n"

    def test_a_transaction_stays_in_the_process_that_began_it(self, store: Store, script) -> None:
        printed = script(
            """
            store = Store.open(url)
            try:
                with store.transaction():
                    store.tasks.create(run("parent"))
                    child = os.fork()
                    if child:
                        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
            except StoreError as error:
                print("refused:", "forked inside it" in str(error), flush=True)
                try:
                    store.tasks.create(run("child"))
                except StoreError as error:
                    print("refused:", "forked while the store was in use" in str(error), flush=True)
                os._exit(7)
            print(sorted(task.label for task in store.tasks.list()), store.check())
            """,
            store.url,
        )
        # PostgreSQL does not mind a child that connects anew; with SQLite no child may, beside inherited locks.
        if store.url.startswith("sqlite"):
            assert printed == "refused: True\nrefused: True\n['parent#1'] []\n"
        else:
            assert printed == "refused: True\n['child#1', 'parent#1'] []\n"

    def test_a_killed_writer_leaves_a_whole_store(self, store: Store, build, script) -> None:
        printed = script(
            """
            store = Store.open(url)
            store.tasks.create(run())

            def die():
                with store.transaction():
                    store.tasks.create(run("half"))
                    store.metrics.add([])
                    store.events.last()
                    os.kill(os.getpid(), signal.SIGKILL)

            print(in_child(die))
            """,
            store.url,
        )
        assert printed == "-9\n"
        assert [task.label for task in store.tasks.list()] == ["churn#1"]
        build.run("half")
        assert store.tasks.find("half").number == 1


def _swallow_a_refusal(store: Store, ref: ArtifactRef) -> None:
    with store.transaction(), pytest.raises(StoreError, match="must be there before it"):
        store.tasks.set_outputs(new_id(), {"a": ref})


def _execute(store: Store, statement: str) -> None:
    with store._database.transaction() as transaction:
        transaction.connection.exec_driver_sql(statement)


_CREATE_AT_ONCE = """
ready, go = os.pipe(), os.pipe()

def work():
    os.write(ready[1], b"x")
    os.read(go[0], 1)
    Store.open(url).tasks.create(run())

children = []
for _ in range(6):
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:
            print(error, flush=True)
            os._exit(1)
        os._exit(0)
    children.append(child)
for _ in children:
    os.read(ready[0], 1)
os.write(go[1], b"x" * len(children))
print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
store = Store.open(url, create=False)
print(store.tasks.find("churn").number, store.check())
"""


class TestSqlite(StoreContract):
    @pytest.fixture
    def store(self, sqlite_store: Store) -> Store:
        return sqlite_store

    def test_processes_that_create_at_once_all_succeed(self, sqlite_url: str, script) -> None:
        assert script(_CREATE_AT_ONCE, sqlite_url) == "[0, 0, 0, 0, 0, 0]\n6 []\n"

    def test_the_folder_is_made_unless_nothing_may_be_created(self, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path}/new/folder/hpo.db"
        with pytest.raises(StoreError, match="There is no store at"):
            Store.open(url, create=False)
        assert not (tmp_path / "new").exists()
        Store.open(url).close()
        Store.open(url, create=False).close()

    def test_an_empty_file_becomes_a_store_unless_nothing_may_be_created(self, tmp_path: Path) -> None:
        path = tmp_path / "hpo.db"
        path.touch()
        with pytest.raises(StoreError, match="There is no store at"):
            Store.open(f"sqlite:///{path}", create=False)
        assert path.read_bytes() == b""
        Store.open(f"sqlite:///{path}").close()

    @pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true"])
    def test_a_store_in_memory_is_refused(self, url: str) -> None:
        with pytest.raises(StoreError, match="needs a file"):
            Store.open(url)

    @pytest.mark.parametrize(
        ("url", "message"),
        [("no url", "is no database URL"), ("mysql://u:secret@h/db", r"not mysql: mysql://u:\*\*\*@h/db")],
    )
    def test_other_urls_are_refused(self, url: str, message: str) -> None:
        with pytest.raises(StoreError, match=message):
            Store.open(url)

    def test_a_password_is_not_shown(self, store: Store) -> None:
        assert repr(store) == f"<Store {store.url}>"
        shown = repr(Store("postgresql://me:secret@host/x", store._database))
        assert shown == "<Store postgresql://me:***@host/x>"

    def test_somebody_elses_files_are_refused_and_left_alone(self, tmp_path: Path) -> None:
        text = tmp_path / "notes.txt"
        text.write_text("dear diary, " * 100)
        with pytest.raises(StoreError, match="no SQLite database"):
            Store.open(f"sqlite:///{text}")
        assert text.read_text() == "dear diary, " * 100
        other = tmp_path / "mlflow.db"
        with sqlite3.connect(other) as connection:
            connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.close()
        before = other.read_bytes()
        with pytest.raises(StoreError, match="it holds alembic_version"):
            Store.open(f"sqlite:///{other}")
        assert other.read_bytes() == before

    def test_a_folder_that_cannot_be_opened(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match=r"cannot be opened. Check that its folder exists"):
            Store.open(f"sqlite:///{tmp_path}")

    def test_a_locked_store_says_who_to_wait_for(self, sqlite_url: str, store: Store, build) -> None:
        impatient = Store.open(f"{sqlite_url}?timeout=0.05")
        with store.transaction():
            run = build.run()
            assert impatient.tasks.list() == []  # readers never wait
            with pytest.raises(StoreError, match="Another process has held its lock too long"):
                impatient.events.append("t", "x")
        impatient.events.append("t", "x")
        assert impatient.tasks.get(run.id) == run
        impatient.close()

    def test_a_full_disk_says_so_and_nothing_is_lost(self, store: Store, build) -> None:
        run = build.run()
        with store._database.read() as connection:  # the one connection, which the next call is lent too
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        with pytest.raises(StoreError, match=r"The disk is full. Free some space"):
            store.tasks.update(run.id, notes="x" * 10**6)
        with pytest.raises(StoreError, match="disk is full"), store.transaction():
            store.tasks.update(run.id, tags=("kept?",))
            store.tasks.update(run.id, notes="x" * 10**6)
        assert store.tasks.get(run.id) == run
        with store._database.read() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count=1000000")
        assert len(store.tasks.update(run.id, notes="x" * 10**6).notes) == 10**6

    def test_a_store_that_may_not_be_written_can_be_read(self, tmp_path: Path, store: Store, build) -> None:
        run = build.run()
        reader = Store.open(f"sqlite:///file:{tmp_path}/hpo.db?mode=ro&uri=true")
        assert reader.tasks.get(run.id) == run
        with pytest.raises(StoreError, match=r"can be read, not written. Give this user the right"):
            reader.tasks.update(run.id, notes="x")
        reader.close()

    def test_a_damaged_file_says_so(self, tmp_path: Path, sqlite_url: str) -> None:
        Store.open(sqlite_url).close()
        path = tmp_path / "hpo.db"
        content = bytearray(path.read_bytes())
        content[100:4096] = b"\xff" * 3996
        path.write_bytes(content)
        with pytest.raises(StoreError, match=r"The file is damaged. Restore it from a backup"):
            Store.open(sqlite_url)

    def test_readers_and_writers_do_not_wait_and_the_log_is_on(self, store: Store) -> None:
        with store._database.read() as connection:
            settings = {
                name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
                for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            }
        assert settings == {"journal_mode": "wal", "synchronous": 1, "foreign_keys": 1, "busy_timeout": 30000}

    def test_a_backup_is_a_store(self, tmp_path: Path, store: Store, build) -> None:
        run = build.run()
        target = tmp_path / "copy.db"
        with store.transaction():
            build.run("not yet")
            thread = threading.Thread(target=store.backup, args=(target,))
            thread.start()
            thread.join()
        copy = Store.open(f"sqlite:///{target}", create=False)
        assert [task.id for task in copy.tasks.list()] == [run.id]
        assert copy.check() == []
        copy.close()
        with pytest.raises(StoreError, match="goes to a new file"):
            store.backup(target)

    def test_creating_a_store_needs_no_alembic(self, sqlite_url: str, script) -> None:
        assert script("Store.open(url); print('alembic' in sys.modules)", sqlite_url) == "False\n"


@pytest.mark.integration
class TestPostgresql(StoreContract):
    @pytest.fixture
    def store(self, postgresql_store: Store) -> Store:
        return postgresql_store

    def test_processes_that_create_at_once_all_succeed(self, postgresql_database: str, script) -> None:
        assert script(_CREATE_AT_ONCE, postgresql_database) == "[0, 0, 0, 0, 0, 0]\n6 []\n"

    def test_a_database_may_hold_other_tables_too(self, postgresql_database: str) -> None:
        import psycopg

        with psycopg.connect(postgresql_database.replace("+psycopg", "")) as connection:
            connection.execute("CREATE TABLE metrics (x int); CREATE TABLE alembic_version (version_num text)")
        with pytest.raises(StoreError, match="There is no store at"):
            Store.open(postgresql_database, create=False)
        Store.open(postgresql_database).close()

    def test_a_plain_url_means_psycopg(self, postgresql_database: str) -> None:
        store = Store.open(postgresql_database.replace("postgresql+psycopg:", "postgresql:"))
        assert store.tasks.list() == []
        store.close()

    def test_a_server_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match=r"postgresql\+psycopg://me:\*\*\*@/x.*cannot be reached"):
            Store.open(f"postgresql://me:secret@/x?host={tmp_path}")

    def test_a_database_that_is_not_there(self, postgresql_url: str) -> None:
        with pytest.raises(StoreError, match=r"cannot be reached|There is no such database"):
            Store.open(postgresql_url.replace("/postgres?", "/nothing?"))

    def test_a_server_that_may_not_be_written_can_be_read(self, store: Store, build) -> None:
        run = build.run()
        reader = Store.open(f"{store.url}%20-cdefault_transaction_read_only=on")
        assert reader.tasks.get(run.id) == run
        with pytest.raises(StoreError, match="It is read-only"):
            reader.tasks.update(run.id, notes="x")
        reader.close()

    def test_a_store_outlives_its_sessions(self, store: Store, build) -> None:
        """As after a restart of the server: every session is gone, and the next call finds new ones."""
        import psycopg

        run = build.run()
        connections = store._database.connections
        with psycopg.connect(store.url.replace("+psycopg", ""), autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'hpo_pipelines' AND pid <> pg_backend_pid()"
            )
        with pytest.raises(StoreError, match=r"Try again|cannot be reached"):
            store.tasks.get(run.id)
        assert store.tasks.get(run.id) == run
        # One that has rested for long is tried first, and the call does not notice.
        with psycopg.connect(store.url.replace("+psycopg", ""), autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'hpo_pipelines' AND pid <> pg_backend_pid()"
            )
        connections._resting = [(connection, 0.0) for connection, _ in connections._resting]
        assert store.tasks.get(run.id) == run

    def test_a_session_lost_between_listening_and_looking_is_not_lent_again(self, store: Store, build) -> None:
        import psycopg

        run = build.run()

        def look() -> bool:
            with psycopg.connect(store.url.replace("+psycopg", ""), autocommit=True) as other:
                other.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE application_name = 'hpo_pipelines' AND pid <> pg_backend_pid()"
                )
            raise StoreError("gone")

        with pytest.raises(StoreError, match="gone"):
            store._database.wait(look, 60)
        assert store.tasks.get(run.id) == run

    def test_who_waits_for_news_outlives_its_session(self, store: Store, build) -> None:
        """The listener's session is gone, and those that rest are: each says so as the store does, none comes again."""
        import psycopg

        heard: list[BaseException | bool] = []

        def listen() -> None:
            try:
                heard.append(store.events.wait(store.events.last(), 60))
            except BaseException as error:  # noqa: BLE001 - looked at below
                heard.append(error)

        run = build.run()
        thread = threading.Thread(target=listen)
        thread.start()
        with psycopg.connect(store.url.replace("+psycopg", ""), autocommit=True) as other:

            def listens() -> bool:
                rows = other.execute("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN %'").fetchone()
                return rows is not None and rows[0] > 0

            wait_until(listens, "the listener")
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'hpo_pipelines' AND pid <> pg_backend_pid()"
            )
        thread.join(60)
        (said,) = heard
        assert isinstance(said, StoreError), said
        assert store.tasks.get(run.id) == run

    def test_a_backup_is_the_servers_business(self, tmp_path: Path, store: Store) -> None:
        with pytest.raises(StoreError, match="pg_dump"):
            store.backup(tmp_path / "copy")
