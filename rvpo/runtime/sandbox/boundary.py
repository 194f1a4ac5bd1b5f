"""The boundary of programs, tried before anything depends on it."""

from __future__ import annotations

import json
import tempfile
from functools import cache
from typing import Final

from rvpo.errors import ConfigError, SandboxError
from rvpo.runtime.sandbox.program import Limits, Program

_PROBE: Final = """
import json, os, socket, sys, threading
found = []
if os.path.exists(sys.argv[1]):
    found.append("read files of this machine")
if os.getpid() != 2:
    found.append("see other processes")
try:
    socket.socket().close()
    found.append("open sockets")
except PermissionError:
    pass
try:
    if os.fork() == 0:
        os._exit(0)
    found.append("start processes")
except PermissionError:
    pass
threading.stack_size(65536)
end = threading.Event()
try:
    for _ in range(100):
        threading.Thread(target=end.wait).start()
    found.append("start threads without a limit")
except RuntimeError:
    pass
end.set()
print(json.dumps(found))
"""
_INSTEAD: Final = (
    "run where the kernel allows it (as root with CAP_SYS_ADMIN, or where user namespaces are "
    "allowed: user.max_user_namespaces above 0, kernel.apparmor_restrict_unprivileged_userns 0 on "
    "Ubuntu, --security-opt seccomp=unconfined in Docker), or set the argument isolation to none, "
    "which lets programs read your files and use your network"
)


@cache
def check_boundary() -> None:
    """Run a program that tries to leave; found out once in a process.

    Raises:
        ConfigError: the kernel does not shut programs in, or not in everything.
    """
    with tempfile.NamedTemporaryFile(prefix="rvpo-boundary-") as file:
        words = ("program.py", file.name)
        try:
            ended = Program({"program.py": _PROBE}, words).run(b"", Limits())
        except SandboxError as error:
            raise ConfigError(
                f"programs cannot be isolated on this machine ({error}); {_INSTEAD}"
            ) from error
    if ended.status or ended.exceeded:
        raise ConfigError(
            "a program cannot run in isolation on this machine: Python ended with status "
            f"{ended.status} there, as where its folder is open to its owner alone; {_INSTEAD}"
        )
    if found := json.loads(ended.output):
        raise ConfigError(
            f"programs are not isolated on this machine: one could {', '.join(found)}; {_INSTEAD}"
        )
