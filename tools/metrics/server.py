"""The HTTP side: /metrics for Prometheus, /healthz for whoever asks whether all is well."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable
from http import HTTPStatus
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import msgspec
from prometheus_client import CollectorRegistry, make_wsgi_app

StartResponse = Callable[[str, list[tuple[str, str]]], object]
Application = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]
Problems = Callable[[], tuple[str, ...]]
"""What is wrong with the system; empty: nothing."""

REQUEST_S_MAX: Final = 5.0
"""A client that is slower than this with its request is let go."""
READING: Final = ("GET", "HEAD")
_PLAIN: Final = "text/plain; charset=utf-8"


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """Body of /healthz."""

    healthy: bool
    problems: tuple[str, ...]


def application(registry: CollectorRegistry, problems: Problems) -> Application:
    """The two pages as a WSGI application; nothing else is there, and nothing can be changed."""
    metrics: Any = make_wsgi_app(registry)

    def answer(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "/")
        if environ["REQUEST_METHOD"] not in READING:
            return _send(start_response, HTTPStatus.METHOD_NOT_ALLOWED, "only GET\n")
        if path == "/metrics":
            return _whole(environ, metrics(environ, start_response))
        if path == "/healthz":
            found = problems()
            body = msgspec.json.encode(Health(healthy=not found, problems=found)).decode() + "\n"
            status = HTTPStatus.SERVICE_UNAVAILABLE if found else HTTPStatus.OK
            return _whole(environ, _send(start_response, status, body, "application/json"))
        if path == "/":
            return _whole(environ, _send(start_response, HTTPStatus.OK, "/metrics\n/healthz\n"))
        return _send(start_response, HTTPStatus.NOT_FOUND, "there are /metrics and /healthz\n")

    return answer


def _whole(environ: dict[str, Any], body: Iterable[bytes]) -> Iterable[bytes]:
    return () if environ["REQUEST_METHOD"] == "HEAD" else body


def _send(
    start_response: StartResponse, status: HTTPStatus, body: str, kind: str = _PLAIN
) -> list[bytes]:
    content = body.encode()
    headers = [("Content-Type", kind), ("Content-Length", str(len(content)))]
    start_response(f"{status.value} {status.phrase}", headers)
    return [content]


class _Handler(WSGIRequestHandler):
    """One request; says nothing."""

    timeout = REQUEST_S_MAX

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: who scrapes us is in the scraper's log."""


class _Server(ThreadingMixIn, WSGIServer):
    """A thread for each request, so that a slow client keeps nobody waiting."""

    daemon_threads = True

    def __init__(self, host: str, port: int) -> None:
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Bind without asking the name service who we are."""
        TCPServer.server_bind(self)
        host, port = self.server_address[:2]
        self.server_name, self.server_port = str(host), int(port)
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: the client went away in the middle."""


class Server:
    """Serves an application in a thread of its own."""

    def __init__(self, host: str, port: int, serve: Application) -> None:
        """Bind and serve.

        Raises:
            OSError: somebody listens there, or the address is not this host's.
        """
        self._server = _Server(host, port)
        self._server.set_app(serve)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port, also when any free one was asked for."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
