"""A program that takes vLLM's options for servers, listens and notes how it was started."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

SERVER = """
import http.server, json, os, pathlib, socketserver, sys

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
    def log_message(self, *args):
        pass

options = dict(zip(sys.argv[1:], sys.argv[2:]))
note = {"pid": os.getpid(), "argv": sys.argv[1:], "environ": dict(os.environ)}
folder = pathlib.Path(os.environ["FAKE_NOTES"])
starts = len(list(folder.glob(options["--port"] + "-*")))
(folder / ("partial-" + options["--port"])).write_text(json.dumps(note))
(folder / ("partial-" + options["--port"])).rename(folder / f"{options['--port']}-{starts}")
if os.environ.get("FAKE_MODE") == "fail":
    print("ValueError: not enough memory")
    sys.exit(1)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
Server((options["--host"], int(options["--port"])), Answer).serve_forever()
"""
PROGRAM = (sys.executable, "-c", SERVER)


def notes(folder: Path, port: int) -> list[dict[str, Any]]:
    """Those of the server of a port, one for each start: `pid`, `argv` and `environ`."""
    found = sorted(folder.glob(f"{port}-*"), key=lambda file: int(file.name.split("-")[1]))
    return [json.loads(file.read_text()) for file in found]
