"""A child is heard, asked and ended, and never outlives the process that started it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import pytest

from rvpo.commands.doctor import leftovers
from rvpo.runtime.environment import RANK_VARIABLES
from rvpo.runtime.process import PIPE, Child, Log, end_all, leashed
from rvpo.runtime.shared_memory import held_only_by, left_behind
from tests.judge.processes import ROOT, alive, wait_until

SHM = "shared_memory"
SLEEP = "import time; time.sleep(60)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(); {SLEEP}"
# Prints its own process id and that of a child of its own.
FAMILY = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(os.getpid(), child.pid, flush=True)
"""


def python(code: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code, *arguments)


@pytest.fixture
def log() -> Iterator[Log]:
    with closing(Log()) as log:
        yield log


def soon() -> float:
    return time.monotonic() + 20


def test_a_child_ends_when_it_is_asked_to(log: Log) -> None:
    child = Child(python(SLEEP), log)
    assert child.status() is None
    assert child.ending() == ""
    end_all([child], 20)
    assert child.status() == -signal.SIGTERM
    end_all([child], 20)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1, signal.SIGHUP])
def test_a_child_may_be_asked_by_any_signal(number: signal.Signals, log: Log) -> None:
    """One that ends by it: Python's own answer to SIGINT is a traceback, and then that signal."""
    child = Child(python(f"print(flush=True); {SLEEP}"), log, stdout=PIPE)
    child.first_line(soon())
    child.ask(number)
    child.wait(20)
    assert child.ending() == number.name
    child.end(0)


def test_children_that_do_not_listen_are_killed_and_share_one_patience(log: Log) -> None:
    children = [Child(python(STUBBORN), log, stdout=PIPE) for _ in range(3)]
    for child in children:
        child.first_line(soon())
    end_all(children, 0.2)
    assert [child.status() for child in children] == [-signal.SIGKILL] * 3


@pytest.mark.skipif(sys.platform != "linux", reason="reads the sessions of Linux")
def test_nothing_that_a_command_started_outlives_its_killed_leash(log: Log) -> None:
    leash = Child(leashed(python(FAMILY + SLEEP)), log, stdout=PIPE)
    family = [int(word) for word in (leash.first_line(soon()) or b"").split()]
    assert all(map(alive, family))
    leash.ask(signal.SIGKILL)
    leash.wait(20)
    assert leash.ending() == "SIGKILL"
    wait_until(lambda: not any(map(alive, family)))
    leash.end(0)


@pytest.mark.parametrize("end", ["", SLEEP], ids=["ends", "is killed"])
def test_nothing_that_a_child_started_outlives_it(end: str, log: Log) -> None:
    child = Child(python(FAMILY + end), log, stdout=PIPE)
    family = [int(word) for word in (child.first_line(soon()) or b"").split()]
    assert len(family) == 2
    child.end(0 if end else 20)
    assert child.status() == (-signal.SIGKILL if end else 0)
    wait_until(lambda: not any(map(alive, family)))


SHARER = """
import multiprocessing.shared_memory as shm, os, subprocess, sys, time
own = shm.SharedMemory(create=True, size=4096)
code = "import sys, time; from multiprocessing.shared_memory import SharedMemory as S; "
code += "s = S(sys.argv[1]); print(flush=True); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", code, own.name], stdout=subprocess.PIPE)
child.stdout.readline()
print(own.name, flush=True)
"""
KILL = "import signal; os.kill(os.getpid(), signal.SIGKILL)"


@pytest.mark.parametrize("end", [SLEEP, KILL], ids=["is killed", "is killed by another"])
def test_shared_memory_of_a_killed_child_is_gone_with_it(end: str, log: Log) -> None:
    child = Child(python(SHARER + end), log, stdout=PIPE)
    name = (child.first_line(soon()) or b"").decode()
    assert name.startswith("psm_")
    if end == KILL:
        child.wait(20)
    child.end(0)
    assert child.status() == -signal.SIGKILL
    assert not Path("/dev/shm", name).exists()


def test_shared_memory_that_another_process_uses_stays(log: Log) -> None:
    shared = SharedMemory(create=True, size=4096)
    code = f"from multiprocessing.shared_memory import SharedMemory as S; s = S({shared.name!r})"
    # Its tracker would remove what is not its own.
    code += f"; from multiprocessing.resource_tracker import unregister as u; u(s._name, {SHM!r})"
    child = Child(python(f"{code}; print(flush=True); {SLEEP}"), log, stdout=PIPE)
    child.first_line(soon())
    assert shared._name not in {path.name for path in held_only_by(child.pid)}
    child.end(0)
    assert Path("/dev/shm", shared.name).exists()
    shared.close()
    shared.unlink()


def test_what_nobody_maps_is_known_as_left_behind() -> None:
    shared = SharedMemory(create=True, size=4096)
    path = Path("/dev/shm", shared.name)
    os.utime(path, (0, 0))
    assert path not in left_behind()
    shared.close()
    assert path in left_behind()
    (finding,) = leftovers([path])
    assert (finding.state, str(path) in finding.remedy) == ("note", True)
    os.utime(path)
    assert path not in left_behind()
    shared.unlink()


