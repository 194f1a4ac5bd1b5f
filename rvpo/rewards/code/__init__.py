"""Programs that a policy wrote, run against the tests of its prompt."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Literal

from rvpo.errors import SandboxError
from rvpo.rewards.code.cases import cases_of
from rvpo.rewards.code.fence import program_in
from rvpo.rewards.code.tester import Tester
from rvpo.rewards.completion import Completion, text_of
from rvpo.rewards.cores import cores
from rvpo.rewards.field import field_of
from rvpo.runtime.sandbox.boundary import check_boundary
from rvpo.runtime.sandbox.program import Isolation, Limits
from rvpo.types import Failed, RewardScore


def solved(
    completions: Sequence[Completion],
    column: str = "tests",
    entry_column: str = "entry_point",
    setup_column: str = "test_setup_code",
    score: Literal["all", "share"] = "all",
    seconds: int = 5,
    memory_mb: int = 1024,
    files_mb: int = 64,
    output_kb: int = 4096,
    workers: int | None = None,
    isolation: Isolation = "namespaces",
    **columns: Any,
) -> list[RewardScore]:
    """1 where the program in a completion passes its tests, else 0.

    The program is the last block in fences that is marked as Python or not marked; without fences,
    the whole completion. It has one process, which may have threads, no network, no files but
    Python's and the system's libraries, and a folder of its own in memory. Tests that are code run
    in another process, so that the program cannot reach them: it sees the arguments of a call, and
    never the value that is expected.

    Args:
        completions: the answers.
        column: name of the data's column with the tests, dotted where it lies deeper; its shapes
            are those of `cases_of`.
        entry_column: column with the name of the function that tests are about, dotted where it
            lies deeper; need not be there.
        setup_column: column with code before tests that are code, likewise.
        score: `all` gives 1 where every test passes, `share` the share that does.
        seconds: time of computing for each test.
        memory_mb: most memory, in MiB.
        files_mb: most that it writes to files, in MiB; they lie in memory too.
        output_kb: most that it prints, in KiB.
        workers: programs that run at the same time; the rank's share of the machine's cores if left
            out.
        isolation: `none` runs programs with nothing but the limits of time, memory and files, so
            that they can read and write your files and use your network.

    Returns:
        None where a row has no tests; Failed where a test is not to be run, or where no program
        could be started. Whatever else a program does is 0.

    Raises:
        ConfigError: the kernel does not isolate, or there is no such column.
    """
    _check_choices(score, isolation)
    tests = field_of(columns, column)
    nothing = [None] * len(completions)
    entries, setups = (
        field_of(columns, name) if {name, name.partition(".")[0]} & columns.keys() else nothing
        for name in (entry_column, setup_column)
    )
    limits = Limits(seconds, memory_mb, files_mb, output_kb)
    if isolation == "namespaces":
        check_boundary()
    tester = Tester(limits, isolation, to_the_end=score == "share")
    texts = [text_of(completion) for completion in completions]
    with ThreadPoolExecutor(workers or cores(), "programs") as pool:
        return list(pool.map(partial(_scored, tester), texts, tests, entries, setups))


def _check_choices(score: str, isolation: str) -> None:
    if isolation not in ("namespaces", "none"):
        raise ValueError(f"isolation must be 'namespaces' or 'none', got {isolation!r}")
    if score not in ("all", "share"):
        raise ValueError(f"score must be 'all' or 'share', got {score!r}")


def _scored(tester: Tester, text: str, tests: Any, entry: Any, setup: Any) -> RewardScore:
    try:
        cases = [] if tests is None else cases_of(tests, str(entry or ""), str(setup or ""))
    except ValueError as error:
        return Failed(str(error))
    if not cases:
        return None
    try:
        passed = tester.passed(program_in(text), cases)
    except (SandboxError, OSError) as error:  # this machine is out of processes or descriptors
        return Failed(str(error))
    if isinstance(passed, Failed):
        return passed
    return sum(passed) / len(passed) if tester.to_the_end else float(all(passed))
