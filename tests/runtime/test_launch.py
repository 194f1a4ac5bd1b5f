from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rvpo.errors import INTERRUPTED
from rvpo.runtime.launch import launch


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    folder = tmp_path / "marks"
    folder.mkdir()
    return folder


def program(tmp_path: Path, marks: Path, body: str) -> list[str]:
    """A rank that leaves its process id in `marks` and then does what `body` says."""
    path = tmp_path / "rank.py"
    path.write_text(
        "import os, signal, subprocess, sys, time\n"
        "rank = int(os.environ['RANK'])\n"
        f"open({str(marks)!r} + f'/{{rank}}', 'w').write(str(os.getpid()))\n"
        f"while len(os.listdir({str(marks)!r})) < int(os.environ['WORLD_SIZE']): time.sleep(0.01)\n"
        + textwrap.dedent(body)
    )
    return [sys.executable, str(path)]


def test_every_rank_knows_its_place(tmp_path: Path, marks: Path) -> None:
    body = """
    place = [os.environ[n] for n in ('LOCAL_RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT')]
    open(sys.argv[1] + f'/{rank}', 'w').write(' '.join(place))
    """
    (tmp_path / "out").mkdir()
    assert launch([str(tmp_path / "out")], 2, program(tmp_path, marks, body)) == 0
    first, second = ((tmp_path / "out" / name).read_text().split() for name in "01")
    assert first[:3] == ["0", "2", "127.0.0.1"]
    assert second == ["1", *first[1:]]


MEET = """
from pathlib import Path
from rvpo.runtime.ranks import Ranks
ranks = Ranks.join(1)
assert ranks.gather_objects(ranks.rank) == list(range(ranks.size))
held = {os.readlink(file) for file in Path('/proc/self/fd').iterdir() if file.is_symlink()}
rows = [line.split() for name in ('tcp', 'tcp6')
        for line in Path(f'/proc/self/net/{name}').read_text().splitlines()[1:]]
mine = [row[1] for row in rows if row[3] == '0A' and f'socket:[{row[9]}]' in held]
meeting = Path(os.environ.get('RVPO_RENDEZVOUS', '/'))
note = f"{meeting.parent} {meeting.parent.stat().st_mode & 0o777:o} {' '.join(mine)}"
open(sys.argv[1] + f'/{ranks.rank}', 'w').write(note)
ranks.wait()
ranks.leave()
"""


@pytest.mark.parametrize("processes", [1, 2])
def test_ranks_of_one_machine_meet_where_nobody_else_can(
    processes: int, tmp_path: Path, marks: Path
) -> None:
    (tmp_path / "out").mkdir()
    assert launch([str(tmp_path / "out")], processes, program(tmp_path, marks, MEET)) == 0
    for rank in range(processes):
        folder, mode, *listening = (tmp_path / "out" / f"{rank}").read_text().split()
        assert mode == "700"
        assert not Path(folder).exists()
        assert not [a for a in listening if not a.partition(":")[0].strip("0")]  # of all networks


