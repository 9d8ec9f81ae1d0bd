"""Full disks, locks, damaged files: each is a clear error, and once it is gone the run goes on and nothing was lost."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from samples import trouble
from samples.trouble import ran
from services import missing
from sqlalchemy import update

from hpo_pipelines import Status, StepFailed, Workspace, component, pipeline
from hpo_pipelines.cli import main
from hpo_pipelines.errors import (
    OUTCOMES,
    ArtifactCorrupt,
    ArtifactError,
    CodeUnavailable,
    ConfigError,
    HpoPipelinesError,
    StoreError,
    TaskNotFound,
)
from hpo_pipelines.run import Run
from hpo_pipelines.snapshot.content import Content
from hpo_pipelines.store.schema import snapshots
from hpo_pipelines.types import ArtifactRef

pytestmark = pytest.mark.integration

SMALL = 8 * 1024 * 1024
"""Bytes of a file system that is easy to fill."""
EXECUTORS = ("inline", "local")


# -- making trouble


@dataclass
class Place:
    """Where a run is kept, and the ways to put that back."""

    base: Path
    home: Path = field(init=False)
    folder: Path = field(init=False)
    store: str | None = None
    artifacts: str | None = None
    driver: int = field(default_factory=os.getpid)
    """The process that drives the run."""

    def __post_init__(self) -> None:
        self.home, self.folder = self.base / "home", self.base / "folder"
        self.folder.mkdir()

    def open(self) -> Workspace:
        return Workspace(home=self.home, store=self.store, artifacts=self.artifacts)

    @property
    def environment(self) -> dict[str, str]:
        chosen = {"HPO_STORE": self.store, "HPO_ARTIFACTS": self.artifacts}
        given = {name: value for name, value in chosen.items() if value is not None}
        return {**os.environ, **given, "HPO_HOME": str(self.home), "MLFLOW_TRACKING_URI": ""}


class Trouble(ABC):
    """Something that happens while a run is under way. ``at`` is the step that is running then."""

    at: ClassVar[str] = "large"
    again: ClassVar[tuple[str, ...]] = ("large",)
    """The steps that are executed a second time in the end."""
    error: ClassVar[type[HpoPipelinesError]]
    says: ClassVar[str]
    """What the message states: the rule or what broke it, and the cure."""
    recorded: ClassVar[bool] = True
    """Whether the run could be recorded as failed."""
    executors: ClassVar[tuple[str, ...]] = EXECUTORS

    def prepare(self, place: Place) -> None:  # noqa: B027 - most need nothing
        """Before anything runs."""

    @abstractmethod
    def begin(self, place: Place) -> None: ...

    @abstractmethod
    def end(self, place: Place) -> None: ...


class SmallDisk(Trouble):
    """What ``keep`` puts on a file system of a few megabytes has no room there any more."""

    def prepare(self, place: Place) -> None:
        self.disk = place.base / "disk"
        self.disk.mkdir()
        mount("-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", self.disk)
        self.keep(place)

    @abstractmethod
    def keep(self, place: Place) -> None: ...

    def begin(self, place: Place) -> None:
        descriptor = os.open(self.disk / "filler", os.O_WRONLY | os.O_CREAT)
        try:
            for size in (65536, 4096, 1):
                with_room = True
                while with_room:
                    try:
                        os.write(descriptor, bytes(size))
                    except OSError:
                        with_room = False
        finally:
            os.close(descriptor)

    def end(self, place: Place) -> None:
        (self.disk / "filler").unlink()


class ArtifactsFull(SmallDisk):
    error = ArtifactError
    says = r"artifacts at .*disk/artifacts cannot be used: .*No space left on device.*free some space"

    def keep(self, place: Place) -> None:
        place.artifacts = str(self.disk / "artifacts")


class StoreFull(SmallDisk):
    error = StoreError
    says = r"store .*disk/store.db refused: database or disk is full.*Free some space, then resume"
    recorded = False

    def keep(self, place: Place) -> None:
        place.store = f"sqlite:///{self.disk}/store.db"


class HomeFull(SmallDisk):
    """Store, artifacts and consoles at once, as by default."""

    error = StoreError
    says = r"store .*disk/home/store.db refused: database or disk is full.*Free some space, then resume"
    recorded = False

    def keep(self, place: Place) -> None:
        place.home = self.disk / "home"


class QuotaReached(Trouble):
    """A limit on the size of files, which needs no file system of its own."""

    error = ArtifactError
    says = r"artifacts at .* cannot be used: .*File too large.*free some space"
    executors = ("inline",)

    def begin(self, place: Place) -> None:
        # The store is smaller than that, the array is larger.
        self.before = resource.prlimit(place.driver, resource.RLIMIT_FSIZE)
        resource.prlimit(place.driver, resource.RLIMIT_FSIZE, (2_000_000, self.before[1]))

    def end(self, place: Place) -> None:
        if place.driver == os.getpid():
            resource.setrlimit(resource.RLIMIT_FSIZE, self.before)


class StoreLocked(Trouble):
    """Another process writes for longer than we wait."""

    at = "pause"
    again = ("pause",)
    error = StoreError
    says = r"store .*store.db refused: database is locked. Another process has held its lock too long. Wait for it"
    recorded = False
    HOLDER = (
        "import sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)\n"
        "connection.execute('BEGIN IMMEDIATE')\n"
        "print('held', flush=True)\n"
        "input()\n"
    )

    def prepare(self, place: Place) -> None:
        place.store = f"sqlite:///{place.home}/store.db?timeout=0.3"

    def begin(self, place: Place) -> None:
        command = [sys.executable, "-c", self.HOLDER, str(place.home / "store.db")]
        self.holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.holder.stdout is not None
        assert self.holder.stdout.readline() == "held\n"

    def end(self, place: Place) -> None:
        self.holder.communicate("\n")


class ArtifactsReadOnly(Trouble):
    error = ArtifactError
    says = r"artifacts at .* cannot be used: .*(Read-only|Permission denied).*This user must be able to write there"

    def prepare(self, place: Place) -> None:
        self.held = place.home / "artifacts"
        self.held.mkdir(parents=True)
        if os.geteuid() == 0:
            # Modes do not keep root out.
            mount("--bind", self.held, self.held)

    def begin(self, place: Place) -> None:
        if os.geteuid() == 0:
            mount("-o", "remount,bind,ro", self.held)
        else:
            self.held.chmod(0o555)

    def end(self, place: Place) -> None:
        if os.geteuid() == 0:
            mount("-o", "remount,bind,rw", self.held)
        else:
            self.held.chmod(0o755)


class Displaced(Trouble):
    """A folder of the home is moved away, and a file has its name."""

    name: ClassVar[str]

    def begin(self, place: Place) -> None:
        (place.home / self.name).rename(place.base / "away")
        (place.home / self.name).touch()

    def end(self, place: Place) -> None:
        (place.home / self.name).unlink()
        (place.base / "away").rename(place.home / self.name)


class ArtifactsNoFolder(Displaced):
    name = "artifacts"
    error = ArtifactError
    says = r"artifacts at .* cannot be used: .*It must be a folder: choose another place"

    def prepare(self, place: Place) -> None:
        (place.home / self.name).mkdir(parents=True)


class ConsolesNoFolder(Displaced):
    name = "consoles"
    at = "pause"
    again = ()
    error = StoreError
    says = r"console file .*total.1.log cannot be written: Not a directory.*then resume: nothing recorded was lost"


class HomeGone(Trouble):
    """Moved, or on a disk that was taken away: what is open can still be written, for nobody."""

    error = StoreError
    says = r"store .*home/store.db is no longer there.*Put it back.*then resume: nothing recorded in it was lost"
    recorded = False

    def begin(self, place: Place) -> None:
        place.home.rename(place.base / "away")

    def end(self, place: Place) -> None:
        # What the step wrote before it was noticed.
        shutil.rmtree(place.home, ignore_errors=True)
        (place.base / "away").rename(place.home)


TROUBLES: list[type[Trouble]] = [
    ArtifactsFull, StoreFull, HomeFull, QuotaReached, StoreLocked, ArtifactsReadOnly, ArtifactsNoFolder,
    ConsolesNoFolder, HomeGone,
]  # fmt: skip
CASES = [(kind, executor) for kind in TROUBLES for executor in kind.executors]


_mounted: list[Path] = []


def mount(*words: str | Path) -> None:
    """``mount`` a file system, or change one; skips the test where that is not allowed."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    try:
        done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        missing("the command mount", "apt-get install mount.")
    if done.returncode:
        pytest.skip(f"this machine does not let us mount: {done.stderr.partition(chr(10))[0]}")
    if not str(words[1]).startswith("remount"):
        _mounted.append(Path(words[-1]))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    soft = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield Place(tmp_path)
    resource.setrlimit(resource.RLIMIT_FSIZE, soft)
    while _mounted:
        subprocess.run(["umount", "-l", _mounted.pop()], check=True)


