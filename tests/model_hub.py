"""A Hub on this machine that takes models: what is pushed to it lies in a folder."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TOKEN = "hf_" + "a" * 34
COMMIT = "c" * 40


class ModelHub(ThreadingHTTPServer):
    """Serves one owner.

    Args:
        folder: gets the files of each repository.
        licences: of models that were there before, by id.
    """

    daemon_threads = True

    def __init__(self, folder: Path, licences: dict[str, str] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), partial(_Asked, self))
        self.folder = folder
        self.licences = licences or {}
        self.private: dict[str, bool] = {}
        self.messages: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Asked(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, hub: ModelHub, *arguments: Any) -> None:
        self.hub = hub
        super().__init__(*arguments)

    def do_HEAD(self) -> None:
        self._send({})

    def do_GET(self) -> None:
        name = self.path.removeprefix("/api/models/").partition("?")[0].partition("/revision/")[0]
        if name not in {*self.hub.licences, *self.hub.private}:
            self._send({"error": "Repository not found"}, 404)
            return
        card = {"license": self.hub.licences[name]} if name in self.hub.licences else {}
        facts = {"id": name, "sha": COMMIT, "siblings": [], "cardData": card, "tags": []}
        self._send({**facts, "private": False, "downloads": 0, "likes": 0})

    def do_PUT(self) -> None:
        self._large(self.path.rpartition("/")[2]).write_bytes(self._body())
        self._send({})

    def do_POST(self) -> None:
        body = self._body()
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._send({"error": f"Invalid user token {self.headers.get('Authorization')}"}, 401)
            return
        path = self.path.partition("?")[0]
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization')}/{asked['name']}"
            self.hub.private.setdefault(
                name, asked.get("visibility") == "private" or asked.get("private", False)
            )
            self._send({"url": f"{self.hub.url}/{name}"})
        elif "/preupload/" in path:
            files = json.loads(body)["files"]
            modes = [
                {
                    "path": f["path"],
                    "uploadMode": "lfs" if f["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for f in files
            ]
            self._send({"files": modes})
        elif path.endswith("/info/lfs/objects/batch"):
            self._send({"objects": [self._where(each) for each in json.loads(body)["objects"]]})
        elif "/commit/" in path:
            self._commit(path.removeprefix("/api/models/").partition("/commit/")[0], body)
        else:
            self._send({})

    def _where(self, each: dict[str, Any]) -> dict[str, Any]:
        href = f"{self.hub.url}/large/{each['oid']}"
        return {**each, "actions": {"upload": {"href": href}}}

    def _large(self, digest: str) -> Path:
        folder = self.hub.folder / "large"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / digest

    def _commit(self, name: str, body: bytes) -> None:
        for line in body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "header":
                self.hub.messages.append(value["summary"])
                continue
            target = self.hub.folder / name / value["path"]
            target.parent.mkdir(parents=True, exist_ok=True)
            if item["key"] == "file":
                target.write_bytes(base64.b64decode(value["content"]))
            else:
                target.write_bytes(self._large(value["oid"]).read_bytes())
        url = f"{self.hub.url}/{name}"
        self._send({"commitUrl": f"{url}/commit/{COMMIT}", "commitOid": COMMIT, "success": True})

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _send(self, value: Any, status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@contextmanager
def model_hub(folder: Path, licences: dict[str, str] | None = None) -> Iterator[ModelHub]:
    """A Hub that serves while the context lasts."""
    with ModelHub(folder, licences) as hub:
        thread = threading.Thread(target=hub.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()
