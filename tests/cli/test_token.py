from __future__ import annotations

from pathlib import Path

import pytest
from cli.conftest import Hpo

from hpo_pipelines.cli import token as commands
from hpo_pipelines.server.roles import ROLES
from hpo_pipelines.server.tokens import TokenFile


def test_a_token_is_shown_once_listed_and_revoked(hpo: Hpo, home: Path) -> None:
    made = hpo("token", "create", "--role", "runner", "--name", "ci")
    text = made.out.strip()
    assert (made.code, text.startswith("hpo_")) == (0, True)
    assert "not shown again" in made.err
    file = home / "tokens.json"
    assert text not in file.read_text()
    assert TokenFile(file).find(text) is not None
    listed = hpo("token", "ls")
    assert listed.out.split()[:2] == ["ci", "runner"]
    assert text not in listed.out
    assert not (home / "store.db").exists(), "tokens need no store"
    assert hpo("token", "rm", "ci").out == "revoked ci (runner)\n"
    assert TokenFile(file).find(text) is None
    assert "No tokens" in hpo("token", "ls").err


def test_elsewhere_and_as_json(hpo: Hpo, home: Path, tmp_path: Path) -> None:
    file = str(tmp_path / "team.json")
    made = hpo("token", "create", "--role", "author", "--name", "me", "--token-file", file, "--json").document
    assert (made["name"], made["role"], made["token_file"]) == ("me", "author", file)
    (one,) = hpo("token", "ls", "--token-file", file, "--json").document["tokens"]
    assert set(one) == {"name", "role", "created_at"}
    assert hpo("token", "rm", "me", "--token-file", file, "--json").document == {"removed": "me", "role": "author"}
    refused = hpo("token", "rm", "me", "--token-file", file)
    assert refused.code == 19
    assert "has no token called 'me'; it has none" in refused.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--host", "0.0.0.0"], "--token-file FILE"),
        (["--allow-host", "team.example"], "--token-file FILE"),
        (["--token-file", "missing.json"], "hpo token create"),
        (["--proxy-user-header", "X-User"], "--proxy-address"),
        (["--proxy-role", "author"], "--proxy-user-header"),
        (["--proxy-address", "127.0.0.1"], "--proxy-user-header"),
    ],
)
def test_up_refuses_what_lets_anybody_in(hpo: Hpo, home: Path, options: list[str], said: str) -> None:
    refused = hpo("up", "--no-open", *options)
    assert (refused.code, refused.out) == (19, "")
    assert said in refused.err
    assert options[0] in refused.err or "missing.json" in refused.err


def test_the_roles_are_those_of_the_server() -> None:
    assert commands.ROLES == ROLES