@contextmanager
def struck(made: Trouble, place: Place) -> Iterator[None]:
    """While the block runs, ``made`` comes as soon as a step has come to the place where it hits."""
    (place.folder / "stop").write_text(made.at)
    over = threading.Event()
    problems: list[BaseException] = []

    def strike() -> None:
        while not (place.folder / "there").exists():
            if over.wait(0.01):
                return
        try:
            made.begin(place)
        except BaseException as problem:  # noqa: BLE001 - raised in the test's own thread below
            problems.append(problem)
        (place.folder / "go").touch()

    thread = threading.Thread(target=strike)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert problems == []


def executions(made: Trouble) -> list[str]:
    """All executions of all steps, the second ones of those that had to be executed again included."""
    steps = ["begin", "large", "pause", "total"]
    return sorted([*steps, *made.again])


def kept(workspace: Workspace, run: Run) -> dict[str, Any]:
    """All that is recorded of the steps that are over and done."""
    return {
        name: (step.id, len(step.attempts), workspace.store.tasks.outputs(step.id))
        for name, step in run.steps.items()
        if step.status is Status.COMPLETED
    }


def sole(workspace: Workspace) -> Run:
    (run,) = workspace.runs()
    return run


# -- in Python


@pytest.mark.parametrize(("kind", "executor"), CASES)
def test_the_run_says_what_is_wrong_and_goes_on_when_it_is_gone(
    place: Place, kind: type[Trouble], executor: str
) -> None:
    made = kind()
    made.prepare(place)
    with place.open() as workspace:
        run = stopped(made, place, workspace, executor)
        before = kept(workspace, run)
        assert "begin" in before
        made.end(place)
        resumed = run.refreshed().resume()
        assert resumed.id == run.id
        assert resumed.status is Status.COMPLETED
        assert resumed.value["total"] == trouble.LARGE
        assert sorted(ran(place.folder)) == executions(made)
        after = kept(workspace, resumed)
        assert {name: after[name] for name in before} == before
        assert workspace.store.check() == []


