"""What another user of the machine can reach of a run: nothing that its owner did not open."""

from __future__ import annotations

import asyncio
import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rvpo.config.run import dump_config
from rvpo.errors import EngineError
from rvpo.judge.worker.cache import Cache
from rvpo.report.run_folder import RunFolder, write_json, write_text
from rvpo.runtime.private_folder import private_folder, remove_folder
from tests.configs import tiny_config
from tests.judge.processes import ROOT, wait_until

NOBODY = 65534


@pytest.fixture
def strict() -> Iterator[None]:
    """As a user has it who shares nothing."""
    before = os.umask(0o077)
    yield
    os.umask(before)


def write_everything(folder: Path) -> None:
    """What a run writes beside its model and checkpoints."""
    run = RunFolder.create(folder / "run", dump_config(tiny_config(folder)), {"version": "0"})
    write_json(run.held_out, {"a": 1})
    write_text(run.path / "note", "text")
    with run.locked():
        pass

    async def judge() -> None:
        cache = Cache(folder / "cache" / "verdicts.sqlite")
        await cache.put(b"key", 1.0, "reason")
        await cache.close()

    asyncio.run(judge())


def test_what_a_run_writes_is_as_private_as_its_owner_has_files(
    tmp_path: Path, strict: None
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir(mode=0o777)
    os.chmod(folder, 0o755)  # open, so that what is inside has to keep others out
    write_everything(folder)
    written = list(folder.rglob("*"))
    assert len(written) > 5
    assert not [path for path in written if path.stat().st_mode & 0o077]


def test_a_private_folder_is_the_owner_s_whatever_files_are_opened_to() -> None:
    before = os.umask(0)
    try:
        folder = private_folder("rvpo-test-")
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert len(os.fsencode(folder / ("u" * 36))) <= 107
    folder.rmdir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
def test_no_other_user_reads_or_writes_in_a_private_folder() -> None:
    folder = private_folder("rvpo-test-")
    (folder / "secret").write_text("x")
    deeds: list[Callable[[], object]] = [
        lambda: os.listdir(folder),
        (folder / "secret").read_text,
        (folder / "other").touch,
        lambda: os.rename(folder, f"{folder}-taken"),
    ]
    assert [forbidden(deed) for deed in deeds] == [True] * len(deeds)
    (folder / "secret").unlink()
    folder.rmdir()


def forbidden(deed: Callable[[], object]) -> bool:
    """Whether the kernel forbids it to another user."""
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setuid(NOBODY)
        try:
            deed()
        except PermissionError:
            os._exit(1)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1


def test_a_temporary_folder_too_long_for_sockets_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("a" * 100)))
    folder = private_folder("rvpo-test-")
    assert folder.parent in (Path("/tmp"), Path("/dev/shm"))
    folder.rmdir()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(EngineError, match="set TMPDIR to a short one"):
        private_folder("rvpo-test-")


HOLDER = """
import os, subprocess, sys
from rvpo.runtime.private_folder import lock_of, private_folder
folder = private_folder("rvpo-test-")
code = "import sys; print('up', flush=True); sys.stdin.read()"
keep = [lock_of(folder)] if sys.argv[1] == "shared" else []
subprocess.Popen([sys.executable, "-c", code], pass_fds=keep)
print(folder, flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("kept", ["alone", "shared"])
def test_a_folder_of_killed_processes_is_gone_with_the_next_one(
    kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as short:
        monkeypatch.setenv("TMPDIR", short)
        monkeypatch.setattr(tempfile, "tempdir", short)
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, kept],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert holder.stdout is not None
        assert holder.stdin is not None
        with holder.stdout as stdout, holder.stdin:
            told = {stdout.readline().strip(), stdout.readline().strip()}
            (left,) = (Path(each) for each in told if each != "up")
            holder.wait()
            assert left.exists()
            mine = private_folder("rvpo-test-")
            # A process that was given the lock still works there.
            assert left.exists() == (kept == "shared")
        wait_until(lambda: not is_held(left))
        other = private_folder("rvpo-test-")
        assert not left.exists()
        assert mine.exists()
        for folder in (mine, other):
            remove_folder(folder)
            remove_folder(folder)
            assert not folder.exists()


def is_held(folder: Path) -> bool:
    """Whether a process holds a folder, which may be gone."""
    try:
        held = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(held)
    return False
