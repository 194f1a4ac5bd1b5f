"""Programs of others do not leave the sandbox, and what they do there is limited."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rvpo.errors import ConfigError
from rvpo.runtime.sandbox.boundary import check_boundary
from rvpo.runtime.sandbox.program import Ended, Limits, Program
from tests.runtime.hostile import OVER, PROGRAMS, SLOW, UNSHUT, left_behind, run_all, stage


@pytest.fixture(scope="module")
def isolation() -> None:
    try:
        check_boundary()
    except ConfigError as error:
        pytest.skip(str(error))


isolated = pytest.mark.usefixtures("isolation")


def run(source: str, given: bytes = b"", **limits: int) -> Ended:
    return Program({"program.py": source}, ("program.py",)).run(given, Limits(**limits))


@pytest.fixture(scope="module")
def ends(isolation: None) -> Iterator[tuple[dict[str, Ended], list[str], list[int]]]:
    """(end of each hostile program, what was done outside, processes that are left)."""
    with stage() as there:
        before = left_behind(there)
        found = run_all(there)
        yield found, there.harm(), sorted(left_behind(there) - before)


@isolated
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_hostile_program_is_held(
    name: str, ends: tuple[dict[str, Ended], list[str], list[int]]
) -> None:
    ended = ends[0][name]
    assert b"escaped" not in ended.output
    over = next((limit for limit, names in OVER.items() if name in names), "")
    assert ended.exceeded == over or name in SLOW
    assert ended.status or over or name not in SLOW or ended.exceeded


@isolated
def test_hostile_programs_do_no_harm_and_leave_nothing(
    ends: tuple[dict[str, Ended], list[str], list[int]],
) -> None:
    assert len(ends[0]) >= 40
    assert ends[1:] == ([], [])


def test_the_same_programs_get_through_where_nothing_holds_them() -> None:
    with stage() as there:
        found = run_all(there, UNSHUT, "none")
        assert {name for name, ended in found.items() if b"escaped" in ended.output} == set(UNSHUT)
        assert there.harm()


@isolated
def test_a_program_reads_its_input_and_prints() -> None:
    text = b"x" * 300_000
    ended = run("import sys; sys.stdout.write(sys.stdin.read()[::-1])", text)
    assert ended == Ended(text, 0, "")


@isolated
def test_a_program_need_not_read_its_input() -> None:
    assert run("print(1)", b"x" * 3_000_000) == Ended(b"1\n", 0, "")


@isolated
def test_a_program_has_threads_files_and_pythons_libraries() -> None:
    ended = run(
        "import asyncio, heapq, numpy, threading, tempfile\n"
        "found = []\n"
        "thread = threading.Thread(target=found.append, args=(1,)); thread.start(); thread.join()\n"
        "with tempfile.TemporaryFile() as file: file.write(b'x')\n"
        "asyncio.run(asyncio.sleep(0))\n"
        "print(found, numpy.arange(3).sum())"
    )
    assert ended == Ended(b"[1] 3\n", 0, "")


@isolated
def test_the_status_of_a_program_is_its_own() -> None:
    assert run("import sys; sys.exit(7)").status == 7
    assert run("import os; os.kill(os.getpid(), 11)").status == 128 + 11


@isolated
def test_a_program_that_is_no_text_is_a_wrong_program() -> None:
    assert run("print('\ud800')").status == 1


@isolated
def test_two_runs_of_a_program_are_the_same() -> None:
    source = "print(list({str(n) for n in range(50)}))"
    assert run(source) == run(source)


@isolated
def test_programs_run_side_by_side() -> None:
    source = "import os; open('mine', 'x').close(); print(os.listdir('.').count('mine'))"
    with ThreadPoolExecutor(4) as pool:
        ends = set(pool.map(run, [source] * 8))
    assert ends == {Ended(b"1\n", 0, "")}


@isolated
def test_a_program_without_isolation_has_its_limits() -> None:
    program = Program({"program.py": "x = bytearray(2**29)"}, ("program.py",), "none")
    assert program.run(b"", Limits(memory_mb=128)).status == 1


@isolated
def test_what_a_program_leaves_without_isolation_ends_with_it() -> None:
    wait = "[sys.executable, '-I', '-S', '-c', 'import time; time.sleep(99)']"
    source = f"import subprocess, sys; print(subprocess.Popen({wait}).pid)"
    ended = Program({"program.py": source}, ("program.py",), "none").run(b"", Limits())
    child = Path(f"/proc/{int(ended.output)}/stat")
    for _ in range(1000):  # the kernel takes a moment
        if not child.exists() or child.read_text().rpartition(")")[2].split()[0] in "ZX":
            break
        time.sleep(0.01)
    else:
        pytest.fail("it is still there")