def stopped(made: Trouble, place: Place, workspace: Workspace, executor: str) -> Run:
    """The run that ``made`` has stopped, and said so."""

    def start() -> Run:
        return trouble.troubled.run(folder=str(place.folder), executor=executor, workspace=workspace)

    if not made.recorded:
        with struck(made, place), pytest.raises(made.error, match=made.says):
            start()
        return sole(workspace)
    with struck(made, place):
        run = start()
    assert run.status is Status.FAILED
    assert run.error is not None
    assert run.error["type"] == made.error.__name__
    assert re.search(made.says, run.error["message"])
    with pytest.raises(StepFailed, match=made.says):
        run.value
    return run


def test_a_body_can_deal_with_an_error_of_ours_by_its_class(place: Place) -> None:
    made = QuotaReached()

    @component(cache=False)
    def larger(folder: str) -> Any:
        return trouble.large.function(1.0, folder)

    @pipeline(project="samples")
    def careful(folder: str) -> str:
        try:
            return f"kept {larger(folder)[0]}"
        except ArtifactError as error:
            return f"not kept: {isinstance(error, StepFailed)}"

    with place.open() as workspace, struck(made, place):
        run = careful.run(folder=str(place.folder), executor="inline", workspace=workspace)
        assert run.status is Status.COMPLETED
        assert run.value == "not kept: True"


