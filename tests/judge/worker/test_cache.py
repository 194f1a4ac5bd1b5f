"""Verdicts already known."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from rvpo.errors import ConfigError
from rvpo.judge.worker.cache import Cache, CacheError, shrink

FILL = """
import asyncio, sys
from pathlib import Path
from rvpo.judge.worker.cache import Cache

async def main(path, offset):
    cache = Cache(Path(path))
    await asyncio.gather(*(cache.put(b"%d" % (offset + n), 1.0, "") for n in range(200)))
    print("stored", flush=True)
    sys.stdin.read()

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


def test_what_was_put_is_known_to_whoever_opens_the_file_next(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "cache.sqlite"

    async def run() -> None:
        cache = Cache(path)
        assert cache.get(b"a") is None
        await asyncio.gather(cache.put(b"a", 1.0, "so \ud800 it is"), cache.put(b"b", 0.0, ""))
        assert cache.get(b"a") == (1.0, "so \ud800 it is")
        await cache.close()
        again = Cache(path)
        assert again.get(b"b") == (0.0, "")
        await again.close()

    asyncio.run(run())
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        for (verdict,) in connection.execute("SELECT verdict FROM verdicts"):
            assert set(json.loads(verdict)) == {"value", "reason"}


@pytest.mark.parametrize(
    ("kind", "journal"), [("nfs4", "delete"), ("fuse.sshfs", "delete"), ("ext4", "wal")]
)
def test_a_disk_that_machines_share_gets_the_journal_that_they_can_share(
    tmp_path: Path, kind: str, journal: str
) -> None:
    path, mounts = tmp_path / "cache.sqlite", tmp_path / "mounts"
    mounts.write_text(f"22 1 0:21 / / rw - {kind} server:/export rw\n")

    async def run(*mounts: Path) -> None:
        cache = Cache(path, *mounts)
        await cache.put(b"a", 1.0, "")
        assert cache.get(b"a") == (1.0, "")
        await cache.close()

    asyncio.run(run())  # a file from a disk of one machine
    asyncio.run(run(mounts))
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == (journal,)


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "{",
        "null",
        "[1]",
        "[" * 100_000,
        b"\xff",
        1.0,
        '{"value": 1}',
        '{"value": true, "reason": ""}',
        '{"value": null, "reason": ""}',
        '{"value": NaN, "reason": ""}',
        '{"value": 2, "reason": ""}',
        '{"value": -1e999, "reason": ""}',
        '{"value": "1", "reason": ""}',
        '{"value": 1, "reason": null}',
    ],
)
def test_a_damaged_entry_is_unknown_and_gives_way_to_the_next(
    tmp_path: Path, entry: str | bytes | float
) -> None:
    path = tmp_path / "cache.sqlite"

    async def run() -> None:
        cache = Cache(path)
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("INSERT INTO verdicts VALUES (?, CAST(? AS TEXT))", (b"a", entry))
        assert cache.get(b"a") is None
        await cache.put(b"a", 0.5, "so")
        assert cache.get(b"a") == (0.5, "so")
        await cache.close()
        await Cache(path).close()

    asyncio.run(run())


@pytest.mark.parametrize("content", [b"not a database, but long enough to be one" * 100, b"{}"])
def test_a_file_that_is_no_database_is_one_clear_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cache.sqlite"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"judge\.cache: .*cache\.sqlite cannot be used as a cac"):
        Cache(path)
    assert path.read_bytes() == content


def test_a_folder_that_cannot_be_made_is_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"judge\.cache"):
        Cache(tmp_path / "file" / "cache.sqlite")


def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE verdicts (name TEXT)")
    with pytest.raises(ConfigError, match="no such column"):
        Cache(path)


def test_processes_that_start_and_write_together_lose_nothing_even_when_killed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "cache.sqlite"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", FILL, str(path), str(1000 * number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for number in range(3)
    ]
    for process in processes:
        with process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"stored\n"
            process.kill()

    async def known() -> int:
        cache = Cache(path)
        keys = [b"%d" % (1000 * number + n) for number in range(3) for n in range(200)]
        count = sum(cache.get(key) == (1.0, "") for key in keys)
        await cache.close()
        return count

    assert asyncio.run(known()) == 600


def test_a_locked_file_delays_writers_and_neither_readers_nor_the_loop(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"

    async def run() -> None:
        cache = Cache(path)
        await cache.put(b"a", 1.0, "")
        with closing(sqlite3.connect(path, check_same_thread=False)) as other:
            other.execute("BEGIN IMMEDIATE")
            release = threading.Timer(0.3, other.rollback)
            release.start()
            started = time.monotonic()
            writing = asyncio.create_task(cache.put(b"b", 1.0, ""))
            longest = 0.0
            while not writing.done():
                before = time.monotonic()
                assert cache.get(b"a") == (1.0, "")
                await asyncio.sleep(0.01)
                longest = max(longest, time.monotonic() - before)
            release.join()
            assert time.monotonic() - started >= 0.3
            assert longest < 0.2
        assert cache.get(b"b") == (1.0, "")
        await cache.close()

    asyncio.run(run())


def test_a_file_that_cannot_be_written_says_so_and_does_not_keep_a_verdict(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"

    async def run() -> None:
        cache = Cache(path)
        with closing(sqlite3.connect(path)) as other:
            other.execute("DROP TABLE verdicts")
        with pytest.raises(CacheError, match=r"^cache: no such table: verdicts$"):
            await cache.put(b"a", 1.0, "")
        with pytest.raises(CacheError, match=r"^cache: no such table: verdicts$"):
            cache.get(b"a")
        await cache.close()

    asyncio.run(run())


def test_a_cache_that_is_too_large_keeps_what_fits(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"

    async def fill(first: int) -> None:
        cache = Cache(path)
        await asyncio.gather(
            *(cache.put(key_of(n), 1.0, "x" * 300) for n in range(first, first + 1500))
        )
        await cache.close()

    def key_of(number: int) -> bytes:
        return hashlib.sha256(str(number).encode()).digest()

    asyncio.run(fill(0))
    size = path.stat().st_size
    assert shrink(path, 2 * size) == 0
    dropped = shrink(path, size // 2)
    assert 600 < dropped < 1100
    cache = Cache(path)
    left = sum(cache.get(key_of(n)) == (1.0, "x" * 300) for n in range(1500))
    asyncio.run(cache.close())
    assert left == 1500 - dropped
    assert shrink(path, size // 2) == 0
