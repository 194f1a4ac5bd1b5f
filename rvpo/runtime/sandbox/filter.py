"""A seccomp filter: the system calls that a program in the sandbox may not make.

Only the standard library is imported: a process that is about to be shut in loads this.
Source: Linux, Documentation/userspace-api/seccomp_filter.rst; struct sock_filter of linux/filter.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from rvpo.runtime.sandbox import kernel

_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_AT_LEAST: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_HAS_BITS: Final = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K
_ALLOW: Final = 0x7FFF0000
_KILL: Final = 0x80000000
_ERRNO: Final = 0x00050000
_NUMBER_AT, _MACHINE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16  # offsets in struct seccomp_data

_CLONE_THREAD: Final = 0x00010000
_NEWEST: Final = 462
"""Number of the newest system call that was looked at (mseal); later ones are said to be unknown.
So is everything of the x32 interface, whose numbers begin at 2^30."""
_SECCOMP_MODE_FILTER: Final = 2


class _Machine(NamedTuple):
    audit: int
    """AUDIT_ARCH_… of linux/audit.h: another interface, as of 32 bits, kills the program."""
    clone: int
    clone3: int
    denied: tuple[int, ...]


# Processes (one is enough, so that its limits are the limits of all), the memory that no limit
# counts, other processes, sockets, namespaces, mounts, keys, and what only administrators need.
_MACHINES: Final = {
    "x86_64": _Machine(
        0xC000003E,
        56,
        435,
        (
            *(57, 58),  # fork, vfork
            *(319, 447, 29, 30, 64, 68, 240),  # memfd_*, shmget, shmat, semget, msgget, mq_open
            *(101, 310, 311, 312, 434, 438, 440),  # ptrace, process_vm_*, kcmp, pidfd_*, …madvise
            *(41, 425, 426, 427),  # socket, io_uring_*
            *(
                272,
                308,
                155,
                161,
                165,
                166,
                428,
                429,
                430,
                431,
                432,
                433,
                442,
            ),  # namespaces, mounts
            *(248, 249, 250),  # add_key, request_key, keyctl
            *(135, 154, 172, 173, 298, 321, 323),  # personality, modify_ldt, io*, perf, bpf, uffd
            *(159, 163, 164, 167, 168, 169, 170, 171, 227, 305),  # clocks, swap, reboot, names
            *(103, 153, 175, 176, 179, 180, 212, 246, 300, 303, 304, 313, 320, 443),
            *(134, 136, 139, 156, 237, 238, 256, 279),  # uselib, sysfs, placement of memory
        ),
    ),
    "aarch64": _Machine(
        0xC00000B7,
        220,
        435,
        (
            *(279, 447, 194, 196, 190, 186, 180),
            *(117, 270, 271, 272, 434, 438, 440),
            *(198, 425, 426, 427),
            *(97, 268, 41, 51, 40, 39, 428, 429, 430, 431, 432, 433, 442),
            *(217, 218, 219),
            *(92, 241, 280, 282),
            *(171, 89, 170, 224, 225, 142, 161, 162, 112, 266),
            *(116, 58, 105, 106, 60, 42, 18, 104, 262, 264, 265, 273, 294, 443),
            *(235, 237, 238, 239),
        ),
    ),
}


def install() -> None:
    """Put the filter on this process and all that it will run. It cannot be taken off.

    Raises:
        OSError: the kernel has no such filters, or does not know this machine's kind.
    """
    machine = _MACHINES.get(os.uname().machine)
    if machine is None:
        raise OSError(errno.ENOSYS, f"{os.uname().machine} machines are not known", "seccomp")
    code = b"".join(struct.pack("HBBI", *each) for each in _instructions(machine))
    buffer = ctypes.create_string_buffer(code, len(code))

    class Filter(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))

    program = Filter(len(code) // 8, ctypes.addressof(buffer))
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.prctl(kernel.PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program))


def _instructions(machine: _Machine) -> Iterator[tuple[int, int, int, int]]:
    """(code, instructions to skip if true, if false, operand)."""
    yield _LOAD, 0, 0, _MACHINE_AT
    yield _EQUAL, 1, 0, machine.audit
    yield _RETURN, 0, 0, _KILL
    yield _LOAD, 0, 0, _NUMBER_AT
    yield _AT_LEAST, 0, 1, _NEWEST + 1
    yield _RETURN, 0, 0, _ERRNO | errno.ENOSYS
    yield _EQUAL, 0, 1, machine.clone3  # its flags lie in memory; C libraries then call clone
    yield _RETURN, 0, 0, _ERRNO | errno.ENOSYS
    for number in machine.denied:
        yield _EQUAL, 0, 1, number
        yield _RETURN, 0, 0, _ERRNO | errno.EPERM
    yield _EQUAL, 0, 3, machine.clone
    yield _LOAD, 0, 0, _FIRST_ARGUMENT_AT
    yield _HAS_BITS, 1, 0, _CLONE_THREAD
    yield _RETURN, 0, 0, _ERRNO | errno.EPERM
    yield _RETURN, 0, 0, _ALLOW
