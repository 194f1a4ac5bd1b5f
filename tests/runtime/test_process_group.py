"""A leashed command never outlives its owner, and nor does what it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.judge.processes import ROOT, alive, wait_until

LEASH = [sys.executable, "-m", "rvpo.runtime.process_group", "--"]

# Leaves its process id and that of a child in a folder; both would run for a minute.
FAMILY = """
import os, pathlib, signal, subprocess, sys, time
folder, mode = pathlib.Path(sys.argv[1]), sys.argv[2]
if mode == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
(folder / str(child.pid)).touch()
(folder / str(os.getpid())).touch()
if mode == "leave":
    sys.exit(5)
time.sleep(60)
"""


def start(folder: Path, mode: str) -> subprocess.Popen[bytes]:
    command = [*LEASH, sys.executable, "-c", FAMILY, str(folder), mode]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE)


def family(folder: Path) -> list[int]:
    wait_until(lambda: len(list(folder.iterdir())) == 2)
    return [int(file.name) for file in folder.iterdir()]


def release(leash: subprocess.Popen[bytes]) -> None:
    assert leash.stdin is not None
    leash.stdin.close()


def test_the_whole_family_ends_when_the_leash_is_let_go(tmp_path: Path) -> None:
    leash = start(tmp_path, "stay")
    pids = family(tmp_path)
    assert all(map(alive, pids))
    release(leash)
    assert leash.wait(5) == 128 + signal.SIGTERM
    assert not any(map(alive, pids))


def test_the_whole_family_ends_when_the_leash_is_terminated(tmp_path: Path) -> None:
    leash = start(tmp_path, "stay")
    pids = family(tmp_path)
    leash.terminate()
    assert leash.wait(5) == 128 + signal.SIGTERM
    assert not any(map(alive, pids))
    release(leash)


def test_sigint_is_left_to_the_owner(tmp_path: Path) -> None:
    leash = start(tmp_path, "stay")
    pids = family(tmp_path)
    leash.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        leash.wait(0.5)
    assert all(map(alive, pids))
    release(leash)
    leash.wait(5)


def test_a_command_that_ends_by_itself_passes_its_status_and_leaves_nobody(tmp_path: Path) -> None:
    leash = start(tmp_path, "leave")
    pids = family(tmp_path)
    assert leash.wait(5) == 5
    assert not any(map(alive, pids))
    release(leash)


def test_a_command_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    leash = start(tmp_path, "stubborn")
    pids = family(tmp_path)
    release(leash)
    assert leash.wait(20) == 128 + signal.SIGKILL
    assert not any(map(alive, pids))


def test_a_killed_owner_leaves_nothing(tmp_path: Path) -> None:
    owner = """
import subprocess, sys, time
leash = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE)
time.sleep(60)
"""
    command = [*LEASH, sys.executable, "-c", FAMILY, str(tmp_path), "stay"]
    process = subprocess.Popen([sys.executable, "-c", owner, *command], cwd=ROOT)
    pids = family(tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_until(lambda: not any(map(alive, pids)))


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's parent death signal")
def test_a_killed_leash_does_not_set_its_command_free(tmp_path: Path) -> None:
    command = "import os, pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(60)"
    note = tmp_path / "up"
    leash = subprocess.Popen(
        [*LEASH, sys.executable, "-c", command, str(note)], cwd=ROOT, stdin=subprocess.PIPE
    )
    wait_until(note.exists)
    children = Path(f"/proc/{leash.pid}/task/{leash.pid}/children").read_text().split()
    leash.kill()
    leash.wait()
    release(leash)
    assert len(children) == 1
    wait_until(lambda: not alive(int(children[0])))


def test_a_command_that_is_not_there_is_named() -> None:
    done = subprocess.run(
        [*LEASH, "/no/such/program"], cwd=ROOT, stdin=subprocess.PIPE, capture_output=True
    )
    assert done.returncode == 127
    assert b"/no/such/program cannot be run" in done.stderr
