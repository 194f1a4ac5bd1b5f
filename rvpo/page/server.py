"""A page served on this machine, to those who were told its address."""

from __future__ import annotations

import hmac
import json
import secrets
import sys
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from rvpo.errors import ConfigError, RvpoError
from rvpo.page.live import Look
from rvpo.report.run_folder import as_bytes

HOST: Final = "127.0.0.1"
_NAMES: Final = frozenset({HOST, "localhost"})
"""Names under which a browser may ask: a page of elsewhere that has its own name resolve to this
machine is sent away."""
_POLICY: Final = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class PageServer(ThreadingHTTPServer):
    """Serves one page on the loopback interface.

    The address has a secret in it, for others may work on the same machine.

    Args:
        look: gives the page.
        port: 0 takes a free one.

    Raises:
        ConfigError: the port is taken.
    """

    daemon_threads = True

    def __init__(self, look: Callable[[], Look], port: int = 0) -> None:
        self.secret = secrets.token_urlsafe(16)
        try:
            super().__init__((HOST, port), partial(_Asked, look, self.secret))
        except OSError as error:
            raise ConfigError(
                f"--port: {port} cannot be used ({error.strerror}); give another, or leave it out"
            ) from error

    @property
    def address(self) -> str:
        """The page's address."""
        return f"http://{HOST}:{self.server_port}/{self.secret}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell what failed. A browser that went away, as by a closed tab, is no fault."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Asked(BaseHTTPRequestHandler):
    """One request."""

    timeout = 30
    server_version = "rvpo"
    sys_version = ""

    def __init__(self, look: Callable[[], Look], secret: str, *arguments: Any) -> None:
        self._look, self._secret = look, secret
        super().__init__(*arguments)

    def do_GET(self) -> None:
        host = self.headers.get("Host", "").rpartition(":")[0]
        if host not in _NAMES or not hmac.compare_digest(
            self.path.encode(errors="replace"), f"/{self._secret}/".encode()
        ):
            self._send(HTTPStatus.NOT_FOUND, b"")
            return
        try:
            look = self._look()
        except RvpoError as error:
            self._send(HTTPStatus.GONE, as_bytes(json.dumps({"error": str(error)})))
            return
        if self.headers.get("If-None-Match") == look.version:
            self._send(HTTPStatus.NOT_MODIFIED, b"", look.version)
        else:
            self._send(HTTPStatus.OK, as_bytes(look.html), look.version)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: the terminal is the user's."""

    def _send(self, status: HTTPStatus, body: bytes, version: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", _POLICY)
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        if version:
            self.send_header("ETag", version)
        self.end_headers()
        self.wfile.write(body)
