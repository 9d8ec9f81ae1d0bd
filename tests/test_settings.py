from __future__ import annotations

import json
from pathlib import Path

import pytest

from hpo_pipelines.errors import ConfigError
from hpo_pipelines.settings import Settings
from hpo_pipelines.tracking.process import _settings_record, settings_from
from hpo_pipelines.types import Queue


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
        ("queues = 3", "it is a table of queues"),
        ("[queues]\ngpu = 3", "queues.gpu=3: a queue is a table"),
        ('[queues.gpu]\nlabel = {a = "b"}', "a queue has no 'label'; did you mean 'labels'"),
        ("[queues.gpu]\nzzz = 1", "Known: labels, resources"),
        ("[queues.gpu]\nlabels = {a = 1}", "labels are text by name"),
        ("[queues.gpu]\nresources = {a = true}", "amounts above 0"),
        ("[queues.gpu]\nresources = {a = 1.5}", "whole above 1"),
        ("[queues.gpu]\nresources = {a = inf}", "whole above 1"),
        ("[queues.gpu]\nresources = {GPU = 1}", "GPU is what each step asks for itself"),
    ],
)
def test_wrong_files(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "config.toml").write_text(content)
    with pytest.raises(ConfigError, match=message):
        Settings.load(tmp_path, {})


def test_queues_are_declared_and_two_are_always_there(tmp_path: Path) -> None:
    assert Settings.load(tmp_path, {}).queues == {"default": Queue("default"), "services": Queue("services")}
    table = '[queues.gpu]\nlabels = {accelerator = "a100"}\nresources = {"queue:gpu" = 1}\n[queues.default]\n'
    (tmp_path / "config.toml").write_text(table)
    settings = Settings.load(tmp_path, {})
    assert sorted(settings.queues) == ["default", "gpu", "services"]
    assert settings.queue("gpu") == Queue("gpu", {"accelerator": "a100"}, {"queue:gpu": 1.0})
    assert settings.queue("gpu").places
    assert not settings.queue("default").places


def test_queues_of_the_variable_count_before_those_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[queues.gpu]\n")
    settings = Settings.load(tmp_path, {"HPO_QUEUES": '{"tpu": {"labels": {"kind": "tpu"}}}'})
    assert settings.queues["tpu"].labels == {"kind": "tpu"}
    assert "gpu" not in settings.queues
    with pytest.raises(ConfigError, match="a JSON object of queues"):
        Settings.load(tmp_path, {"HPO_QUEUES": "{"})


def test_an_undeclared_queue_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no queue 'defalt'; did you mean 'default'\? Known: default, services"):
        Settings.load(tmp_path, {}).queue("defalt")


def test_settings_reach_a_child_process_whole(tmp_path: Path) -> None:
    settings = Settings.load(tmp_path, {"HPO_QUEUES": '{"gpu": {"labels": {"a": "b"}, "resources": {"c": 2}}}'})
    assert settings_from(json.loads(json.dumps(_settings_record(settings)))) == settings
