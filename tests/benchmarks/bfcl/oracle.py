"""Questions to the original code, answered in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rvpo.benchmarks.bfcl.distribution import Wheel


def ask(wheel: Wheel, requests: Iterable[dict[str, Any]]) -> list[Any]:
    """The answers of `original.py`, one a request."""
    script = Path(__file__).with_name("original.py")
    done = subprocess.run(
        [sys.executable, "-I", str(script), str(wheel.path), wheel.version],
        input="".join(json.dumps(request) + "\n" for request in requests),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]
