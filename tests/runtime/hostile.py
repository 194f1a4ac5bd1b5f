"""Programs that try to leave the sandbox, and a stage of things outside that they try to reach.

    python -m tests.runtime.hostile     runs all of them and says what each came to

Each prints `escaped` where it sees that it got through; what it did outside is seen on the stage.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Final

from rvpo.runtime.sandbox.program import Ended, Isolation, Limits, Program

SECRET: Final = "the-secret-of-this-machine"
LIMITS: Final = Limits(seconds=1, memory_mb=256, files_mb=8, output_kb=64, patience_s=3.0)

_PRELUDE: Final = """
import ctypes, os, signal, socket, subprocess, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
secret, target, path, name, port, victim, owner = sys.argv[1:]
port, victim, owner = int(port), int(victim), int(owner)
ARM = os.uname().machine == "aarch64"
def escaped(*_): os.write(1, b"escaped\\n"); os._exit(0)
def reached(text): escaped() if "the-secret" in str(text) else None
def call(x86, arm, *arguments): return libc.syscall(ctypes.c_long(arm if ARM else x86), *arguments)
"""

_NETWORK: Final = {
    "connects to a port of this machine": """
        with socket.create_connection(("127.0.0.1", port), 2): escaped()
        """,
    "sends a datagram": """
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.sendto(b"x", ("127.0.0.1", port)); escaped()
        """,
    "looks a name up": """
        socket.getaddrinfo("localhost.localdomain", 80, proto=socket.IPPROTO_TCP)
        socket.create_connection(("localhost", port), 2); escaped()
        """,
    "opens a raw socket": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW); escaped()",
    "asks the kernel for its routes": "socket.socket(16, socket.SOCK_RAW, 0); escaped()",
    "connects to an abstract socket": """
        socket.socket(socket.AF_UNIX).connect("\\0" + name); escaped()
        """,
    "connects to a socket in a file": "socket.socket(socket.AF_UNIX).connect(path); escaped()",
    "opens a socket of the x32 interface": """
        if call(0x40000000 + 41, 198, 2, 1, 0) >= 0: escaped()
        """,
    "sets an io_uring up": """
        if call(425, 425, 8, (ctypes.c_char * 256)()) >= 0: escaped()
        """,
}

_FILES: Final = {
    "reads a file": "reached(open(secret).read())",
    "reads it by the root of number 1": "reached(open('/proc/1/root' + secret).read())",
    "reads it through a link": "os.symlink(secret, 'link'); reached(open('link').read())",
    "climbs out of its folder": """
        os.chdir("../" * 30); reached(open("." + secret).read())
        """,
    "climbs out of a changed root": """
        os.mkdir("r"); os.chroot("r")
        for _ in range(30): os.chdir("..")
        os.chroot("."); escaped()
        """,
    "looks for it everywhere": """
        for folder, folders, files in os.walk("/"):
            if os.path.basename(secret) in files: escaped()
            if folder.count("/") > 2: folders.clear()
        """,
    "writes a file": "open(target, 'w').write('x'); escaped()",
    "writes into Python's own folder": """
        import json
        open(os.path.join(os.path.dirname(json.__file__), "hostile.py"), "w"); escaped()
        """,
    "makes Python's own folder writable": """
        folder = os.path.dirname(os.__file__).encode()
        flags = ctypes.c_ulong(0x20 | 0x1000)
        if libc.mount(b"none", folder, b"", flags, None) == 0: escaped()
        """,
    "makes a device": """
        os.mknod("disk", 0o60600, os.makedev(254, 0)); open("disk", "rb"); escaped()
        """,
    "reads the environment": """
        reached(repr(dict(os.environ)))
        for pid in ("self", "1", str(owner)):
            try: reached(open(f"/proc/{pid}/environ").read())
            except OSError: pass
        """,
    "opens a file by its handle": """
        handle = (ctypes.c_ubyte * 136)(*(8).to_bytes(4, "little"), *(1).to_bytes(4, "little"), 2)
        if call(304, 265, -100, handle, 0) >= 0: escaped()
        """,
}

_PROCESSES: Final = {
    "forks for ever": """
        while True: os.fork(); escaped()
        """,
    "starts a command": "subprocess.run(['/bin/sh', '-c', 'true']); escaped()",
    "starts a process of Python": """
        import multiprocessing
        process = multiprocessing.get_context("fork").Process(target=escaped); process.start()
        escaped()
        """,
    "leaves a daemon behind": """
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(1); open(target, "w").write("x")
        """,
    "makes a process without a library": """
        for number in ((56, 220), (57, 220), (58, 220)):
            if call(*number, 17, 0, 0, 0, 0) >= 0: escaped()
        """,
    "makes a process the new way": """
        given = (ctypes.c_uint64 * 11)(); given[4] = 17
        if call(435, 435, given, 88) >= 0: escaped()
        """,
    "leaves a zombie": "os.posix_spawn('/bin/true', ['true'], {}); escaped()",
    "reads another process by ptrace": """
        for pid in (victim, owner, 1, os.getppid()):
            if pid and libc.ptrace(16, pid, 0, 0) == 0: escaped()
        """,
    "reads the memory of another process": """
        buffer = ctypes.create_string_buffer(64)
        vector = (ctypes.c_uint64 * 2)(ctypes.addressof(buffer), 64)
        there = (ctypes.c_uint64 * 2)(0x400000, 64)
        for pid in (victim, owner, 1):
            if call(310, 270, pid, vector, 1, there, 1, 0) > 0: escaped()
            try: open(f"/proc/{pid}/mem", "r+b"); escaped()
            except OSError: pass
        """,
    "takes a descriptor of another process": """
        for pid in (victim, owner, 1):
            handle = call(434, 434, pid, 0)
            if handle >= 0 and call(438, 438, handle, 1, 0) >= 0: escaped()
        """,
}

_SIGNALS: Final = {
    "kills a process by its number": "os.kill(victim, signal.SIGKILL); escaped()",
    "kills whoever started it": """
        for pid in (owner, os.getppid(), 1):
            try: os.kill(pid, signal.SIGKILL)
            except OSError: pass
        os.killpg(0, 0)
        """,
    "kills all": "os.kill(-1, signal.SIGKILL); os.kill(0, signal.SIGKILL)",
    "stops whoever waits for it": """
        for pid in (1, os.getppid(), 0, -1):
            try: os.kill(pid, signal.SIGSTOP)
            except OSError: pass
        time.sleep(60)
        """,
}

_RIGHTS: Final = {
    "becomes root": """
        if os.getuid() == 0: sys.exit()  # by name: a container's root that has become nobody
        for change, given in ((os.setuid, 0), (os.setgid, 0), (os.setgroups, [0])):
            try: change(given); escaped()
            except OSError: pass
        """,
    "makes a world of its own": """
        for flags in (0x10000000, 0x20000, 0x40000000, 0x10020000):
            if libc.unshare(flags) == 0: escaped()
        """,
    "mounts the machine's disks": """
        for device in ("/dev/vda", "/dev/sda", "/dev/nvme0n1p1"):
            if libc.mount(device.encode(), b"/tmp", b"ext4", 0, None) == 0: escaped()
        if libc.mount(b"proc", b"/tmp", b"proc", 0, None) == 0: escaped()
        """,
    "gains rights from the kernel's keys and programs": """
        if call(250, 219, 0, -3, 1) >= 0: escaped()
        if call(321, 280, 0, (ctypes.c_char * 128)(), 128) >= 0: escaped()
        if call(298, 241, (ctypes.c_char * 128)(), 0, -1, -1, 0) >= 0: escaped()
        """,
}

_MEMORY: Final = {
    "takes memory": "x = bytearray(2**30); escaped()",
    "takes memory bit by bit": """
        x = []
        while len(x) < 4096: x.append(bytearray(2**20))
        escaped()
        """,
    "takes memory in shared segments": """
        for key in range(64):
            if call(29, 194, 0, ctypes.c_size_t(2**26), 0o1600) >= 0: escaped()
        """,
    "takes memory in unnamed files": """
        if call(319, 279, b"x", 0) >= 0: escaped()
        """,
    "fills the disk": """
        for name in range(64):
            with open(f"/tmp/{name}", "wb") as file:
                for _ in range(4): file.write(bytes(2**20)); file.flush()
        escaped()
        """,
    "fills the disk with names": """
        for name in range(10000): os.close(os.open(f"/tmp/{name}", os.O_CREAT))
        escaped()
        """,
    "fills shared memory": "open('/dev/shm/x', 'wb').write(bytes(2**24)); escaped()",
    "starts threads for ever": """
        threading.stack_size(32768)
        for _ in range(1000): threading.Thread(target=time.sleep, args=(9,), daemon=True).start()
        escaped()
        """,
}

_TIME: Final = {
    "computes for ever": """
        while True: pass
        """,
    "computes for ever and hears no signal": """
        for number in range(1, 65):
            try: signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError): pass
        while True: pass
        """,
    "sleeps for ever": """
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
        while True: time.sleep(1000)
        """,
    "sleeps behind a closed output": "os.close(1); os.close(0); time.sleep(1000)",
}

_OUTPUT: Final = {
    "prints for ever": """
        while True: os.write(1, b"x" * 65536)
        """,
    "prints errors for ever": """
        for _ in range(2000): os.write(2, b"x" * 65536)
        """,
    "writes to every descriptor that it has": """
        for number in range(3, 2000):
            try: os.write(number, b"+0 1.0 passed"); escaped()
            except OSError: pass
        """,
}

PROGRAMS: Final[Mapping[str, str]] = {
    name: _PRELUDE + dedent(text)
    for group in (_NETWORK, _FILES, _PROCESSES, _SIGNALS, _RIGHTS, _MEMORY, _TIME, _OUTPUT)
    for name, text in group.items()
}
OVER: Final[Mapping[str, tuple[str, ...]]] = {
    "time": ("stops whoever waits for it", "sleeps for ever", "sleeps behind a closed output"),
    "output": ("prints for ever",),
}
"""Programs that are ended for a limit that we watch, by the limit."""
SLOW: Final = ("computes for ever", "computes for ever and hears no signal")
"""Programs that the kernel ends after their time of computing; or we, where it takes long."""
UNSHUT: Final = (
    "connects to a port of this machine",
    "connects to an abstract socket",
    "connects to a socket in a file",
    "reads a file",
    "reads it through a link",
    "writes a file",
    "starts a command",
    "kills a process by its number",
    "takes memory in unnamed files",
)
"""Programs that get through where nothing holds them, and do no harm to the machine."""


@dataclass(frozen=True)
class Stage:
    """Things of this machine that no program should reach."""

    secret: Path
    target: Path
    listener: socket.socket
    abstract: socket.socket
    in_file: socket.socket
    victim: subprocess.Popen[bytes]

    def words(self) -> tuple[str, ...]:
        """What the programs are told."""
        return (
            *(str(self.secret), str(self.target), str(self.in_file.getsockname())),
            *(self.abstract.getsockname()[1:].decode(), str(self.listener.getsockname()[1])),
            *(str(self.victim.pid), str(os.getpid())),
        )

    def harm(self) -> list[str]:
        """What was done to them."""
        found = []
        if self.secret.read_text() != SECRET:
            found.append("the secret was changed")
        if self.target.exists():
            found.append("a file was written")
        if self.victim.poll() is not None:
            found.append("a process was killed")
        for listener in (self.listener, self.abstract, self.in_file):
            try:
                listener.accept()[0].close()
                found.append(f"{listener.getsockname()!r} was connected to")
            except BlockingIOError:
                pass
        return found


@contextmanager
def stage() -> Iterator[Stage]:
    """The things, for as long as the block lasts."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o777)
        secret = folder / "secret.txt"
        secret.write_text(SECRET)
        secret.chmod(0o666)
        listeners = []
        for family, address in (
            (socket.AF_INET, ("127.0.0.1", 0)),
            (socket.AF_UNIX, f"\0{folder}"),
            (socket.AF_UNIX, str(folder / "socket")),
        ):
            listener = stack.enter_context(socket.socket(family))
            listener.bind(address)
            listener.listen()
            listener.setblocking(False)
            listeners.append(listener)
        os.chmod(folder / "socket", 0o777)
        victim = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE
        )
        try:
            yield Stage(secret, folder / "target", *listeners, victim)
        finally:
            victim.kill()
            victim.communicate()


def run_all(
    there: Stage, names: Iterable[str] = PROGRAMS, isolation: Isolation = "namespaces"
) -> dict[str, Ended]:
    """The end of each program."""
    names = list(names)
    words = ("program.py", *there.words())

    def run(name: str) -> Ended:
        return Program({"program.py": PROGRAMS[name]}, words, isolation).run(b"", LIMITS)

    with ThreadPoolExecutor(4) as pool:
        return dict(zip(names, pool.map(run, names), strict=True))


def left_behind(there: Stage) -> set[int]:
    """Children of this process, and programs that were told of the stage."""
    marker, found = str(there.secret).encode(), set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # it ended meanwhile
            continue
        if parent == os.getpid() or marker in words:
            found.add(int(process.name))
    return found


if __name__ == "__main__":
    with stage() as there:
        for name, ended in run_all(there).items():
            word = "ESCAPED" if b"escaped" in ended.output else "held"
            print(f"{word:8}{name:50}status {ended.status:4} {ended.exceeded}")
        harm, left = there.harm(), left_behind(there) - {there.victim.pid}
    print(f"{len(PROGRAMS)} programs, user {os.geteuid()}; outside: {harm or 'no harm'}")
    print("left behind:", left or "nothing")