def test_a_log_that_is_bounded_keeps_its_last_words(log: Log) -> None:
    log.file.write(b"x" * 300_000 + b"\nlast words\n")
    log.file.flush()
    log.bound(300_000)
    assert os.fstat(log.file.fileno()).st_size < 70_000
    assert log.lines()[-1] == "last words"
    log.file.write(b"more\n")
    log.file.flush()
    log.bound(300_000)
    assert log.lines()[-2:] == ["last words", "more"]


OWNER = """
import json, sys, time
from rvpo.runtime.process import Child, Log, leashed
command, wanted = json.loads(sys.argv[1]), sys.argv[2]
child = Child(leashed(command) if wanted == "leash" else command, Log())
time.sleep(60)
"""
LISTENS = """
import os, subprocess, sys, time
from rvpo.runtime.process import end_with_parent
end_with_parent()
said = subprocess.run([sys.executable, "-c", "input()"], capture_output=True, timeout=20).stderr
print(os.getpid(), b"EOFError" in said, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("how", ["listens", "leash"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_parent_that_is_gone_takes_its_children_along(how: str, number: signal.Signals) -> None:
    code = LISTENS if how == "listens" else f"import os; print(os.getpid(), flush=True); {SLEEP}"
    owner = subprocess.Popen(
        python(OWNER, json.dumps(python(code)), how), cwd=ROOT, stdout=subprocess.PIPE
    )
    assert owner.stdout is not None
    with owner.stdout as stdout:
        pid, *rest = stdout.readline().split()
        assert alive(int(pid))
        # What a child starts has an empty standard input, and not the lifeline to wait on.
        assert rest == ([b"True"] if how == "listens" else [])
        owner.send_signal(number)
        owner.wait()
        wait_until(lambda: not alive(int(pid)))


def test_a_child_is_no_rank(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*RANK_VARIABLES, "A_KEY"):
        monkeypatch.setenv(name, "1")
    code = "import json, os; print(json.dumps(sorted(os.environ)))"
    for command in (python(code), leashed(python(code))):
        child = Child(command, log, stdout=PIPE)
        names = json.loads(child.first_line(soon()) or b"")
        child.end(20)
        assert not set(names) & set(RANK_VARIABLES)
        assert "A_KEY" in names


def test_a_child_hears_what_it_is_told_first_and_has_a_session_of_its_own(log: Log) -> None:
    code = f"import os; print(os.getsid(0) == os.getpid(), input(), flush=True); {SLEEP}"
    child = Child(python(code), log, stdout=PIPE, hello=b"good morning\n")
    assert child.first_line(soon()) == b"True good morning"
    assert child.first_line(time.monotonic()) is None
    child.end(0)


def test_a_child_that_dies_before_it_is_told_anything_is_only_dead(log: Log) -> None:
    child = Child(("false",), log, stdout=PIPE, hello=b"x" * 2**20)
    assert child.first_line(soon()) == b""
    child.wait(20)
    assert child.ending() == "exit status 1"
    child.end(0)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("", "exit status 0"),
        ("print('a', file=sys.stderr); print('the cause \\n\\n', file=sys.stderr); sys.exit(3)", 0),
        ("os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
        ("sys.exit(128 + signal.SIGSEGV)", "SIGSEGV"),
        ("sys.exit(255)", "exit status 255"),
        ("print('lost', file=sys.stderr, flush=True); os.abort()", "SIGABRT, lost"),
    ],
)
def test_last_words_are_the_end_and_the_last_line(code: str, words: object, log: Log) -> None:
    child = Child(python(f"import os, signal, sys; {code}"), log)
    child.wait(20)
    assert child.last_words() == (words or "exit status 3, the cause")
    child.end(0)


def test_a_log_may_be_a_file_of_a_name(tmp_path: Path) -> None:
    path = tmp_path / "child.log"
    with closing(Log(path.open("w+b"))) as log:
        child = Child(python("print('a' * 100_000); print('last')"), log, stdout=log.file)
        child.end(20)
        assert log.lines()[-1] == "last"
        assert len(log.text(100)) == 99  # without the line break at its end
    assert path.stat().st_size == 100_006


# Stands in a call of C that no signal ends, as collectives do where another rank hangs.
STUCK = """
import ctypes, os, sys
from rvpo.runtime import process
from rvpo.runtime.signals import stopping_at_once
process.UNHEARD_S = 0.5
process.end_with_parent()
print(os.getpid(), flush=True)
libc, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)
with stopping_at_once():
    while True:
        libc.pthread_mutex_lock(mutex)
"""
PARENT_OF_STUCK = f"""
import os, signal, time
from rvpo.runtime.environment import LIFELINE, child_environment
from rvpo.runtime.process import PIPE, Child, Log
environment = child_environment() | {{LIFELINE: "stdin"}}
child = Child(({sys.executable!r}, "-c", {STUCK!r}), Log(), stdout=PIPE, environment=environment)
print(child.first_line(time.monotonic() + 20).decode(), flush=True)
time.sleep(1)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_child_that_cannot_hear_does_not_outlive_its_parent_either() -> None:
    parent = subprocess.run(python(PARENT_OF_STUCK), cwd=ROOT, capture_output=True, text=True)
    assert parent.returncode == -signal.SIGKILL, parent.stderr
    stuck = int(parent.stdout)
    wait_until(lambda: not alive(stuck))
