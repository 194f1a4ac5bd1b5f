"""A server's end is told by its cause, and what it printed is kept."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from rvpo.errors import EngineError
from rvpo.runtime.vllm_server import ServerStart, VllmServer, reason_in

CAUSES = ["ValueError: there is no such backend", "RuntimeError: CUDA initialization failed"]
OF_OTHERS = [
    "Exception: WorkerProc initialization failed due to an exception in a background process.",
    "RuntimeError: Engine core initialization failed. See root cause above.",
    "RuntimeError: Frontend process failed during engine core initialization. See root cause.",
    "vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue.",
]


@pytest.mark.parametrize("cause", CAUSES)
@pytest.mark.parametrize("after", [*([line] for line in OF_OTHERS), OF_OTHERS, ["Traceback:"]])
def test_the_reason_is_the_cause_and_not_what_other_processes_say_of_it(
    after: Sequence[str], cause: str
) -> None:
    assert reason_in(["loading", f"(Worker pid=9) ERROR [w.py:953] {cause}", *after]) == cause


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([], "it printed nothing"),
        (["(APIServer pid=7) loading", "(APIServer pid=7) done"], "done"),
        (OF_OTHERS[:1], OF_OTHERS[0]),
        (["Value error, no such file [type=value_error]"], "no such file"),
    ],
)
def test_without_a_cause_it_is_the_best_that_there_is(lines: Sequence[str], reason: str) -> None:
    assert reason_in(lines) == reason


def test_what_it_printed_is_in_its_file_and_that_of_the_start_before_beside_it(
    tmp_path: Path,
) -> None:
    log = tmp_path / "host-8000.log"
    for number in range(2):
        start = ServerStart(
            where="a test",
            model="demo",
            options=(),
            environment={},
            cpu_kv_cache_gib=1,
            log=log,
            program=(sys.executable, "-c", f"raise SystemExit('this is start {number}')"),
        )
        with closing(VllmServer(start)) as server:
            with pytest.raises(EngineError) as caught:
                server.ready(120)
            # Of an earlier start there is nothing to blame.
            assert str(caught.value) == (
                f"a test: vLLM did not start on 'demo' (exit status 1): this is start {number}"
            )
    assert log.read_text() == "this is start 1\n"
    assert (tmp_path / "host-8000.before.log").read_text() == "this is start 0\n"
