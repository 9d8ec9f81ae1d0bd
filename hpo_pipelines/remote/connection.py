"""Requests to one server: JSON there and back, its errors raised as the classes that they are."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any
from urllib.parse import quote, urlsplit

import httpx2

from hpo_pipelines import errors
from hpo_pipelines.errors import ConfigError, HpoPipelinesError, StoreError

PREFIX = "/api/v1"
TOKEN = "HPO_TOKEN"

TRIES = 4
"""Of a request that only reads: a server that is started anew is away for a moment."""

FIRST_PAUSE = 0.1
"""Seconds before the second try; each pause is three times the last."""

ANSWER_SECONDS = 120.0
"""Planning, and the first look at big code, take their time."""

BATCH = 100
"""Ids in one address."""

_AS_IT_IS = {"Accept-Encoding": "identity"}
"""Numbers hardly get smaller, and packing 200 MB of them takes half a minute."""

Query = Mapping[str, Any]


class Connection:
    """One server's REST. Safe to use from many threads.

    ``HPO_TOKEN``, if set, goes with every request. Every method raises StoreError for a server that does not answer,
    ConfigError for one that refuses us, and what the server raised.
    """

    def __init__(self, url: str, token: str | None = None, *, tries: int = TRIES) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ConfigError(f"{url!r} is no address of a server; write http://HOST:PORT, as `hpo up` says it.")
        self.url = url.rstrip("/")
        self._tries = tries
        token = os.environ.get(TOKEN, "") if token is None else token
        if not token.isascii() or not token.isprintable():
            raise ConfigError(f"{TOKEN}: a token is one line of plain letters and digits; copy it anew.")
        self._client = httpx2.Client(
            base_url=f"{self.url}{PREFIX}",
            headers={"Accept": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})},
            timeout=httpx2.Timeout(ANSWER_SECONDS, connect=10.0),
            # A proxy of the environment is not asked for what is on this machine.
            trust_env=parts.hostname not in ("127.0.0.1", "localhost", "::1"),
        )

    def get(self, path: str, query: Query | None = None) -> Any:
        """What stands at ``path``; entries of ``query`` that are None are left out."""
        return self._read(path, query).json()

    def get_bytes(self, path: str, query: Query | None = None) -> bytes:
        """:meth:`get` for what is no JSON."""
        return self._read(path, query, _AS_IT_IS).content

    def get_all(self, path: str, name: str, ids: Sequence[str], query: Query | None = None) -> Iterator[Any]:
        """The answers about ``ids``, named ``name`` in the query, as many at a time as an address holds."""
        for start in range(0, len(ids), BATCH):
            yield self.get(path, {**(query or {}), name: list(ids[start : start + BATCH])})

    def download(self, path: str, file: IO[bytes]) -> None:
        """Write what stands at ``path`` into ``file``, in pieces."""

        def fetch() -> httpx2.Response:
            file.seek(0)
            file.truncate()
            with self._client.stream("GET", path, headers=_AS_IT_IS) as answer:
                if answer.is_success:
                    for piece in answer.iter_bytes():
                        file.write(piece)
                else:
                    answer.read()
                return answer

        _checked(self._tried(fetch))

    def post(self, path: str, body: Any = None) -> Any:
        """Ask for something to be done; the answer. Tried once."""
        return self._sent("POST", path, json=body)

    def post_bytes(self, path: str, content: bytes) -> Any:
        """:meth:`post` of what is no JSON."""
        return self._sent("POST", path, content=content, headers={"Content-Type": "application/octet-stream"})

    def patch(self, path: str, body: Any) -> Any:
        """Have something changed."""
        return self._sent("PATCH", path, json=body)

    def close(self) -> None:
        self._client.close()

    def _sent(self, method: str, path: str, **content: Any) -> Any:
        try:
            return _checked(self._client.request(method, path, **content)).json()
        except httpx2.TransportError as error:
            raise self._away(error) from error

    def _read(self, path: str, query: Query | None, headers: Mapping[str, str] | None = None) -> httpx2.Response:
        given = {name: value for name, value in (query or {}).items() if value is not None}
        return _checked(self._tried(lambda: self._client.get(path, params=given, headers=headers)))

    def _tried(self, ask: Any) -> httpx2.Response:
        pause = FIRST_PAUSE
        for left in reversed(range(self._tries)):
            try:
                return ask()  # type: ignore[no-any-return]
            except httpx2.TransportError as error:
                if not left or isinstance(error, httpx2.ReadTimeout):
                    raise self._away(error) from error
            time.sleep(pause)
            pause *= 3
        raise AssertionError("the last try ends it")

    def _away(self, error: Exception) -> StoreError:
        said = str(error) or type(error).__name__
        return StoreError(
            f"the server {self.url} does not answer ({said}); see that `hpo up` runs there, or unset HPO_SERVER to "
            "work on this machine's own store."
        )


def quoted(name: str) -> str:
    """``name`` as one part of a path."""
    return quote(name, safe="")


def _checked(answer: httpx2.Response) -> httpx2.Response:
    if answer.is_success:
        return answer
    raise error_of(answer.status_code, _problem(answer))


def _problem(answer: httpx2.Response) -> Mapping[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        found = None
    if isinstance(found, dict) and isinstance(found.get("detail"), str):
        if found.get("type") == "HTTPException" and answer.status_code in (404, 405):
            what = f"{answer.request.method} {answer.url.path}"
            return {**found, "detail": f"the server has no {what}: it is of another release; install the same here."}
        return found
    return {"type": "", "detail": f"{answer.url} answers {answer.status_code}: is it the address of an `hpo up`?"}


def error_of(status: int, problem: Mapping[str, Any]) -> HpoPipelinesError:
    """What a server's problem (RFC 9457) was raised as: the class of its ``type``, else one by its ``status``."""
    detail, found = str(problem["detail"]), getattr(errors, str(problem.get("type")), None)
    if isinstance(found, type) and issubclass(found, HpoPipelinesError):
        return found(detail)
    if status in (401, 403):
        cure = "" if TOKEN in detail else f" A token is given as {TOKEN}."
        return ConfigError(f"{detail}{cure}")
    return StoreError(f"the server says: {detail}") if status >= 500 else HpoPipelinesError(detail)
