"""An S3 server in a thread whose requests fail as planned: throttled, broken off, refused."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from threading import Lock, Thread
from typing import Any

from tests.services.availability import unavailable

_ERROR = "<Error><Code>{code}</Code><Message>planned</Message></Error>"


class Weather:
    """Counts requests, and lets those fail that `plan` names.

    Args of `plan`: the method and path of a request, and how many came before it; gives "" for an answer as usual, an S3
    error code with its status ("503 SlowDown"), or "reset" for a connection closed without an answer.
    """

    def __init__(self) -> None:
        try:
            from moto.server import DomainDispatcherApplication, create_backend_app
            from werkzeug.serving import make_server
        except ImportError as error:
            unavailable(f"no S3 server: {error}", fix="make setup")
        self.requests: list[str] = []
        self.plan: Callable[[str, int], str] = lambda _request, _count: ""
        self._lock = Lock()
        self._app = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self, threaded=True)
        self.endpoint_url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        request = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
        with self._lock:
            outcome = self.plan(request, len(self.requests))
            self.requests.append(request)
        if outcome == "reset":
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            return []
        if outcome:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            body = (
                b"" if request.startswith("HEAD") else _ERROR.format(code=outcome.partition(" ")[2]).encode()
            )
            start_response(outcome, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
            return [body]
        answer: Iterable[bytes] = self._app(environ, start_response)
        return answer

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
