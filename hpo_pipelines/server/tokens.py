"""A file of tokens: who may use the server from elsewhere, as what. Only digests of the tokens are kept.

The file is read again when it changes, so a token that is taken out stops working with the next request.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo_pipelines.errors import ConfigError
from hpo_pipelines.server.roles import ROLES, Role

log = logging.getLogger(__name__)

PREFIX = "hpo_"
"""Tells our tokens from those of others: a proxy may send its own in the same header."""
_BYTES = 32
_LONGEST_NAME = 64


@dataclass(frozen=True)
class Token:
    """One line of the file: not the token, only its digest."""

    name: str
    role: Role
    digest: str
    created_at: float


class TokenFile:
    """The tokens in the file ``path``, which is our user's alone (mode 0600)."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser().absolute()
        self._seen: tuple[int, int, int] | None = None
        self._tokens: tuple[Token, ...] = ()

    # -- looking

    def tokens(self) -> tuple[Token, ...]:
        """What the file says now, oldest first; empty where there is none.

        Raises ConfigError for a file that others may read, or that is none of ours.
        """
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise ConfigError(f"the token file {self.path} cannot be read: {error.strerror}.") from error
        if found.st_mode & 0o077:
            raise ConfigError(
                f"the token file {self.path} may be used by others than its owner (mode {found.st_mode & 0o777:04o}); "
                f"run `chmod 600 {self.path}`."
            )
        try:
            return tuple(map(_token, json.loads(self.path.read_text())["tokens"]))
        except OSError as error:
            raise ConfigError(f"the token file {self.path} cannot be read: {error.strerror}.") from error
        except (ValueError, TypeError, LookupError) as error:
            raise ConfigError(
                f"{self.path} is no token file ({type(error).__name__}: {error}); "
                "`hpo token create --token-file` writes one."
            ) from error

    def find(self, text: str) -> Token | None:
        """The token that ``text`` is, None when it is none, or none any more."""
        digest = digest_of(text)
        found = None
        for token in self._current():
            if hmac.compare_digest(token.digest, digest):  # no early end: how long it takes says nothing
                found = token
        return found

    def _current(self) -> tuple[Token, ...]:
        """:meth:`tokens`, read again when the file has changed; none while it cannot be."""
        try:
            found = self.path.stat()
            seen = (found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
        except OSError:
            seen = (0, 0, 0)
        if seen != self._seen:
            try:
                self._tokens = self.tokens()
            except ConfigError as error:
                log.error("no token is good for now: %s", error)
                self._tokens = ()
            self._seen = seen
        return self._tokens

    # -- changing

    def create(self, name: str, role: Role) -> str:
        """A new token, which is nowhere written down; the file is made if there is none.

        Raises ConfigError for a name that is taken, or is none.
        """
        if not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
            raise ConfigError(f"name={name!r}: a token is called by 1 to {_LONGEST_NAME} printable characters.")
        text = PREFIX + secrets.token_urlsafe(_BYTES)

        def added(tokens: tuple[Token, ...]) -> tuple[Token, ...]:
            if any(token.name == name for token in tokens):
                raise ConfigError(
                    f"{self.path} has a token called {name!r}; choose another name, or `hpo token rm {name}` first."
                )
            return (*tokens, Token(name, role, digest_of(text), time.time()))

        self._change(added)
        return text

    def remove(self, name: str) -> Token:
        """Revoke the token called ``name``. Raises ConfigError when there is none."""
        gone: list[Token] = []

        def without(tokens: tuple[Token, ...]) -> tuple[Token, ...]:
            gone.extend(token for token in tokens if token.name == name)
            if not gone:
                names = ", ".join(token.name for token in tokens) or "none"
                raise ConfigError(f"{self.path} has no token called {name!r}; it has {names}.")
            return tuple(token for token in tokens if token.name != name)

        self._change(without)
        return gone[0]

    def _change(self, change: Callable[[tuple[Token, ...]], tuple[Token, ...]]) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(self.path.with_name(f".{self.path.name}.lock")):
                self._write(change(self.tokens()))
        except OSError as error:
            raise ConfigError(
                f"the token file {self.path} cannot be written: {error.strerror}; name another by --token-file."
            ) from error

    def _write(self, tokens: tuple[Token, ...]) -> None:
        """The whole file at once, so that whoever reads it meanwhile has the old one or the new one."""
        rows = [
            {"name": one.name, "role": str(one.role), "sha256": one.digest, "created_at": one.created_at}
            for one in tokens
        ]
        new = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "w") as file:
                file.write(json.dumps({"version": 1, "tokens": rows}, indent=1) + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(new, self.path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise


def digest_of(text: str) -> str:
    """What is kept of a token: SHA-256, whose 256 random bits nobody can guess (docs/decisions/0008)."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def role_called(name: str) -> Role:
    """The role ``name``. Raises ConfigError for one that there is not."""
    if name not in ROLES:
        raise ConfigError(f"role={name!r}: there is no such role; there are {', '.join(ROLES)}.")
    return Role[name.upper()]


def _token(row: dict[str, Any]) -> Token:
    name, digest = row["name"], row["sha256"]
    if not isinstance(name, str) or not isinstance(digest, str) or len(digest) != 64 or not digest.isascii():
        raise ValueError(f"a token without its name or digest: {sorted(row)}")
    try:
        return Token(name, role_called(row["role"]), digest, float(row["created_at"]))
    except ConfigError as error:
        raise ValueError(str(error)) from None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One writer at a time, whatever their processes are."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
