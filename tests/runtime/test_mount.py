"""A disk that other machines share is known as that."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvpo.runtime.mount import network_disk

TABLE = r"""22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
23 22 0:21 / /proc rw,relatime - proc proc rw
24 22 0:40 / /home rw,relatime shared:1 master:2 - nfs4 server:/home rw
25 24 8:1 / /home/me/scratch rw - xfs /dev/sdb1 rw
26 22 0:41 / /work\040space rw - lustre 10.0.0.1@tcp:/fs rw
27 22 0:42 / /twice rw - ext4 /dev/sdc rw
28 22 0:43 / /twice rw - cifs //host/share rw
29 22 0:44 / /bucket rw - fuse.s3fs s3fs rw
30 22 0:45 / /layers rw - fuse.fuse-overlayfs fuse-overlayfs rw
31 22 0:46 / /hom rw - tmpfs tmpfs rw
32 22 0:47 / /new rw - bcachefs - - odd - line rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/cache", None),
        ("/home/cache", "nfs4"),
        ("/home", "nfs4"),
        ("/homes/cache", None),
        ("/hom/cache", None),
        ("/home/me/scratch/deep/cache", None),
        ("/home/me/scratches/cache", "nfs4"),
        ("/work space/cache", "lustre"),
        ("/twice/cache", "cifs"),
        ("/bucket/cache", "fuse.s3fs"),
        ("/layers/cache", None),
        ("/new/cache", None),
    ],
)
def test_the_nearest_mount_counts(tmp_path: Path, path: str, kind: str | None) -> None:
    (tmp_path / "mounts").write_text(TABLE)
    assert network_disk(Path(path), tmp_path / "mounts") == kind


def test_a_link_leads_to_where_the_file_is(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "here")
    line = f"23 22 0:40 / {tmp_path / 'here'} rw - nfs server:/x rw\n"
    (tmp_path / "mounts").write_text(TABLE + line)
    assert network_disk(tmp_path / "link" / "cache", tmp_path / "mounts") == "nfs"


@given(content=st.binary(max_size=80))
def test_a_table_of_any_other_form_tells_nothing(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    table = tmp_path_factory.mktemp("mount") / "table"
    table.write_bytes(content)
    assert network_disk(Path("/cache"), table) is None
    assert network_disk(Path("/cache"), table.with_name("missing")) is None
