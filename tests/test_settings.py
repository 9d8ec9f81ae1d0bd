from __future__ import annotations

from pathlib import Path

import pytest

from hpo_pipelines.errors import ConfigError
from hpo_pipelines.settings import Settings


def test_defaults_live_under_the_home(tmp_path: Path) -> None:
    settings = Settings.load(tmp_path, {})
    assert settings.home == tmp_path
    assert settings.store == f"sqlite:///{tmp_path}/store.db"
    assert settings.artifacts == f"{tmp_path}/artifacts"
    assert settings.tracking_uri == f"sqlite:///{tmp_path}/mlflow.db"
    assert settings.executor is None


def test_variables_count_before_the_file_and_the_file_before_defaults(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('executor = "ray"\n[tracking]\nstep_runs = "never"\nuri = "http://x"\n')
    settings = Settings.load(tmp_path, {"HPO_EXECUTOR": "inline"})
    assert settings.executor == "inline"
    assert settings.tracking_step_runs == "never"
    assert settings.tracking_uri == "http://x"


def test_the_home_is_that_of_the_variable(tmp_path: Path) -> None:
    assert Settings.load(None, {"HPO_HOME": str(tmp_path / "h")}).home == tmp_path / "h"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('exekutor = "ray"', "there is no setting 'exekutor'; did you mean 'executor'"),
        ("zzz = 1", "Known: store"),
        ("executor = 3", "it is text"),
        ('executor = "slurm"', "inline, local or ray"),
        ('[tracking]\nstep_runs = "sometimes"', "auto, always, never"),
        ("executor = ", "a settings file is TOML"),
    ],
)
def test_wrong_files(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "config.toml").write_text(content)
    with pytest.raises(ConfigError, match=message):
        Settings.load(tmp_path, {})
