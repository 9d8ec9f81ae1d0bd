"""Where things are kept and how they run: defaults, then ``$HPO_HOME/config.toml``, then environment variables."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from hpo_pipelines.errors import ConfigError

STEP_RUNS = ("auto", "always", "never")


@dataclass(frozen=True)
class Settings:
    """Every setting. In ``config.toml`` the names stand as here, ``tracking_*`` ones in a ``[tracking]`` table."""

    home: Path
    store: str
    """SQLAlchemy URL of the store."""
    artifacts: str
    """fsspec URL, or folder, of the artifacts."""
    executor: str | None = None
    """The executor of runs that name none."""
    tracking_uri: str = ""
    """MLflow tracking URI; empty turns the mirror off."""
    tracking_step_runs: str = "auto"
    """Which steps get an MLflow run of their own: ``auto``, ``always``, ``never``."""

    @classmethod
    def load(cls, home: str | Path | None = None, environment: Mapping[str, str] = os.environ) -> Settings:
        """The settings in force for ``home`` (default ``$HPO_HOME``, else ``~/.hpo_pipelines``).

        Variables: HPO_HOME, HPO_STORE, HPO_ARTIFACTS, HPO_EXECUTOR, MLFLOW_TRACKING_URI, HPO_TRACKING_STEP_RUNS.
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
        return cls(home=folder, **_checked(values))  # type: ignore[arg-type]


_VARIABLES = {
    "HPO_STORE": "store",
    "HPO_ARTIFACTS": "artifacts",
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
        if isinstance(value, dict):
            flat.update({f"{name}_{inner}": item for inner, item in value.items()})
        else:
            flat[name] = value
    known = [field.name for field in fields(Settings) if field.name != "home"]
    for name in flat:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f". Known: {', '.join(known)}."
            raise ConfigError(f"{path}: there is no setting {name!r}{hint}")
    return flat


def _checked(values: dict[str, object]) -> dict[str, object]:
    for name, value in values.items():
        if not isinstance(value, str) and value is not None:
            raise ConfigError(f"setting {name}={value!r}: it is text.")
    if values.get("tracking_step_runs", "auto") not in STEP_RUNS:
        raise ConfigError(
            f"setting tracking_step_runs={values['tracking_step_runs']!r}: it is one of {', '.join(STEP_RUNS)}."
        )
    if values.get("executor") not in (None, "inline", "local", "ray"):
        raise ConfigError(f"setting executor={values['executor']!r}: it is inline, local or ray.")
    return values
