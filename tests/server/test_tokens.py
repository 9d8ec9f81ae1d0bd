from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from hpo_pipelines.errors import ConfigError
from hpo_pipelines.server.roles import Role
from hpo_pipelines.server.tokens import TokenFile, digest_of


@pytest.fixture
def file(tmp_path: Path) -> TokenFile:
    return TokenFile(tmp_path / "deep" / "tokens.json")


def test_a_token_is_found_by_itself_and_kept_as_a_digest_only(file: TokenFile) -> None:
    text = file.create("ci", Role.RUNNER)
    assert text.startswith("hpo_")
    assert len(text) >= 4 + 43  # 256 bits in base 64
    found = file.find(text)
    assert found is not None
    assert (found.name, found.role) == ("ci", Role.RUNNER)
    assert text not in file.path.read_text()
    assert digest_of(text) in file.path.read_text()
    assert file.path.stat().st_mode & 0o777 == 0o600
    for wrong in ("", "hpo_", text[:-1], text + "x", text.upper(), digest_of(text), "\ud800"):
        assert file.find(wrong) is None


def test_another_process_sees_what_is_made_and_revoked(file: TokenFile) -> None:
    text = file.create("ci", Role.RUNNER)
    other = TokenFile(file.path)
    assert other.find(text) is not None
    later = file.create("me", Role.AUTHOR)
    assert other.find(later) is not None
    file.remove("ci")
    assert other.find(text) is None
    assert other.find(later) is not None
    file.path.unlink()
    assert other.find(later) is None


def test_two_who_write_at_once_lose_nothing(file: TokenFile) -> None:
    names = [f"t{i}" for i in range(12)]
    threads = [threading.Thread(target=TokenFile(file.path).create, args=(name, Role.VIEWER)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(token.name for token in file.tokens()) == sorted(names)


def test_names_are_told_apart(file: TokenFile) -> None:
    file.create("ci", Role.VIEWER)
    with pytest.raises(ConfigError, match="has a token called 'ci'"):
        file.create("ci", Role.AUTHOR)
    with pytest.raises(ConfigError, match=r"no token called 'cd'; it has ci\."):
        file.remove("cd")
    for name in ("", " ", "a\nb", "x" * 65):
        with pytest.raises(ConfigError, match="printable"):
            file.create(name, Role.VIEWER)


@pytest.mark.parametrize(
    "content",
    [
        "", "[]", "{}", '{"tokens": [{}]}', '{"tokens": {"a": 1}}',
        json.dumps({"tokens": [{"name": "a", "role": "god", "sha256": "0" * 64, "created_at": 0}]}),
        json.dumps({"tokens": [{"name": "a", "role": "viewer", "sha256": "short", "created_at": 0}]}),
    ],
)  # fmt: skip
def test_a_file_that_is_none_of_ours_is_refused_and_opens_nothing(file: TokenFile, content: str) -> None:
    text = file.create("ci", Role.VIEWER)
    file.path.write_text(content)
    with pytest.raises(ConfigError, match="is no token file"):
        file.tokens()
    assert file.find(text) is None
    with pytest.raises(ConfigError, match="is no token file"):
        file.create("me", Role.VIEWER)


def test_a_file_that_others_may_read_is_refused_with_the_cure(file: TokenFile) -> None:
    file.create("ci", Role.VIEWER)
    file.path.chmod(0o640)
    with pytest.raises(ConfigError, match=r"mode 0640.*chmod 600"):
        file.tokens()
