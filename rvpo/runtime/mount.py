"""Disks that other machines share, which keep fewer promises than one of this machine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

MOUNTS: Final = Path("/proc/self/mountinfo")
"""Linux's table of what is mounted, a line each (proc_pid_mountinfo(5))."""

_NETWORK: Final = (
    "nfs4?|lustre|smb3|smbfs|cifs|ceph|gpfs|beegfs|glusterfs|wekafs|panfs|pvfs2|orangefs|afs|9p"
    r"|virtiofs|fuse|fuse\..*"
)
_LOCAL_FUSE: Final = {"fuse.fuse-overlayfs", "fuse.lxcfs", "fuse.portal"}


def network_disk(path: Path, table: Path = MOUNTS) -> str | None:
    """Type of the file system where a file is or would be, such as nfs4, if other machines may
    share it: those of networks, and FUSE, behind which anything may be. None for others, and on
    systems that do not tell.

    Args:
        path: need not exist.
        table: mounts, as Linux lists them.
    """
    kind = _file_system(path.resolve(), table)
    if kind is None or kind in _LOCAL_FUSE or not re.fullmatch(_NETWORK, kind):
        return None
    return kind


def _file_system(path: Path, table: Path) -> str | None:
    try:
        lines = table.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    except OSError:  # another system
        return None
    found, longest = None, -1
    for line in lines:
        fields, dash, rest = line.partition(" - ")
        if not dash or fields.count(" ") < 4:
            continue
        place = Path(_unescaped(fields.split(" ")[4]))
        # Of two at one place, the later hides the earlier.
        if path.is_relative_to(place) and len(place.parts) >= longest:
            found, longest = rest.split(" ")[0], len(place.parts)
    return found


def _unescaped(text: str) -> str:
    """Spaces and the like are written as three octal digits."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
