"""The served judge: a server of its own that comes up, fails with a reason and leaves nothing."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from rvpo.config.judge import EndpointConfig, JudgeConfig, ServeConfig
from rvpo.errors import EngineError
from rvpo.judge.client.server import JudgeServer, fingerprint
from rvpo.judge.types import Answer, Job, Question
from rvpo.judge.worker.asker import Asker
from tests.judge.processes import ROOT, alive, wait_until

SERVER = """
import http.server, json, os, socketserver, sys, pathlib

class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
    def address_string(self):
        return ""
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        content = json.dumps({"met": True})
        body = json.dumps({"choices": [{"message": {"content": content}}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass

if os.environ["FAKE_MODE"] == "fail":
    print("loading")
    print("(EngineCore pid=3) ERROR [core.py:1] ValueError: not enough memory", file=sys.stderr)
    print("(APIServer pid=2) RuntimeError: Engine core initialization failed. See above.")
    sys.exit(1)
options = dict(zip(sys.argv[1:], sys.argv[2:]))
note = {"pid": os.getpid(), "argv": sys.argv[1:], "environ": dict(os.environ)}
pathlib.Path(os.environ["FAKE_NOTE"]).write_text(json.dumps(note))
if os.environ["FAKE_MODE"] == "silent":
    import time; time.sleep(60)
socketserver.UnixStreamServer(options["--uds"], Health).serve_forever()
"""
NOBODY = 65534
PROGRAM = (sys.executable, "-c", SERVER)


def start(**settings: Any) -> JudgeServer:
    config = ServeConfig(model="demo", concurrency=16, **settings)
    return JudgeServer.start(config, "/models/demo", on_gpu=False, program=PROGRAM)


@pytest.fixture
def note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FAKE_NOTE", str(tmp_path / "note.json"))
    monkeypatch.setenv("FAKE_MODE", "serve")
    return tmp_path / "note.json"


def test_the_server_is_up_when_it_says_so_and_gone_when_closed(note: Path) -> None:
    server = start()
    with closing(server):
        server.ready(20)
        endpoint = server.endpoint()
        assert (endpoint.model, endpoint.concurrency) == ("demo", 16)
        (answer,) = asyncio.run(ask(endpoint))
        assert answer.value == 1
        pid = json.loads(note.read_text())["pid"]
        assert alive(pid)
    assert not alive(pid)
    assert endpoint.socket is not None
    assert not endpoint.socket.parent.exists()
    server.close()


async def ask(endpoint: EndpointConfig) -> list[Answer]:
    config = JudgeConfig(model="demo", endpoints=(endpoint,), cache=None, attempts=1)
    async with Asker(config) as asker:
        return await asker.answer(
            Job(conversation=(), response="a", questions=(Question("criterion", "b"),))
        )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
def test_no_other_user_can_ask_the_server_or_take_its_place(note: Path) -> None:
    with closing(start()) as server:
        server.ready(20)
        path = server.endpoint().socket
        assert path is not None

        def connect() -> None:
            with socket.socket(socket.AF_UNIX) as stranger:
                stranger.connect(str(path))

        assert not forbidden(connect, os.geteuid())
        for deed in (
            connect,
            path.unlink,
            lambda: path.rename("/tmp/taken"),
            lambda: os.listdir(path.parent),
            lambda: (path.parent / "other").touch(),
            path.parent.rmdir,
        ):
            assert forbidden(deed, NOBODY), deed
        pid = json.loads(note.read_text())["pid"]
        assert not listening_ports(pid)


def forbidden(deed: Callable[[], object], user: int) -> bool:
    """Whether the kernel forbids it to a user."""
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setuid(user)
        try:
            deed()
        except PermissionError:
            os._exit(1)
        except BaseException:
            os._exit(2)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 1)
    return status == 1


def listening_ports(pid: int) -> list[str]:
    """The TCP addresses that a process listens on."""
    held = {os.readlink(file) for file in Path(f"/proc/{pid}/fd").iterdir() if file.is_symlink()}
    rows = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]
    ]
    return [row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in held]


def test_the_key_of_another_server_is_not_this_one_s(
    note: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "another")
    with closing(start()) as server:
        server.ready(20)
        assert "VLLM_API_KEY" not in json.loads(note.read_text())["environ"]


def test_a_folder_too_long_for_a_socket_is_not_taken(
    note: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("a" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with closing(start()) as server:
        server.ready(20)
        assert not list(deep.iterdir())


def test_the_server_knows_no_ranks(note: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "MASTER_PORT", "VLLM_ENABLE_V1_MULTIPROCESSING"):
        monkeypatch.setenv(name, "1")
    with closing(start(cpu_kv_cache_gib=3)) as server:
        server.ready(20)
        environ = json.loads(note.read_text())["environ"]
    assert not {"RANK", "WORLD_SIZE", "MASTER_PORT", "VLLM_ENABLE_V1_MULTIPROCESSING"} & set(
        environ
    )
    assert environ["VLLM_CPU_KVCACHE_SPACE"] == "3"


def test_the_server_sees_the_gpus_that_it_is_given(note: Path) -> None:
    config = ServeConfig(model="demo", devices=(6, 7))
    server = JudgeServer.start(config, "/m", on_gpu=True, visible="4,5", program=PROGRAM)
    with closing(server):
        server.ready(20)
        assert json.loads(note.read_text())["environ"]["CUDA_VISIBLE_DEVICES"] == "4,5"


def test_foreign_code_runs_only_where_it_is_allowed(note: Path) -> None:
    for allowed in (True, False):
        with closing(start(trust_remote_code=allowed)) as server:
            server.ready(20)
            assert ("--trust-remote-code" in json.loads(note.read_text())["argv"]) is allowed


def test_a_server_that_fails_says_why_and_not_only_that(
    note: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_MODE", "fail")
    with (
        closing(start()) as server,
        pytest.raises(EngineError, match=r"'demo' \(exit status 1\): ValueError: not enough mem"),
    ):
        server.ready(20)


def test_a_server_that_never_answers_is_not_awaited_for_ever(
    note: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_MODE", "silent")
    with closing(start()) as server, pytest.raises(EngineError, match="did not answer"):
        server.ready(0.5)


def test_a_server_that_ends_in_the_middle_says_how(note: Path) -> None:
    with closing(start()) as server:
        server.ready(20)
        assert server.end_of() is None
        os.kill(json.loads(note.read_text())["pid"], signal.SIGKILL)
        wait_until(lambda: server.end_of() is not None)
        assert re.search(r"'demo' ended during the run \(SIGKILL\)", server.end_of() or "")


def test_a_killed_parent_leaves_no_server(note: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, *PROGRAM],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    with parent.stdout as stdout:
        assert stdout.readline() == b"up\n"
        pid = json.loads(note.read_text())["pid"]
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    wait_until(lambda: not alive(pid))
    argv = json.loads(note.read_text())["argv"]
    folder = Path(argv[argv.index("--uds") + 1]).parent
    wait_until(lambda: not folder.exists())


PARENT = """
import sys, time
from rvpo.config.judge import ServeConfig
from rvpo.judge.client.server import JudgeServer
server = JudgeServer.start(ServeConfig(model="m"), "m", on_gpu=False, program=sys.argv[1:])
server.ready(20)
print("up", flush=True)
time.sleep(60)
"""


def test_a_changed_weight_file_changes_the_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "sub" / "weights").write_text("1")
    before = fingerprint(str(tmp_path))
    assert fingerprint(str(tmp_path)) == before
    os.utime(tmp_path / "sub" / "weights", (1, 1))
    touched = fingerprint(str(tmp_path))
    assert touched != before
    (tmp_path / "sub" / "weights").rename(tmp_path / "weights")
    assert fingerprint(str(tmp_path)) != touched


def test_a_model_of_the_hub_is_its_own_fingerprint() -> None:
    assert fingerprint("org/model") == "org/model"


@pytest.mark.slow
def test_vllm_serves_a_model_and_holds_it_to_a_schema(tiny_model: Path) -> None:
    config = ServeConfig(model="tiny", max_context_tokens=128, concurrency=4)
    schema = {"type": "object", "properties": {"met": {"type": "boolean"}}, "required": ["met"]}
    body = {
        "model": "tiny",
        "messages": [{"role": "user", "content": "Met?"}],
        "max_tokens": 64,
        "temperature": 0,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "verdict", "strict": True, "schema": schema},
        },
    }
    started = time.monotonic()
    with closing(JudgeServer.start(config, str(tiny_model), on_gpu=False)) as server:
        assert time.monotonic() - started < 1
        server.ready(300)
        path = str(server.endpoint().socket)
        connection = http.client.HTTPConnection("localhost", timeout=60)
        with closing(connection), socket.socket(socket.AF_UNIX) as connection.sock:
            connection.sock.connect(path)
            headers = {"Content-Type": "application/json"}
            connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
            choice = json.loads(connection.getresponse().read())["choices"][0]
    # Random weights may fill the reply with spaces, which JSON allows, but with nothing else.
    assert choice["finish_reason"] == "length" or isinstance(
        json.loads(choice["message"]["content"])["met"], bool
    )
    assert choice["message"]["content"].lstrip().startswith("{")