# -- on the command line

TARGET = f"{Path(trouble.__file__)}:troubled"


COMMANDS = [
    (kind, executor) for kind, executor in CASES if executor == "inline" or kind in (ArtifactsFull, StoreFull, HomeGone)
]


@pytest.mark.parametrize(("kind", "executor"), COMMANDS)
def test_the_command_line_says_it_without_a_traceback(
    place: Place, kind: type[Trouble], executor: str, capfd: pytest.CaptureFixture[str]
) -> None:
    made = kind()
    made.prepare(place)
    words = ["run", TARGET, "-P", f"folder={place.folder}", "--executor", executor]
    # A process of its own: whoever resumes the run is to find its driver gone.
    with driving(place, *words) as process, struck(made, place):
        _, said = process.communicate(timeout=60)
    assert re.search(made.says, said.replace("\n", " "))
    assert process.returncode == OUTCOMES[made.error].exit_code
    assert "Traceback" not in said
    made.end(place)
    resumed = hpo(place, "resume", "troubled#1")
    assert resumed == 0
    assert f"total = {trouble.LARGE}" in capfd.readouterr().out
    assert sorted(ran(place.folder)) == executions(made)
    with place.open() as workspace:
        assert workspace.store.check() == []


@contextmanager
def driving(place: Place, *words: str) -> Iterator[subprocess.Popen[str]]:
    """``hpo`` as a process that drives a run."""
    command = [sys.executable, "-m", "hpo_pipelines", *words]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=place.environment, cwd=place.base, **pipes) as process:
        place.driver = process.pid
        try:
            yield process
        finally:
            process.kill()


def hpo(place: Place, *arguments: str) -> int:
    """The exit code of ``hpo``, called in this process."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HPO_STORE", "HPO_ARTIFACTS", "HPO_HOME", "MLFLOW_TRACKING_URI"):
            patch.setenv(name, place.environment[name]) if name in place.environment else patch.delenv(name, False)
        patch.setattr(sys, "path", sys.path[:])
        with pytest.raises(SystemExit) as ended:
            main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


# -- damage that is found later


def file_of(workspace: Workspace, step: str) -> Path:
    """Where the bytes of the step's output lie."""
    ref = workspace.store.tasks.outputs(sole(workspace).steps[step].id)["value"]
    return Path(workspace.artifacts.url) / ref.digest[:2] / ref.digest[2:]


def truncate(file: Path) -> None:
    rewrite(file, file.read_bytes()[:1000])


def garble(file: Path) -> None:
    """As long as before, and another beginning."""
    content = file.read_bytes()
    rewrite(file, b"damaged!" + content[8:])


def rewrite(file: Path, content: bytes) -> None:
    """Another file in its place, as a copy that was broken off leaves it.

    Not the same file cut short: whoever has that one mapped ends with SIGBUS, which is the same as being killed.
    """
    other = file.with_name(".other")
    other.write_bytes(content)
    other.replace(file)