def test_one_sentence_is_shown_when_every_rank_has_it(
    tmp_path: Path, marks: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    body = "from rvpo.runtime.launch import say; say('rvpo: no such data'); sys.exit(2)"
    assert launch([], 3, program(tmp_path, marks, body)) == 2
    assert capfd.readouterr().err == "rvpo: no such data\n"


def test_the_sentence_of_another_rank_is_shown_and_its_siblings_ended(
    tmp_path: Path, marks: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    body = """
    if rank == 1:
        print('noise')
        from rvpo.runtime.launch import say
        say('rvpo: reward fails')
        sys.exit(2)
    time.sleep(60)
    """
    start = time.monotonic()
    assert launch([], 2, program(tmp_path, marks, body)) == 2
    assert time.monotonic() - start < 20
    assert capfd.readouterr().err == "rvpo: reward fails\n"


def test_a_rank_that_does_not_end_with_the_others_is_killed(
    tmp_path: Path, marks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rvpo.runtime.launch.GRACE_S", 0.2)
    body = "sys.exit(2) if rank == 0 else os.kill(os.getpid(), signal.SIGSTOP)"
    start = time.monotonic()
    assert launch([], 2, program(tmp_path, marks, body)) == 2
    assert time.monotonic() - start < 20


def test_a_traceback_of_another_rank_is_shown(
    tmp_path: Path, marks: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    body = "1 / 0 if rank == 1 else time.sleep(60)"
    assert launch([], 2, program(tmp_path, marks, body)) == 1
    error = capfd.readouterr().err
    assert error.startswith("rank 1 failed:\nTraceback")
    assert error.endswith("ZeroDivisionError: division by zero\n")


@pytest.mark.parametrize(
    ("end", "told"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "rvpo: rank 1 was ended by SIGKILL"),
        ("1 / 0", "rank 1 failed:\nTraceback"),
        ("say('rvpo: no such data'); sys.exit(2)", "rvpo: no such data\n"),
    ],
)
def test_a_cause_is_told_and_not_its_consequence_in_another_rank(
    end: str, told: str, tmp_path: Path, marks: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    body = f"""
    from rvpo.runtime.launch import say
    received = []
    signal.signal(signal.SIGTERM, lambda *_: received.append(1))
    if rank == 1:
        time.sleep(0.3)  # until the other listens
        {end}
    while not received: time.sleep(0.01)
    say('rvpo: lost another rank', is_cause=False)
    sys.exit(2)
    """
    assert launch([], 2, program(tmp_path, marks, body)) != 0
    error = capfd.readouterr().err
    assert error.startswith(told)
    assert "lost another" not in error


def test_an_error_is_told_though_its_consequence_in_another_rank_ended_first(
    tmp_path: Path, marks: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    body = """
    from rvpo.runtime.launch import say
    signal.signal(signal.SIGTERM, lambda *_: None)
    if rank == 1:
        time.sleep(0.5)  # its connections are cut before it has ended
        1 / 0
    say('rvpo: lost another rank', is_cause=False)
    sys.exit(2)
    """
    assert launch([], 2, program(tmp_path, marks, body)) == 1
    error = capfd.readouterr().err
    assert error.startswith("rank 1 failed:\nTraceback")
    assert "lost another" not in error


def test_a_killed_rank_is_named(
    tmp_path: Path, marks: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    body = "os.kill(os.getpid(), signal.SIGKILL) if rank == 1 else time.sleep(60)"
    assert launch([], 2, program(tmp_path, marks, body)) == 128 + signal.SIGKILL
    assert capfd.readouterr().err == (
        "rvpo: rank 1 was ended by SIGKILL; the machine may have run out of memory; start again: "
        "--resume goes on from the last checkpoint, if there is one\n"
    )


def test_nothing_a_rank_started_outlives_it(tmp_path: Path, marks: Path) -> None:
    body = """
    child = subprocess.Popen(['sleep', '60'])
    open(sys.argv[1] + f'/{rank}', 'w').write(str(child.pid))
    """
    (tmp_path / "children").mkdir()
    assert launch([str(tmp_path / "children")], 2, program(tmp_path, marks, body)) == 0
    children = [int((tmp_path / "children" / name).read_text()) for name in "01"]
    wait_for(lambda: all(is_gone(child) for child in children), seconds=5)


STOPS = [
    *(signal.SIGINT, signal.SIGTERM, signal.SIGHUP),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU),
]


@pytest.mark.parametrize("number", STOPS)
def test_a_signal_reaches_every_rank_once_and_their_end_is_awaited(
    tmp_path: Path, marks: Path, number: signal.Signals
) -> None:
    body = f"""
    received = []
    signal.signal({int(number)}, lambda *_: received.append(1))
    open(sys.argv[1] + f'/{{rank}}', 'w').close()
    while not received: time.sleep(0.01)
    time.sleep(0.3)
    open(sys.argv[1] + f'/{{rank}}', 'w').write(str(len(received)))
    sys.exit(130)
    """
    out = tmp_path / "out"
    out.mkdir()
    launcher = start_launcher(program(tmp_path, marks, body), str(out))
    wait_for(lambda: len(list(out.iterdir())) == 2)
    launcher.send_signal(number)
    assert launcher.wait(timeout=20) == INTERRUPTED
    assert [(out / name).read_text() for name in "01"] == ["1", "1"]


def test_a_hang_up_that_is_let_pass_stops_nothing(tmp_path: Path, marks: Path) -> None:
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        launcher = start_launcher(program(tmp_path, marks, "time.sleep(1.5)"), "")
    finally:
        signal.signal(signal.SIGHUP, before)
    wait_for(lambda: len(list(marks.iterdir())) == 2)
    launcher.send_signal(signal.SIGHUP)
    assert launcher.wait(timeout=20) == 0


def test_a_second_interrupt_kills(tmp_path: Path, marks: Path) -> None:
    body = """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    open(sys.argv[1] + f'/{rank}', 'w').close()
    time.sleep(60)
    """
    out = tmp_path / "out"
    out.mkdir()
    launcher = start_launcher(program(tmp_path, marks, body), str(out))
    wait_for(lambda: len(list(out.iterdir())) == 2)
    for _ in range(2):
        launcher.send_signal(signal.SIGINT)
        time.sleep(0.3)
    assert launcher.wait(timeout=20) == INTERRUPTED
    wait_for(lambda: all(is_gone(int((marks / name).read_text())) for name in "01"), seconds=5)


def test_ranks_end_when_their_launcher_is_killed(tmp_path: Path, marks: Path) -> None:
    body = """
    from rvpo.runtime.process import end_with_parent
    end_with_parent()
    open(sys.argv[1] + f'/{rank}', 'w').close()
    time.sleep(60)
    """
    out = tmp_path / "out"
    out.mkdir()
    launcher = start_launcher(program(tmp_path, marks, body), str(out))
    wait_for(lambda: len(list(out.iterdir())) == 2)
    launcher.kill()
    launcher.wait()
    wait_for(lambda: all(is_gone(int((marks / name).read_text())) for name in "01"))


def start_launcher(command: list[str], argument: str) -> subprocess.Popen[bytes]:
    code = (
        "import sys\nfrom rvpo.runtime.launch import launch\n"
        f"sys.exit(launch([{argument!r}], 2, {command!r}))"
    )
    return subprocess.Popen([sys.executable, "-c", code])


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    """The process has ended; a zombie counts, for whoever adopted it has yet to collect it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_caller_s_thread_setting_is_kept(
    tmp_path: Path, marks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert (
        launch([], 2, program(tmp_path, marks, "assert os.environ['OMP_NUM_THREADS'] == '7'")) == 0
    )
    monkeypatch.delenv("OMP_NUM_THREADS")
    share = max(1, len(os.sched_getaffinity(0)) // 2)
    body = f"assert os.environ['OMP_NUM_THREADS'] == '{share}'"
    assert launch([], 2, program(tmp_path, marks, body)) == 0


WATCHDOG = (
    "[rank1]:[E626 06:24:44.903881913 ProcessGroupNCCL.cpp:616] [Rank 1] Watchdog caught "
    "collective operation timeout: WorkNCCL(SeqNum=808, OpType=ALLREDUCE, NumelIn=9801523, "
    "NumelOut=9801523, Timeout(ms)=1200000) ran for 1200020 milliseconds before timing out."
)
STUCK = (
    "[rank1]:[F ProcessGroupNCCL.cpp:1169] [PG 0 Rank 1] ProcessGroupNCCL's watchdog got stuck for "
    "480 seconds without making progress in monitoring enqueued collectives."
)
DUPLICATE = (
    "terminate called after throwing an instance of 'c10::DistBackendError'\\n  what():  NCCL "
    "error in: NCCLUtils.cpp:93, invalid usage\\nLast error:\\n"
    "Duplicate GPU detected : rank 1 and rank 0 both on CUDA device ac000"
)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (WATCHDOG, "NCCL waited 20 minutes for another rank"),
        (STUCK, "NCCL waited 8 minutes for another rank"),
        (DUPLICATE, "two ranks have the same GPU (Duplicate GPU detected : rank 1"),
    ],
)
def test_a_process_that_nccl_ends_leaves_one_sentence(
    words: str, told: str, tmp_path: Path, marks: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    body = f"""
    if rank == 1:
        print("{words}", file=sys.stderr)
        print("frame #0: c10::Error::Error + 0x80\\n" * 200, file=sys.stderr, flush=True)
        os.abort()
    time.sleep(60)
    """
    assert launch([], 2, program(tmp_path, marks, body)) == 2
    error = capfd.readouterr().err
    assert error.startswith(f"rvpo: {told}")
    assert error.count("\n") == 1


def test_an_abort_of_another_kind_is_told_as_the_signal_it_is(
    tmp_path: Path, marks: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    note = "ProcessGroupNCCL.cpp:1496] Warning: destroy_process_group() was not called"
    body = f"""
    print("{note}", file=sys.stderr, flush=True)
    os.abort()
    """
    assert launch([], 1, program(tmp_path, marks, body)) == 128 + signal.SIGABRT
    assert capfd.readouterr().err.startswith("rvpo: rank 0 was ended by SIGABRT")
