from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hpo_pipelines.errors import ConfigError
from hpo_pipelines.settings import Settings
from hpo_pipelines.tracking.process import _settings_record, settings_from
from hpo_pipelines.webhook import USUAL, Webhook, webhooks

FILE = """
[notifications.slack]
url = "https://hooks.example.org/${PART}"
events = ["run.failed"]
timeout = "5s"
retries = 3
headers = {Authorization = "Bearer ${TOKEN}"}

[notifications.other]
url = "http://127.0.0.1:9/secret"
only_asked = true
"""


def test_the_settings_declare_them(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(FILE)
    settings = Settings.load(tmp_path, {})
    slack, other = settings.notifications.values()
    assert (slack.name, slack.events, slack.timeout, slack.retries) == ("slack", ("run.failed",), 5.0, 3)
    assert (other.events, other.only_asked, other.expires) == (USUAL, True, 86400.0)
    assert slack.address({"PART": "T1/B2"}) == "https://hooks.example.org/T1/B2"
    assert slack.sent_headers({"TOKEN": "abc"}) == {"Authorization": "Bearer abc"}
    assert settings.webhooks("slack") == [slack]
    assert settings.webhooks([]) == []
    again = settings_from(json.loads(json.dumps(_settings_record(settings))))
    assert again.notifications == settings.notifications


def test_a_variable_goes_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(FILE)
    text = json.dumps({"mine": {"url": "http://127.0.0.1:9/"}})
    assert list(Settings.load(tmp_path, {"HPO_NOTIFICATIONS": text}).notifications) == ["mine"]
    with pytest.raises(ConfigError, match="HPO_NOTIFICATIONS: it is a JSON object of webhooks") as raised:
        Settings.load(tmp_path, {"HPO_NOTIFICATIONS": "{s3cret"})
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("x", "a webhook is a table with a url"),
        ({}, "it needs a url"),
        ({"url": 3}, "it needs a url"),
        ({"url": "ftp://s3cret"}, "http:// or https:// address"),
        ({"url": "s3cret"}, "http:// or https:// address"),
        ({"url": "http://h/", "event": []}, "no 'event'; did you mean 'events'"),
        ({"url": "http://h/", "events": "run.failed"}, "it is a list of run.completed"),
        ({"url": "http://h/", "events": ["run.faild"]}, "no 'run.faild'; did you mean 'run.failed'"),
        ({"url": "http://h/", "timeout": "soon"}, "a duration is seconds"),
        ({"url": "http://h/", "retries": -1}, "a whole number, 0 or more"),
        ({"url": "http://h/", "only_asked": "yes"}, "it is true or false"),
        ({"url": "http://h/", "headers": ["s3cret"]}, "headers are text by name"),
    ],
)
def test_what_is_wrong_is_said_without_the_secret(table: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        webhooks({"slack": table})
    assert "notifications.slack" in str(raised.value)
    assert "s3cret" not in str(raised.value)


def test_a_variable_that_is_not_set_is_said_when_it_is_needed() -> None:
    hook = Webhook("slack", "${HOOK}")
    with pytest.raises(ConfigError, match="names the variable HOOK, which is not set here"):
        hook.address({})
    with pytest.raises(ConfigError, match="http:// or https:// address") as raised:
        hook.address({"HOOK": "s3cret"})
    assert "s3cret" not in str(raised.value)


def test_its_representation_holds_no_secret() -> None:
    assert "s3cret" not in repr(Webhook("slack", "http://h/s3cret", headers={"X": "s3cret"}))


def test_an_unknown_name_is_refused_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(FILE)
    with pytest.raises(ConfigError, match=r"no webhook 'slak'; did you mean 'slack'.*notifications.slak"):
        Settings.load(tmp_path, {}).webhooks(["slak"])