class Truncated(Trouble):
    """Bytes are cut off after they were written, before the next step reads them."""

    at = "pause"
    error = ArtifactCorrupt
    says = r"artifact \w+ is damaged: it has 1000 bytes instead of \d+.*delete it, and run the step that made it again"

    def begin(self, place: Place) -> None:
        (file,) = [each for each in (place.home / "artifacts").rglob("*") if each.is_file() and "tmp" not in each.name]
        truncate(file)

    def end(self, place: Place) -> None:
        """Resuming finds that it is not there in full length."""


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_step_does_not_read_a_truncated_artifact(place: Place, executor: str) -> None:
    made = Truncated()
    with place.open() as workspace:
        run = stopped(made, place, workspace, executor)
        assert [step.status for step in run.steps.values()] == ["completed", "completed", "completed", "failed"]
        resumed = run.resume()
        assert resumed.value["total"] == trouble.LARGE
        assert sorted(ran(place.folder)) == executions(made)
        assert workspace.store.check() == []


def test_a_garbled_artifact_is_refused_until_it_is_deleted_as_the_message_says(place: Place) -> None:
    with place.open() as workspace:
        (place.folder / "break.total").touch()
        run = trouble.troubled.run(folder=str(place.folder), executor="inline", workspace=workspace)
        assert run.status is Status.FAILED
        (place.folder / "break.total").unlink()
        garble(file_of(workspace, "large"))
        for _ in range(2):
            run = run.resume()
            assert run.status is Status.FAILED
            assert run.error is not None
            assert run.error["type"] == "ArtifactCorrupt"
            assert "An artifact's bytes never change once written: delete it" in run.error["message"]
        file_of(workspace, "large").unlink()
        assert run.resume().value["total"] == trouble.LARGE
        assert ran(place.folder).count("large") == 2
        assert ran(place.folder).count("begin") == 1
        assert workspace.store.check() == []


