"""A server as the SDK's README writes one: `python mcp_server.py [http PORT]`."""

from __future__ import annotations

import os
import sys
import time

from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("Demo")
notes: list[str] = []


@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers"""
    return a + b


@server.tool()
def note(text: str) -> str:
    """Keep a text, and say all that are kept"""
    notes.append(text)
    return ", ".join(notes)


@server.tool()
def fail(reason: str) -> str:
    """Fail, for a reason"""
    raise ValueError(reason)


@server.tool()
def die() -> str:
    """End the server"""
    print("the server dies", file=sys.stderr, flush=True)
    os._exit(3)


@server.tool()
def hang() -> str:
    """Return after an hour"""
    time.sleep(3600)
    return ""


@server.tool()
def variable(name: str) -> str:
    """Say what an environment variable holds"""
    return os.environ.get(name, "")


@server.tool()
def header(name: str, context: Context) -> str:
    """Say what an HTTP header of the request holds"""
    request = context.request_context.request
    return "" if request is None else str(request.headers.get(name, ""))


if __name__ == "__main__":
    if sys.argv[1:2] == ["http"]:
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[2]))
    else:
        server.run("stdio")
