"""The process in which BFCL's services run, for what a model asks of them may take for ever.

Each line of standard input is a question as JSON, and each of standard output its answer: `scene`
and `turns`, see `rvpo.benchmarks.bfcl.services`, and `wanted`, calls of the ground truth as it
writes them, or null. Every question has all calls of its conversation so far, so that a worker
which was killed leaves nothing to be made good. Its own arguments are the version, the wheel and
the seconds of processor time that one question may take.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from pathlib import Path
from typing import Any, Final

from rvpo.benchmarks.bfcl.distribution import Wheel
from rvpo.benchmarks.bfcl.services import MODULES, Modules, answers, failing, read_call

_BYTES: Final = 4 * 2**30


def answer(modules: Modules, question: dict[str, Any]) -> Any:
    """The answer to one question: answers to the calls, or the reason of a wrong conversation."""
    scene, turns, wanted = question["scene"], question["turns"], question["wanted"]
    modules = modules.anew()
    if wanted is None:
        return answers(modules, scene, turns)
    return failing(modules, scene, turns, [[read_call(text) for text in turn] for turn in wanted])


def main(version: Any, path: str, seconds: str) -> None:
    """Answer every question on standard input, until that is closed."""
    resource.setrlimit(resource.RLIMIT_AS, (_BYTES, _BYTES))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is for the other process
    replies, sys.stdout = sys.stdout, sys.stderr  # what services print is no answer
    modules = Modules(Wheel(version, Path(path), None).source)
    for name in MODULES:  # reading them is no part of a question
        modules.service(name)
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_PROF, float(seconds))  # whose signal ends the process
        try:
            found = json.dumps(answer(modules, json.loads(line)))
        except MemoryError:
            signal.raise_signal(signal.SIGPROF)
            raise
        print(found, file=replies, flush=True)
        signal.setitimer(signal.ITIMER_PROF, 0.0)


if __name__ == "__main__":
    main(*sys.argv[1:])
