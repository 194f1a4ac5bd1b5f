"""The page of runs while they go on: what is new is on it, and nobody else sees it."""

from __future__ import annotations

import http.client
import json
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rvpo.config.run import RunConfig, dump_config
from rvpo.errors import ConfigError
from rvpo.page.live import LivePage, Look
from rvpo.page.server import HOST, PageServer
from rvpo.report.lock import LOCK, FolderLock, is_taken
from rvpo.report.run_folder import RunFolder
from tests.configs import tiny_settings


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run that has not done a step."""
    settings = tiny_settings(tmp_path / "model", tmp_path / "run")
    return RunFolder.create(tmp_path / "run", dump_config(RunConfig.model_validate(settings)), {})


def add_step(run: RunFolder, step: int, reward: float) -> None:
    row = {"step": step, "timing/step": 1.0, "rewards/brief/mean": reward}
    with run.metrics.open("a") as file:
        file.write(json.dumps(row) + "\n")


class Patient(LivePage):
    """A page that is made again however long it took."""

    def look_again(self) -> str:
        self._not_before = 0.0
        return self.look().html


def test_a_run_without_a_step_has_a_page(run: RunFolder) -> None:
    assert "The run has ended: 0 of 4 steps are done." in LivePage([run.path]).look().html


def test_a_new_step_is_on_the_page(run: RunFolder) -> None:
    page = Patient([run.path])
    before = page.look()
    add_step(run, 1, 0.25)
    first = page.look_again()
    assert "Rewards during training" in first
    assert page.look().version != before.version
    add_step(run, 2, 0.75)
    assert page.look_again() != first


def test_a_page_that_nothing_changed_is_not_made_again(run: RunFolder) -> None:
    add_step(run, 1, 0.5)
    page = Patient([run.path])
    first = page.look()
    assert page.look_again() is first.html


def test_a_page_that_took_long_is_not_made_again_at_once(run: RunFolder) -> None:
    page = LivePage([run.path])
    first = page.look()
    page._not_before = float("inf")
    add_step(run, 1, 0.5)
    assert page.look() is first


def test_the_page_tells_that_a_run_goes_on_and_that_it_has_ended(run: RunFolder) -> None:
    lock = FolderLock.take(run.path)
    add_step(run, 1, 0.5)
    page = Patient([run.path])
    assert "The run goes on: 1 of 4 steps are done." in page.look().html
    lock.release()
    assert "The run has ended: 1 of 4 steps are done." in page.look_again()


def test_several_runs_are_counted(run: RunFolder, tmp_path: Path) -> None:
    other = RunFolder.create(tmp_path / "other", run.config.read_text(), {})
    page = Patient([run.path, other.path])
    assert "All 2 runs have ended." in page.look().html
    lock = FolderLock.take(other.path)
    assert "1 of 2 runs go on." in page.look_again()
    lock.release()


@pytest.mark.parametrize(
    ("holder", "is_held"),
    [
        (f"{2**22 + 1} on {socket.gethostname()}", False),  # beyond the largest number of Linux
        (f"{os.getpid()} on {socket.gethostname()}", True),
        ("12 on elsewhere.example", True),
        ("", False),
    ],
    ids=["gone", "here", "elsewhere", "nobody"],  # workers must agree on the names of tests
)
def test_a_run_goes_on_while_the_process_that_its_lock_names_is_there(
    holder: str, is_held: bool, run: RunFolder
) -> None:
    (run.path / LOCK).write_text(f"{holder}\n")
    assert is_taken(run.path) == is_held


def test_a_page_waits_for_the_time_it_took_of_a_core_and_not_for_that_of_the_clock(
    run: RunFolder,
) -> None:
    class Starved(LivePage):
        def _made(self) -> str:
            time.sleep(0.5)
            return "page"

    page = Starved([run.path])
    page.look()
    assert page._not_before - time.monotonic() < 0.4  # the clock would say 1.5


def test_a_damaged_file_is_told_on_the_page_and_forgotten_when_it_is_mended(
    run: RunFolder,
) -> None:
    run.metrics.write_text('{"step": 7}\n')
    page = Patient([run.path])
    assert "line 1 is damaged" in page.look().html
    run.metrics.write_text('{"step": 1}\n')
    assert "is damaged" not in page.look_again()


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no run"):
        LivePage([tmp_path])


@pytest.fixture
def server(run: RunFolder) -> Iterator[PageServer]:
    with PageServer(LivePage([run.path]).look) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(server: PageServer, path: str, **headers: str) -> tuple[int, bytes, str | None]:
    connection = http.client.HTTPConnection(HOST, server.server_port, timeout=30)
    connection.request("GET", path, headers=headers)
    reply = connection.getresponse()
    found = reply.status, reply.read(), reply.getheader("ETag")
    connection.close()
    return found


def test_an_unchanged_page_is_not_sent_again(server: PageServer) -> None:
    path = f"/{server.secret}/"
    status, body, version = ask(server, path)
    assert status == 200
    assert b"0 of 4 steps are done." in body
    assert version is not None
    assert ask(server, path, **{"If-None-Match": version})[:2] == (304, b"")


@pytest.mark.parametrize("path", ["/", "/index.html", "/" + "x" * 22 + "/", "/../", "/%00"])
def test_nobody_sees_the_page_without_its_address(server: PageServer, path: str) -> None:
    assert ask(server, path)[:2] == (404, b"")


def test_a_page_of_elsewhere_cannot_read_it_by_a_name_of_its_own(server: PageServer) -> None:
    assert ask(server, f"/{server.secret}/", Host="evil.example:80")[:2] == (404, b"")


def test_a_taken_port_is_one_sentence(server: PageServer, run: RunFolder) -> None:
    with pytest.raises(ConfigError, match=r"--port: .* cannot be used"):
        PageServer(LivePage([run.path]).look, server.server_port)


class Joined(PageServer):
    """A server that has answered all requests when its block ends."""

    daemon_threads = False


@pytest.mark.parametrize("fault", [None, ZeroDivisionError])
def test_a_browser_that_goes_away_is_not_told_and_a_fault_is(
    fault: type[Exception] | None, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = threading.Event()

    def look() -> Look:
        gone.wait(30)
        if fault is not None:
            raise fault("our own")
        return Look("x" * 10_000_000, "1")

    with Joined(look) as server:
        browser = socket.create_connection((HOST, server.server_port))
        browser.sendall(f"GET /{server.secret}/ HTTP/1.1\r\nHost: {HOST}:1\r\n\r\n".encode())
        server.handle_request()
        browser.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        browser.close()  # at once, with a reset
        gone.set()
    told = capsys.readouterr().err
    assert ("ZeroDivisionError: our own" in told) if fault else told == ""