def test_a_truncated_value_is_refused_and_a_rerun_mends_it(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    with place.open() as workspace:
        run = trouble.troubled.run(folder=str(place.folder), executor="inline", workspace=workspace)
        file = file_of(workspace, "large")
        truncate(file)
        with pytest.raises(ArtifactCorrupt, match="it has 1000 bytes instead of"):
            run.value
        with pytest.raises(ArtifactCorrupt, match="it has 1000 bytes instead of"):
            run.steps["large"].outputs
    assert hpo(place, "rerun", "troubled#1") == 0
    assert f"total = {trouble.LARGE}" in capfd.readouterr().out
    with place.open() as workspace:
        again = workspace.run_called("troubled#2")
        assert again.steps["large"].reason == "missing artifact: value of troubled#1/large"
        assert ran(place.folder).count("large") == 2
        # One content, one file: what the first run returned is whole again too.
        assert (workspace.run_called("troubled#1").value["numbers"] == 1.0).all()
        assert workspace.store.check() == []


# -- code of another Python


@contextmanager
def other_code(workspace: Workspace, run: Run, **changes: Any) -> Iterator[None]:
    """While the block runs, what is recorded of the run's code is as if it had ``changes``."""
    store, digest = workspace.store, run.task.snapshot
    assert digest is not None
    snapshot = store.snapshots.get(digest)
    assert snapshot is not None
    content = Content.decode(workspace.artifacts.read_bytes(snapshot.content))
    changed = workspace.artifacts.put_bytes(replace(content, **changes).encode())
    store.artifacts.add([changed])

    def point_at(ref: ArtifactRef) -> None:
        values = {"content_digest": ref.digest, "content_value_digest": ref.value_digest}
        with store._database.transaction() as transaction:
            transaction.connection.execute(update(snapshots).where(snapshots.c.digest == digest).values(**values))

    point_at(changed)
    yield
    point_at(snapshot.content)


CODE_CASES: list[tuple[dict[str, Any], str]] = [
    ({"python": "3.9.18"}, r"bytecode of Python 3.9, and this is Python 3.\d+. Run it with Python 3.9, or define it"),
    ({"payload": b"\x80\x05cut"}, r"does not load here: .*may need a library that is missing, or another Python"),
]


@pytest.mark.parametrize(("changes", "says"), CODE_CASES, ids=["python", "payload"])
@pytest.mark.parametrize("executor", EXECUTORS)
def test_code_that_cannot_be_loaded_is_said_and_changes_nothing(
    place: Place, executor: str, changes: dict[str, Any], says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (place.folder / "break.fragile").touch()
    # A process loads each code once, so each case has its own, and another process finds it mended.
    step = float(CODE_CASES.index((changes, says)) * len(EXECUTORS) + EXECUTORS.index(executor))
    with place.open() as workspace:
        run = trouble.by_value(step).run(folder=str(place.folder), executor=executor, workspace=workspace)
        assert run.status is Status.FAILED
    (place.folder / "break.fragile").unlink()
    with place.open() as workspace, other_code(workspace, run, **changes):
        stood = workspace.run_called("carried#1")
        with pytest.raises(CodeUnavailable, match=says):
            stood.resume()
        assert hpo(place, "resume", "carried#1") == OUTCOMES[CodeUnavailable].exit_code
        said = capfd.readouterr().err
        assert re.search(says, said)
        assert "Traceback" not in said
        assert stood.refreshed().task == stood.task
    with driving(place, "resume", "carried#1") as process:
        assert process.communicate(timeout=60)[0] == f"{1.0 + step}\n"
    with place.open() as workspace:
        assert Counter(ran(place.folder)) == {"begin": 1, "fragile": 2}
        assert workspace.store.check() == []


def test_code_in_modules_travels_as_sources_and_runs_on_another_python(place: Place) -> None:
    with place.open() as workspace:
        (place.folder / "break.total").touch()
        run = trouble.troubled.run(folder=str(place.folder), executor="inline", workspace=workspace)
        assert run.status is Status.FAILED
        (place.folder / "break.total").unlink()
    with place.open() as workspace, other_code(workspace, run, python="3.9.18"):
        assert workspace.run_called("troubled#1").resume().status is Status.COMPLETED


# -- before anything runs


def test_a_home_that_cannot_be_made_is_refused(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    place.home.write_text("a file")
    assert hpo(place, "run", TARGET, "-P", f"folder={place.folder}") == OUTCOMES[ConfigError].exit_code
    said = capfd.readouterr().err
    assert "runs cannot be kept" in said
    assert "set HPO_HOME to a folder that can be written" in said


def test_runs_are_not_found_while_their_home_is_away(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    with place.open() as workspace:
        (place.folder / "break.total").touch()
        trouble.troubled.run(folder=str(place.folder), executor="inline", workspace=workspace)
        (place.folder / "break.total").unlink()
    place.home.rename(place.base / "away")
    assert hpo(place, "resume", "troubled#1") == OUTCOMES[TaskNotFound].exit_code
    assert f"No runs yet in {place.home}" in capfd.readouterr().err
    shutil.rmtree(place.home)
    (place.base / "away").rename(place.home)
    assert hpo(place, "resume", "troubled#1") == 0
    assert ran(place.folder) == ["begin", "large", "pause", "total", "total"]


def test_nothing_is_begun_where_it_could_not_be_kept(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    made = StoreLocked()
    made.prepare(place)
    with place.open() as workspace:
        assert workspace.runs() == []
    made.begin(place)
    with place.open() as workspace, pytest.raises(StoreError, match=made.says):
        trouble.troubled.run(folder=str(place.folder), executor="inline", workspace=workspace)
    assert hpo(place, "run", TARGET, "-P", f"folder={place.folder}") == OUTCOMES[StoreError].exit_code
    said = capfd.readouterr().err
    assert re.search(made.says, said)
    assert "Traceback" not in said
    made.end(place)
    with place.open() as workspace:
        assert workspace.runs() == []
        assert workspace.store.check() == []
