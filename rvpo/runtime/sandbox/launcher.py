"""The process that shuts itself in and then becomes the program.

    outer (sees the machine; waits) → init (number 1 in its own world; waits) → the program

The outer process answers for the rest: when it has ended, nothing of the program is left, for the
kernel ends a world of processes with its number 1. Only the standard library is imported.
"""

from __future__ import annotations

import errno
import marshal
import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, NoReturn

from rvpo.runtime.sandbox import filter as seccomp
from rvpo.runtime.sandbox import kernel

STARTED: Final = b"+"
"""The launcher's word that the program begins; anything else is why it cannot."""

_ROOT: Final = "/tmp"  # any folder: the new root is mounted over it, for this process alone
_OLD: Final = "/old"
_WORK: Final = "/tmp"
_DEVICES: Final = ("null", "zero", "random", "urandom")
_MIB: Final = 2**20
_MOST_THREADS: Final = 64
_MOST_FILES: Final = 64
_OUR_IDS: Final = 2**30
"""First of the user numbers that programs run under where this process is root: one for each, so
that the limit of threads is its own."""
_OWN_WORLD: Final = (
    kernel.CLONE_NEWNS
    | kernel.CLONE_NEWPID
    | kernel.CLONE_NEWNET
    | kernel.CLONE_NEWIPC
    | kernel.CLONE_NEWUTS
    | kernel.CLONE_NEWCGROUP
)


def main() -> None:
    """Read what to run from one descriptor, and say how it began on another.

    The arguments are the two descriptors. The exit status is the program's; 128 + its number where
    a signal ended it.
    """
    spec_from, status_to = map(int, sys.argv[1:3])
    try:
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        with open(spec_from, "rb") as file:
            file.seek(0)
            spec = marshal.load(file)  # from the process that started this one
        os.set_inheritable(status_to, False)
        if spec["isolated"]:
            ids = _OUR_IDS + os.getpid()
            is_root = os.geteuid() == 0
            _enter_own_world(ids)
            _run_as_init(spec, status_to, ids if is_root else None)
        _become(spec, status_to)
    except OSError as error:
        text = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        os.write(status_to, text.encode())
        os._exit(1)


def _enter_own_world(ids: int) -> None:
    """Leave the machine's processes, network and mounts.

    Root does it as root. Anyone else does it in a user namespace, where they have no rights over
    anything outside; so does a root without the rights of one, as in many containers.

    Args:
        ids: number of the user and the group that the program is to be.
    """
    try:
        kernel.unshare(_OWN_WORLD)
    except PermissionError:
        with _mapping(ids):
            kernel.unshare(_OWN_WORLD | kernel.CLONE_NEWUSER)


@contextmanager
def _mapping(ids: int) -> Iterator[None]:
    """Say who this process is in the user namespace that it enters in the block.

    A user is themselves there, under another number. Root is that as well, and can become a user of
    whom the machine has nothing: a process that stays outside says so, for nobody inside may.
    """
    user, group = os.geteuid(), os.getegid()
    if user != 0:
        yield
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{_OUR_IDS} {user} 1")
        _write("/proc/self/gid_map", f"{_OUR_IDS} {group} 1")
        return
    entered, enter = os.pipe()
    outside = os.getpid()
    helper = os.fork()
    if not helper:
        os.close(enter)
        if not os.read(entered, 1):  # it could not
            os._exit(1)
        try:
            for kind in ("uid", "gid"):
                _write(f"/proc/{outside}/{kind}_map", f"{_OUR_IDS} 0 1\n{ids} {ids} 1\n")
        except OSError:
            os._exit(1)
        os._exit(0)
    os.close(entered)
    try:
        yield
        os.write(enter, b"+")
    finally:
        os.close(enter)
        _, status = os.waitpid(helper, 0)
    if status:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), "uid_map")


def _run_as_init(spec: dict[str, Any], status_to: int, ids: int | None) -> None:
    """Fork the world's first process, which returns from here in a process of its own, the program.

    This one waits for it, and ends it when it is told to end.

    Args:
        ids: user and group to become.
    """
    lifeline, held = os.pipe()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    init = os.fork()
    if init:
        signal.signal(signal.SIGTERM, lambda *_: os.kill(init, signal.SIGKILL))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    if init:
        os.close(lifeline)
        _let_go(status_to)
        _exit_as(init)
    os.close(held)
    _move_house(spec)
    kernel.forgo_capabilities()
    if ids is not None:
        _become_nobody(ids)
    kernel.drop_capabilities()
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)  # the program is not to look into this process
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    os.set_blocking(lifeline, False)
    if _is_closed(lifeline):  # the outer process ended before the line above
        os._exit(1)
    program = os.fork()
    if program:
        _let_go(status_to)
        _exit_as(program)
    os.close(lifeline)


