"""Linux's calls that Python does not offer: namespaces, mounts, capabilities.

Only the standard library is imported: a process that is about to be shut in loads this.
"""

from __future__ import annotations

import ctypes
import errno
import os
from typing import Final

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWCGROUP: Final = 0x02000000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

MS_RDONLY: Final = 0x1
MS_NOSUID: Final = 0x2
MS_NODEV: Final = 0x4
MS_REMOUNT: Final = 0x20
MS_BIND: Final = 0x1000
MS_REC: Final = 0x4000
MS_PRIVATE: Final = 0x40000

_MNT_DETACH: Final = 2
_AT_FDCWD: Final = -100
_AT_RECURSIVE: Final = 0x8000
_MOUNT_ATTR_RDONLY_NOSUID_NODEV: Final = 0x1 | 0x2 | 0x4

PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_CAPBSET_DROP: Final = 24
PR_SET_SECCOMP: Final = 22
PR_SET_CHILD_SUBREAPER: Final = 36
PR_SET_NO_NEW_PRIVS: Final = 38
_PIDFD_OPEN: Final = 434  # on every machine
_CAPABILITY_VERSION_3: Final = 0x20080522
_MOST_CAPABILITIES: Final = 64

_NUMBERS: Final = {
    "x86_64": {"pivot_root": 155, "mount_setattr": 442, "capset": 126},
    "aarch64": {"pivot_root": 41, "mount_setattr": 442, "capset": 91},
}
"""Numbers of system calls that the C library has no function for, by machine."""

_libc: Final = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """Leave the namespaces of the parent. Raises OSError where the kernel does not allow it."""
    _checked(_libc.unshare(flags), "unshare")


def prctl(option: int, value: int, pointer: object = None) -> None:
    """Change a property of this process."""
    zero = ctypes.c_ulong(0)  # all 64 bits of it, which the kernel looks at
    given = zero if pointer is None else pointer
    _checked(_libc.prctl(option, ctypes.c_ulong(value), given, zero, zero), f"prctl({option})")


def pidfd_open(process: int) -> int:
    """A file descriptor that can be read once a process has ended; not every build of Python has
    `os.pidfd_open`."""
    return _checked(_libc.syscall(ctypes.c_long(_PIDFD_OPEN), process, 0), "pidfd_open")


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """Mount a file system, or bind a folder or a file to a second place."""
    texts = [text.encode() for text in (source, target, kind)]
    flag = ctypes.c_ulong(flags)
    _checked(_libc.mount(*texts, flag, data.encode() or None), f"mount({target})")


def unmount(target: str) -> None:
    """Take a mount and all below it away; it goes when nobody uses it any longer."""
    _checked(_libc.umount2(target.encode(), _MNT_DETACH), f"umount({target})")


def pivot_root(new: str, old: str) -> None:
    """Make a mount the root of all paths, and put the root that was there below it."""
    _syscall("pivot_root", new.encode(), old.encode())


def make_read_only(target: str) -> None:
    """Forbid writes, devices and set-user-id programs in a mount and in all below it."""
    attributes = (ctypes.c_uint64 * 4)(_MOUNT_ATTR_RDONLY_NOSUID_NODEV, 0, 0, 0)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    flags = ctypes.c_uint(_AT_RECURSIVE)
    _syscall("mount_setattr", _AT_FDCWD, target.encode(), flags, attributes, size)


def forgo_capabilities() -> None:
    """Rule out that this process, or one that it will run, gains a capability."""
    for capability in range(_MOST_CAPABILITIES):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError as error:
            if error.errno != errno.EINVAL:  # the kernel has fewer
                raise
            break


def drop_capabilities() -> None:
    """Give up the capabilities that this process has."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    _syscall("capset", header, nothing)


def _syscall(name: str, *arguments: object) -> None:
    numbers = _NUMBERS.get(os.uname().machine)
    if numbers is None:
        raise OSError(errno.ENOSYS, f"{os.uname().machine} machines are not known", name)
    _checked(_libc.syscall(ctypes.c_long(numbers[name]), *arguments), name)


def _checked(result: int, call: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), call)
    return result
