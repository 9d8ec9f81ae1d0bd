"""Optuna's own dashboard on what Optuna keeps of a study: read by it, never written."""

from __future__ import annotations

import socketserver
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from optuna.storages import BaseStorage, InMemoryStorage

from hpo_pipelines.errors import ConfigError, StudyError

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication

    from hpo_pipelines.study.handle import Study

HOST = "127.0.0.1"
_LOOKING = ("GET", "HEAD", "OPTIONS")
_NAMES = (HOST, "localhost")


class Dashboard:
    """Serves Optuna's dashboard of ``studies``, one or more, on a port of this machine; 0: any free one.

    Of one study its storage itself, so that what a driver tells is seen as it comes; of several, and of one whose
    storage is on another machine or has less than our store, a copy in memory, as they are now. Raises StudyError
    without optuna-dashboard, and for no study; ConfigError for a port that is taken.
    """

    def __init__(self, studies: Sequence[Study], *, port: int = 0) -> None:
        application = _application(_storage(studies))
        try:
            self._server = make_server(HOST, port, _only_read(application), _Server, _Quiet)
        except OSError as error:
            raise ConfigError(f"--port {port}: {error.strerror}; leave it out for any free port.") from None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._server.server_port}"

    def serve(self) -> None:
        """Answer until interrupted, or stopped by another thread."""
        try:
            self._server.serve_forever(poll_interval=0.2)
        finally:
            self._server.server_close()

    def stop(self) -> None:
        """Have :meth:`serve` end."""
        self._server.shutdown()


def _application(storage: BaseStorage) -> WSGIApplication:
    try:
        from optuna_dashboard import wsgi
    except ImportError as error:
        raise StudyError(
            f"Optuna's dashboard does not import here ({error}): pip install 'hpo-pipelines[dashboard]'."
        ) from None
    application: WSGIApplication = wsgi(storage)
    return application


def _storage(studies: Sequence[Study]) -> BaseStorage:
    if not studies:
        raise StudyError("there is no study to open Optuna's dashboard on: hpo optimize starts one.")
    if len(studies) == 1:
        return studies[0].optuna_study._storage
    together = InMemoryStorage()
    for study in studies:
        known = study.optuna_study
        ident = together.create_new_study(known.directions, study.name)
        for trial in known.get_trials(deepcopy=False):
            together.create_new_trial(ident, template_trial=trial)
    return together


def _only_read(application: WSGIApplication) -> WSGIApplication:
    """``application`` for those who look, at this machine by its own names.

    It has no login, and would let any page that a browser shows delete studies, or tell a trial's value behind the
    back of the driver, who alone may write the journal.
    """

    def answer(environment: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        refused = _refusal(environment)
        if refused is None:
            return application(environment, start)
        status, text = refused
        start(status, [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(text.encode())))])
        return [text.encode()]

    return answer


def _refusal(environment: Mapping[str, Any]) -> tuple[str, str] | None:
    name = str(environment.get("HTTP_HOST", "")).rpartition(":")[0] or str(environment.get("HTTP_HOST", ""))
    if name not in _NAMES:
        return "403 Forbidden", f"{name!r} is no name of this server: open it as {HOST}."
    if environment["REQUEST_METHOD"] not in _LOOKING:
        return "405 Method Not Allowed", "This dashboard only shows: hpo study stop|extend and the pages of hpo up act."
    return None


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *said: object) -> None:
        """Say nothing of each request: the terminal is the user's."""
