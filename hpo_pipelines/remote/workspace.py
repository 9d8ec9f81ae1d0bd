"""The use cases of a workspace, done by a server; reading them is as everywhere."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from hpo_pipelines.accounting import Accounting
from hpo_pipelines.consoles import Consoles
from hpo_pipelines.engine import Engine, Refresh, RunOptions
from hpo_pipelines.engine.options import completed
from hpo_pipelines.errors import ConfigError, HpoPipelinesError, IllegalTransition
from hpo_pipelines.pipeline import Pipeline, components_of
from hpo_pipelines.planning import Plan
from hpo_pipelines.provenance import git_state
from hpo_pipelines.reasons import Why
from hpo_pipelines.remote import wire
from hpo_pipelines.remote.artifacts import ServedArtifacts
from hpo_pipelines.remote.connection import Connection, quoted
from hpo_pipelines.remote.following import follow, printed_by
from hpo_pipelines.remote.store import RemoteStore, refusal
from hpo_pipelines.run import Run
from hpo_pipelines.settings import Settings, is_server
from hpo_pipelines.snapshot import Code, live
from hpo_pipelines.store.records import from_json, to_json
from hpo_pipelines.task import Task
from hpo_pipelines.types import Queue, Status
from hpo_pipelines.workspace import RefreshOption, Workspace, refuse_trial


class RemoteWorkspace(Workspace):
    """What an ``hpo up`` serves, at the address ``store`` or the setting ``server``.

    Methods have the meaning that they have in :class:`Workspace`; runs are driven by the server's agents, and a method
    that runs something follows it to its end. What works on a store only is refused with ConfigError.
    """

    def __init__(
        self, store: str | None = None, *, artifacts: str | None = None, home: str | Path | None = None
    ) -> None:
        settings = Settings.load(home)
        url = store if store is not None and is_server(store) else settings.server
        if artifacts is not None:
            raise ConfigError(f"artifacts={artifacts!r}: those of {url} are where its server keeps them; leave it out.")
        self.server = Connection(url)
        """Asked for whatever is not read through the store."""
        # A folder that lasts as long as this: what was read is the server's, and may change there.
        self.home = Path(tempfile.mkdtemp(prefix="hpo-served-"))
        self._forget = weakref.finalize(self, shutil.rmtree, self.home, ignore_errors=True)
        self.settings = replace(settings, server=self.server.url, queues=ServedQueues(self.server))
        self.store = RemoteStore(self.server)
        self.artifacts = ServedArtifacts(self.server, self.home / "artifacts")
        self.consoles = Consoles(self.store, self.home, shared=True)
        self.engine = Engine(self.store, self.artifacts, self.consoles)
        self._codes: dict[str, tuple[Pipeline[..., Any], Code]] = {}
        self._entries: dict[str, str] = {}
        self._lock = threading.Lock()

    @property
    def place(self) -> str:
        return self.server.url

    # -- runs from pipelines

    def draft(
        self,
        pipeline: Pipeline[..., Any],
        params: Mapping[str, Any],
        *,
        executor: str | None = None,
        tags: Sequence[str] = (),
    ) -> Run:
        """As :meth:`Workspace.draft`. Code that the server does not know is sent there, which asks for the role
        ``author``."""
        values = pipeline.parameters.bind(params)
        for component in components_of(pipeline):
            if component.options.resources.queue is not None:
                self.settings.queue(component.options.resources.queue)
        encoded = _json(pipeline.parameters.encode(values))
        wanted = {**self.brought(pipeline), "params": encoded, "executor": executor, "tags": list(tags)}
        return self._made(self.server.post("/runs", wanted))

    def brought(self, pipeline: Pipeline[..., Any]) -> dict[str, Any]:
        """What a request says of code from here: its digest, the server having it now, and where it came from."""
        return {"snapshot": self.record_code(pipeline), "git": git_state(os.getcwd())}

    def record_code(self, pipeline: Pipeline[..., Any]) -> str:
        captured = pipeline.captured()
        with self._lock:
            if captured.digest not in self._codes:
                if self.store.snapshots.get(captured.digest) is None:
                    self.server.post_bytes("/snapshots", captured.content)
                self._codes.pop(self._entries.get(captured.entry, ""), None)
                self._entries[captured.entry] = captured.digest
                self._codes[captured.digest] = (pipeline, live())
        return captured.digest

    # -- acting on runs

    def start(self, run: str, options: RunOptions | None = None) -> Run:
        """Have the draft ``run`` driven by the server, and follow it to its end; interrupted, it is aborted."""
        task = self.store.tasks.get(run)
        if task.status not in (Status.DRAFT, Status.QUEUED):
            cure = "rerun it" if task.status is Status.COMPLETED else "resume it, or rerun it"
            raise IllegalTransition(f"{task.label} is {task.status}: only a draft is started; {cure}.")
        options = options or RunOptions()
        with self._aborted_if_interrupted(run):
            return follow(self._submitted(run, options), echo=options.echo)

    def enqueue(
        self, run: str, *, queue: str | None = None, priority: int | None = None, options: RunOptions | None = None
    ) -> Run:
        return self._submitted(run, options, queue=queue, priority=priority)

    def _submitted(
        self, run: str, options: RunOptions | None, *, queue: str | None = None, priority: int | None = None
    ) -> Run:
        how = {"keep_options": True} if options is None else _asked(options)
        return self._made(
            self.server.post(f"/runs/{quoted(run)}/submit", {"queue": queue, "priority": priority, **how})
        )

    def clone(self, run: str, params: Mapping[str, Any], *, executor: str | None = None) -> Run:
        task = self.store.tasks.get(run)
        pipeline, _ = self.code(task)
        values = pipeline.parameters.bind({**pipeline.parameters.decode(task.params), **params})
        encoded = pipeline.parameters.encode(values)
        wanted = {"params": _json({name: encoded[name] for name in params}), "executor": executor}
        return self._made(self.server.post(f"/runs/{quoted(run)}/clone", wanted))

    def rerun_draft(
        self, run: str, *, failed: bool = False, from_step: str | None = None, refresh: RefreshOption = False
    ) -> tuple[Run, RunOptions]:
        wanted = Refresh.of(refresh, from_step)
        named = wanted.everything or sorted(wanted.steps)
        asked = {"refresh": named, "from_step": from_step, "failed": failed, "submit": False}
        made = self._made(self.server.post(f"/runs/{quoted(run)}/rerun", asked))
        return made, RunOptions(refresh=wanted, prior=completed(self.store, run) if failed else {})

    def resume(self, run: str, *, from_step: str | None = None) -> Run:
        task = self.store.tasks.get(run)
        refuse_trial(self.store, task)
        printed = printed_by(Run(self, task))
        with self._aborted_if_interrupted(run):
            made = self._made(self.server.post(f"/runs/{quoted(run)}/resume", {"from_step": from_step}))
            return follow(made, printed=printed)

    def abort(self, run: str) -> Run:
        return self._made(self.server.post(f"/runs/{quoted(run)}/abort"))

    def is_driving(self, run: str) -> bool:
        return False

    @contextmanager
    def _aborted_if_interrupted(self, run: str) -> Iterator[None]:
        """As the driver of a run does where it is interrupted: the run is not left to go on unseen."""
        try:
            yield
        except Exception:
            raise
        except BaseException:
            with suppress(HpoPipelinesError):
                self.abort(run)
            raise

    def _made(self, described: Mapping[str, Any]) -> Run:
        return Run(self, self.store.tasks.get(described["id"]))

    # -- what is known of tasks

    def why(self, step: Task) -> Why:
        return wire.why_of(self.server.get(f"/records/tasks/{quoted(step.id)}/why"))

    def why_run(self, run: Task) -> tuple[Why, ...]:
        return tuple(wire.why_of(each) for each in self.server.get(f"/runs/{quoted(run.id)}/why")["items"])

    def accounting(self, task: Task) -> Accounting:
        return Accounting(**self.server.get(f"/records/tasks/{quoted(task.id)}/accounting"))

    def plan(
        self, target: Pipeline[..., Any] | Run, params: Mapping[str, Any], *, refresh: Refresh | None = None
    ) -> Plan:
        """A clone is planned by the server; a pipeline here, with its code as it is and these packages."""
        if isinstance(target, Pipeline):
            return super().plan(target, params, refresh=refresh)
        pipeline, _ = self.code(target.task)
        encoded = pipeline.parameters.encode(
            pipeline.parameters.bind({**pipeline.parameters.decode(target.task.params), **params})
        )
        refresh = refresh or Refresh()
        wanted = {
            "params": _json({name: encoded[name] for name in params}),
            "refresh": refresh.everything or sorted(refresh.steps),
        }
        return wire.plan_of(self.server.post(f"/runs/{quoted(target.id)}/plan", wanted))

    def fetch_journal(self, study: str) -> None:
        """Bring Optuna's journal of the study with this id below :attr:`home`, as it is now. Raises StudyError."""
        path = self.home / "optuna" / f"{study}.journal"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(self.server.get_bytes(f"/records/studies/{quoted(study)}/journal"))

    # -- what needs the store itself

    def record_of(self, *args: Any, **options: Any) -> NoReturn:
        raise refusal("a record that is not stored yet", self.server.url)

    def controller(self, *args: Any, **options: Any) -> NoReturn:
        raise refusal("driving a run", self.server.url)

    def cloned(self, *args: Any, **options: Any) -> NoReturn:
        raise refusal("a record that is not stored yet", self.server.url)

    def resumed(self, *args: Any, **options: Any) -> NoReturn:
        raise refusal("driving a run", self.server.url)

    def taken_over(self, *args: Any, **options: Any) -> NoReturn:
        raise refusal("driving a run", self.server.url)

    def end(self, run: str, status: Status, reason: str) -> NoReturn:
        raise refusal(f"ending a run as {status}", self.server.url)

    def follow(self) -> None:
        """Nothing: MLflow is the server's to feed."""

    def drain(self, timeout: float = 5.0) -> NoReturn:
        raise refusal("waiting for MLflow", self.server.url)

    def notification_problem(self) -> str | None:
        """The server tells its webhooks."""
        return None

    def tracking_problem(self) -> str | None:
        """None: MLflow is the server's to feed."""
        return None

    def close(self) -> None:
        self.engine.close()
        self.store.close()
        self._forget()


class ServedQueues(Mapping[str, Queue]):
    """The queues that the server declares, asked for when first looked at."""

    def __init__(self, connection: Connection) -> None:
        self._server = connection
        self._known: dict[str, Queue] | None = None

    def _all(self) -> dict[str, Queue]:
        if self._known is None:
            found = self._server.get("/queues")["items"]
            self._known = {
                each["queue"]: Queue(each["queue"], each["labels"], each["resources"])
                for each in found
                if each["declared"]
            }
        return self._known

    def __getitem__(self, name: str) -> Queue:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


def _asked(options: RunOptions) -> dict[str, Any]:
    """``options`` as the server takes them."""
    refresh = options.refresh
    return {
        "refresh": refresh.everything or sorted(refresh.steps),
        "from_steps": sorted(refresh.from_steps),
        "reuse": options.reuse,
        "keep": next((task.parent for task in options.prior.values()), None),
    }


def _json(value: Mapping[str, Any]) -> Any:
    """``value`` as any reader of JSON takes it."""
    return from_json(to_json(value))