def _exit_as(child: int) -> NoReturn:
    """Wait for a child and end as it did."""
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


def _is_closed(pipe: int) -> bool:
    try:
        return not os.read(pipe, 1)
    except BlockingIOError:
        return False


def _let_go(status_to: int) -> None:
    """Close the program's descriptors here, so that they end with the program."""
    for descriptor in (0, 1, 2, status_to):
        os.close(descriptor)


def _move_house(spec: dict[str, Any]) -> None:
    """Make a root of the folders that a program may read, and of an empty one to work in."""
    kernel.mount("none", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
    safe = kernel.MS_NOSUID | kernel.MS_NODEV
    kernel.mount("tmpfs", _ROOT, "tmpfs", kernel.MS_NOSUID, "size=1m,mode=755")
    os.chdir(_ROOT)
    os.mkdir(_ROOT + _OLD)
    kernel.pivot_root(".", "." + _OLD)
    os.chdir("/")
    os.mkdir(_WORK)
    space = f"size={spec['files_mb']}m,nr_inodes=4096,mode=1777"
    kernel.mount("tmpfs", _WORK, "tmpfs", safe, space)
    for source, target in spec["shown"]:
        _show(_OLD + source, target)
    for name in _DEVICES:
        _place(f"/dev/{name}", is_folder=False)
        kernel.mount(f"{_OLD}/dev/{name}", f"/dev/{name}", "", kernel.MS_BIND)
    os.mkdir("/dev/shm")
    kernel.unmount(_OLD)
    os.rmdir(_OLD)
    flags = kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY | kernel.MS_NOSUID
    kernel.mount("none", "/", "", flags)


def _show(source: str, target: str) -> None:
    if os.path.islink(source):
        _place(os.path.dirname(target), is_folder=True)
        os.symlink(os.readlink(source), target)
        return
    _place(target, is_folder=os.path.isdir(source))
    kernel.mount(source, target, "", kernel.MS_BIND | kernel.MS_REC)
    kernel.make_read_only(target)


def _place(path: str, *, is_folder: bool) -> None:
    """Make the folder or the empty file that something is mounted on."""
    os.makedirs(path if is_folder else os.path.dirname(path), mode=0o755, exist_ok=True)
    if not is_folder:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))


def _become_nobody(number: int) -> None:
    """Give up root, for a user that has no files and no other processes.

    Where a container has but the numbers of 16 bits it is one of those that no account has; where
    it has root's alone, root there is somebody else outside, and without rights it is nobody.
    """
    with suppress(PermissionError):
        os.setgroups([])
    for each in (number, 60000 + number % 5000):
        with suppress(OSError):
            os.setresgid(each, each, each)
            os.setresuid(each, each, each)
            return


def _become(spec: dict[str, Any], status_to: int) -> NoReturn:
    """Take the limits on and run the program in this process."""
    if spec["isolated"]:
        os.setsid()  # signals to its group are to reach nobody outside
    os.chdir(_WORK if spec["isolated"] else spec["folder"])
    for name, text in spec["files"].items():
        os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
        _write(name, text)
    _limit(spec)
    if spec["isolated"]:
        seccomp.install()
    os.write(status_to, STARTED)
    os.execve(spec["command"][0], spec["command"], spec["environment"])


def _limit(spec: dict[str, Any]) -> None:
    seconds, files = spec["seconds"], spec["files_mb"] * _MIB
    limits = {
        resource.RLIMIT_CPU: (seconds, seconds + 1),  # SIGXCPU, then SIGKILL
        resource.RLIMIT_AS: (spec["memory_mb"] * _MIB,) * 2,
        resource.RLIMIT_FSIZE: (files, files),
        resource.RLIMIT_NOFILE: (_MOST_FILES, _MOST_FILES),
        resource.RLIMIT_CORE: (0, 0),
    }
    if spec["isolated"]:  # elsewhere it would count all processes of the user
        limits[resource.RLIMIT_NPROC] = (_MOST_THREADS, _MOST_THREADS)
    for what, (soft, hard) in limits.items():
        _, most = resource.getrlimit(what)
        if most != resource.RLIM_INFINITY:
            soft, hard = min(soft, most), min(hard, most)
        resource.setrlimit(what, (soft, hard))


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8", errors="surrogatepass") as file:
        file.write(text)
