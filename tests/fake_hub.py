"""A Hub on this machine: it serves the files of a folder as one dataset."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "c" * 40


class _Hub(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, folder: Path, name: str, *arguments: Any) -> None:
        self.folder, self.dataset = folder, name
        super().__init__(*arguments)

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._entries([self.folder / path for path in asked["paths"]])

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        files = f"/datasets/{self.dataset}/resolve/"
        facts = f"/api/datasets/{self.dataset}"
        if path.startswith(files):
            self._file(self.folder / path.removeprefix(files).partition("/")[2])
        elif path.startswith(f"{facts}/tree/"):
            folder = self.folder / path.removeprefix(f"{facts}/tree/").partition("/")[2]
            deep = "recursive=true" in self.path.lower()
            self._entries(sorted(folder.rglob("*") if deep else folder.glob("*")))
        elif path == facts or path.startswith(f"{facts}/revision/"):
            self._send(json.dumps({"id": self.dataset, "sha": COMMIT, "siblings": []}).encode())
        else:
            self._send(b"{}", status=404)

    def _entries(self, paths: list[Path]) -> None:
        entries: list[dict[str, Any]] = []
        for path in filter(Path.exists, paths):
            entry = {"type": "directory", "oid": COMMIT, "size": 0}
            if path.is_file():
                entry = {"type": "file", "oid": _digest(path), "size": path.stat().st_size}
            entries.append({**entry, "path": path.relative_to(self.folder).as_posix()})
        self._send(json.dumps(entries).encode())

    def _file(self, file: Path) -> None:
        if file.is_file():
            self._send(file.read_bytes(), {"ETag": f'"{_digest(file)}"'})
        else:
            self._send(b"", {"X-Error-Code": "EntryNotFound"}, 404)

    def _send(self, body: bytes, headers: dict[str, str] | None = None, status: int = 200) -> None:
        self.send_response(status)
        own = {"Content-Length": str(len(body)), "X-Repo-Commit": COMMIT}
        for name, value in (own | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _digest(file: Path) -> str:
    return hashlib.sha1(file.read_bytes(), usedforsecurity=False).hexdigest()


@contextmanager
def hub(folder: Path, name: str) -> Iterator[str]:
    """The address of a Hub with one dataset."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Hub, folder, name))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
