"""Where things are kept and how they run: defaults, then ``$HPO_HOME/config.toml``, then environment variables."""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from hpo_pipelines.errors import ConfigError
from hpo_pipelines.types import Queue
from hpo_pipelines.webhook import Webhook, webhooks

STEP_RUNS = ("auto", "always", "never")

QUEUES = ("default", "services")
"""The queues that are always there: of steps, and of the controllers of runs."""


def _usual_queues() -> dict[str, Queue]:
    return {name: Queue(name) for name in QUEUES}


@dataclass(frozen=True)
class Settings:
    """Every setting. In ``config.toml`` the names stand as here, ``tracking_*`` ones in a ``[tracking]`` table.

    Each queue has a table of its own, ``[queues.gpu]``, with ``labels`` and ``resources`` (see
    :class:`hpo_pipelines.types.Queue`), and so has each webhook, ``[notifications.slack]``, with a ``url`` and what
    else :class:`hpo_pipelines.webhook.Webhook` says.
    """

    home: Path
    """The folder of the store, the artifacts and ``config.toml``, unless these are elsewhere."""
    store: str
    """SQLAlchemy URL of the store."""
    artifacts: str
    """fsspec URL, or folder, of the artifacts."""
    server: str = ""
    """Address of the ``hpo up`` that stands for the store and the artifacts; empty: they are opened here."""
    pages: str = "http://127.0.0.1:8264"
    """Address under which people open the pages, for what refers to a run by its address."""
    executor: str | None = None
    """The executor of runs that name none."""
    tracking_uri: str = ""
    """MLflow tracking URI; empty turns the mirror off."""
    tracking_step_runs: str = "auto"
    """Which steps get an MLflow run of their own: ``auto``, ``always``, ``never``."""
    queues: Mapping[str, Queue] = field(default_factory=_usual_queues)
    """By name; ``default`` and ``services`` are always among them."""
    notifications: Mapping[str, Webhook] = field(default_factory=dict)
    """The webhooks, by name."""

    @classmethod
    def load(cls, home: str | Path | None = None, environment: Mapping[str, str] = os.environ) -> Settings:
        """The settings in force for ``home`` (default ``$HPO_HOME``, else ``~/.hpo_pipelines``).

        Variables: HPO_HOME, HPO_STORE, HPO_ARTIFACTS, HPO_SERVER, HPO_PAGES, HPO_EXECUTOR, MLFLOW_TRACKING_URI,
        HPO_TRACKING_STEP_RUNS; HPO_QUEUES, the queues as JSON: ``{"gpu": {"labels": {"accelerator": "a100"}}}``; and
        HPO_NOTIFICATIONS, the webhooks likewise.
        Raises ConfigError for an unknown name in the file, with the nearest one, or an impossible value.
        """
        folder = Path(home or environment.get("HPO_HOME") or Path.home() / ".hpo_pipelines").expanduser().absolute()
        values: dict[str, object] = {
            "store": f"sqlite:///{folder / 'store.db'}",
            "artifacts": str(folder / "artifacts"),
            "tracking_uri": f"sqlite:///{folder / 'mlflow.db'}",
        }
        values.update(_file(folder / "config.toml"))
        for variable, name in _VARIABLES.items():
            if variable in environment:
                values[name] = environment[variable]
        tables = {name: values.pop(name, {}) for name in _TABLES}
        for name, (variable, what) in _TABLES.items():
            if variable in environment:
                tables[name] = _json(variable, what, environment[variable])
        made = {"queues": queues(tables["queues"]), "notifications": webhooks(tables["notifications"])}
        return cls(home=folder, **made, **_checked(values))  # type: ignore[arg-type]

    @property
    def _file(self) -> str:
        return f"the config.toml of {self.server}" if self.server else str(self.home / "config.toml")

    def queue(self, name: str) -> Queue:
        """The queue ``name``. Raises ConfigError for one that is not declared, with the nearest and all that are."""
        if name not in self.queues:
            near = difflib.get_close_matches(name, self.queues, 1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ConfigError(
                f"there is no queue {name!r}; {hint}Known: {', '.join(sorted(self.queues))}. "
                f"A queue is declared by a table [queues.{_key(name)}] in {self._file}."
            )
        return self.queues[name]

    def webhooks(self, names: str | Sequence[str]) -> list[Webhook]:
        """The webhooks called ``names``. Raises ConfigError for one that is not declared, with all that are."""
        wanted = [names] if isinstance(names, str) else list(names)
        for name in wanted:
            if name not in self.notifications:
                near = difflib.get_close_matches(name, self.notifications, 1)
                hint = f"did you mean {near[0]!r}? " if near else ""
                raise ConfigError(
                    f"there is no webhook {name!r}; {hint}Known: {', '.join(sorted(self.notifications)) or 'none'}. "
                    f"One is declared by a table [notifications.{_key(name)}] in {self._file}."
                )
        return [self.notifications[name] for name in wanted]


def is_server(url: str) -> bool:
    """Whether ``url`` names a server, and no database."""
    return url.startswith(("http://", "https://"))


def server_of(store: str | None, home: str | Path | None) -> str:
    """The address of the server that a workspace for ``store`` and ``home`` is about; empty for one opened here.

    A store or a home that is named goes before the setting.
    """
    if store is not None:
        return store if is_server(store) else ""
    return "" if home is not None else Settings.load().server


def queues(tables: object) -> dict[str, Queue]:
    """The queues that ``tables`` (name -> labels and resources) declare, and those that are always there.

    Raises ConfigError for what is no such table, a key that it does not have, or a wrong value.
    """
    if not isinstance(tables, Mapping):
        raise ConfigError(f"setting queues={tables!r}: it is a table of queues, [queues.NAME] for each.")
    return _usual_queues() | {name: _queue(name, table) for name, table in tables.items()}


def _queue(name: str, table: object) -> Queue:
    at = f"setting queues.{name}"
    if not isinstance(table, Mapping):
        raise ConfigError(f"{at}={table!r}: a queue is a table with labels and resources, which may be empty.")
    for key in table:
        if key not in ("labels", "resources"):
            raise ConfigError(f"{at}: a queue has no {key!r}{_nearest(key, ['labels', 'resources'])}")
    labels, resources = table.get("labels", {}), table.get("resources", {})
    if not (isinstance(labels, Mapping) and all(isinstance(value, str) for value in labels.values())):
        raise ConfigError(f'{at}.labels={labels!r}: labels are text by name, such as {{accelerator = "a100"}}.')
    if not (isinstance(resources, Mapping) and all(map(_is_amount, resources.values()))):
        raise ConfigError(
            f"{at}.resources={resources!r}: resources are amounts above 0 by name, whole above 1, such as "
            f'{{"queue:{name}" = 1}}.'
        )
    own = [resource for resource in resources if resource in ("CPU", "GPU", "memory", "object_store_memory")]
    if own:
        raise ConfigError(
            f"{at}.resources: {own[0]} is what each step asks for itself; a queue takes custom resources, "
            f'such as {{"queue:{name}" = 1}}.'
        )
    return Queue(name, dict(labels), {resource: float(amount) for resource, amount in resources.items()})


def _key(name: str) -> str:
    """``name`` as a key of TOML."""
    bare = re.fullmatch(r"[A-Za-z0-9_-]+", name)
    return name if bare else json.dumps(name, ensure_ascii=False)


def _is_amount(value: object) -> bool:
    """Whether Ray takes it for an amount: it divides one unit of a resource, not several."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return 0 < value < 1 or (value >= 1 and float(value).is_integer())


def _json(variable: str, what: str, text: str) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        shown = f"={text!r}" if what == "queues" else ""  # the others hold secrets
        raise ConfigError(f"{variable}{shown}: it is a JSON object of {what}; {error}.") from None


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {near[0]!r}?" if near else f". Known: {', '.join(known)}."


_TABLES = {"queues": ("HPO_QUEUES", "queues"), "notifications": ("HPO_NOTIFICATIONS", "webhooks")}
"""The settings that are tables of tables, with the variable that holds one, and what it holds."""

ELSEWHERE: Mapping[str, str] = {
    "HPO_TOKEN": "The token that goes with each request to HPO_SERVER; never a setting of a file.",
    "HPO_LOCAL_CPUS": "CPUs that the local executor shares out among steps; those this process may use.",
    "HPO_RAY_CPUS": "CPUs of a Ray that is started here on demand; those this process may use.",
    "HPO_RAY_LINGER": "How long a Ray that was started here stays after its last user, such as 10min; 0.",
    "HPO_RAY_JOBS": "Address of the head's job server, for hpo submit: http://HEAD:8265.",
    "HPO_ENVIRONMENTS": "Folder of the environments of steps with packages of their own; one in HPO_HOME.",
    "HPO_CONTAINER_ENGINE": "The program that runs the images of steps; podman, else docker.",
    "HPO_CONTAINER_OPTIONS": "Options that go with each start of a container, such as --gpus all.",
    "HPO_MLFLOW_STEP": "Set by us in the process of a step that logs to MLflow itself; nothing to be set by hand.",
}
"""Variables that are read where they are needed, each with what it says and what holds without it."""

_VARIABLES = {
    "HPO_STORE": "store",
    "HPO_ARTIFACTS": "artifacts",
    "HPO_SERVER": "server",
    "HPO_PAGES": "pages",
    "HPO_EXECUTOR": "executor",
    "MLFLOW_TRACKING_URI": "tracking_uri",
    "HPO_TRACKING_STEP_RUNS": "tracking_step_runs",
}


def _file(path: Path) -> dict[str, object]:
    try:
        content = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: a settings file is TOML; {error}.") from None
    flat: dict[str, object] = {}
    for name, value in content.items():
        if name in _TABLES:
            flat[name] = value
        elif isinstance(value, dict):
            flat.update({f"{name}_{inner}": item for inner, item in value.items()})
        else:
            flat[name] = value
    known = [field.name for field in fields(Settings) if field.name != "home"]
    for name in flat:
        if name not in known:
            raise ConfigError(f"{path}: there is no setting {name!r}{_nearest(name, known)}")
    return flat


def _checked(values: dict[str, object]) -> dict[str, object]:
    for name, value in values.items():
        if not isinstance(value, str) and value is not None:
            raise ConfigError(f"setting {name}={value!r}: it is text.")
    if values.get("tracking_step_runs", "auto") not in STEP_RUNS:
        raise ConfigError(
            f"setting tracking_step_runs={values['tracking_step_runs']!r}: it is one of {', '.join(STEP_RUNS)}."
        )
    server = values.get("server") or ""
    if server and not is_server(str(server)):
        raise ConfigError(
            f"setting server={server!r}: it is an address that `hpo up` says, such as http://127.0.0.1:8264."
        )
    if values.get("executor") not in (None, "inline", "local", "ray"):
        raise ConfigError(f"setting executor={values['executor']!r}: it is inline, local or ray.")
    return values
