"""A fake judge in a process of its own, for benchmarks that measure the one that asks it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.judge.server import FakeEndpoint

ROOT = Path(__file__).resolve().parent.parent


async def serve(endpoint: FakeEndpoint) -> None:
    """Print the address, and answer until the standard input ends."""
    runner = await endpoint.start()
    print(endpoint.url, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


@contextmanager
def served(module: str) -> Iterator[str]:
    """The address of a judge that `python -m module --part server` serves."""
    command = [sys.executable, "-m", module, "--part", "server"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.stdin.close()
