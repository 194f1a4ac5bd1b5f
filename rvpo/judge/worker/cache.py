"""Verdicts already known, in a file that runs and workers share."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from rvpo.config.judges import OWN
from rvpo.errors import ConfigError
from rvpo.runtime.mount import MOUNTS, network_disk

_GATHER_S: Final = 0.003
"""Seconds for which verdicts are gathered for one transaction."""
_BUSY_S: Final = 1.0
"""Seconds that SQLite waits for another process's transaction before we look whether to go on."""
_PATIENCE_S: Final = 30.0
"""Seconds that one transaction may be kept waiting altogether."""

_SETUP: Final = """
    PRAGMA synchronous = NORMAL;
    CREATE TABLE IF NOT EXISTS verdicts (key BLOB PRIMARY KEY, verdict TEXT NOT NULL) WITHOUT ROWID;
"""


class CacheError(Exception):
    """A cache that stopped working. Its text is a reason that repeats, to be counted."""


class Cache:
    """A table from what a judge saw to what it said, in SQLite.

    Reading takes microseconds and waits for nobody, so it happens in the event loop; writing has
    a thread of its own, a transaction every few milliseconds. On a disk that other machines share,
    reading waits for a transaction: SQLite's write-ahead log needs memory that all who use the
    file share (sqlite.org/wal.html).

    Args:
        path: the file, made if missing.
        mounts: see `network_disk`.
        where: the section of the judge, for messages.

    Raises:
        ConfigError: it cannot be made or opened, or is no cache.
    """

    def __init__(self, path: Path, mounts: Path = MOUNTS, where: str = OWN) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _set_up(path, _journal(path, mounts))
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(
                f"{where}.cache: {path} cannot be used as a cache ({error}); give another path, "
                "or move the file away if it is damaged or no SQLite file"
            ) from error
        self._reader = _connect(path)
        self._writer = _connect(path)
        self._thread = ThreadPoolExecutor(1, "judge-cache")
        self._unwritten: list[tuple[bytes, str, asyncio.Future[None]]] = []
        self._flushing: asyncio.Task[None] | None = None
        self._closing = False

    def get(
        self, key: bytes, is_trusted: Callable[[str], bool] = lambda model: True
    ) -> tuple[float, str] | None:
        """The (value, reason) known for a key. A damaged entry is none, and will be replaced.

        Args:
            is_trusted: True for a model whose verdicts count, given its name; empty where unknown.

        Raises:
            CacheError: the file cannot be read.
        """
        try:
            row = self._reader.execute(
                "SELECT verdict FROM verdicts WHERE key = ?", (key,)
            ).fetchone()
        except sqlite3.Error as error:
            raise CacheError(f"cache: {error}") from error
        return None if row is None else _verdict(row[0], is_trusted)

    async def put(self, key: bytes, value: float, reason: str, model: str = "") -> None:
        """Write a verdict, and return when it is in the file, where the end of this process cannot
        lose it.

        Args:
            model: the one that gave it, as it calls itself; empty where it does not.

        Raises:
            CacheError: the file cannot be written.
        """
        written = asyncio.get_running_loop().create_future()
        verdict = {"value": value, "reason": reason} | ({"model": model} if model else {})
        self._unwritten.append((key, json.dumps(verdict), written))
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())
        await written

    async def close(self) -> None:
        """Write what is left, unless the file is locked, and close it."""
        self._closing = True
        if self._flushing is not None:
            await self._flushing
        self._thread.shutdown()
        self._writer.close()
        self._reader.close()

    async def _flush(self) -> None:
        while self._unwritten:
            await asyncio.sleep(_GATHER_S)
            batch, self._unwritten = self._unwritten, []
            failure: CacheError | None = None
            try:
                await asyncio.get_running_loop().run_in_executor(
                    self._thread, self._write, [(key, verdict) for key, verdict, _ in batch]
                )
            except sqlite3.Error as error:
                failure = CacheError(f"cache: {error}")
            for _, _, written in batch:
                if written.done():  # cancelled meanwhile
                    continue
                if failure is None:
                    written.set_result(None)
                else:
                    written.set_exception(failure)
        self._flushing = None

    def _write(self, rows: Sequence[tuple[bytes, str]]) -> None:
        until = time.monotonic() + _PATIENCE_S
        while True:
            try:
                with self._writer:
                    self._writer.executemany("INSERT OR REPLACE INTO verdicts VALUES (?, ?)", rows)
                return
            except sqlite3.OperationalError as error:
                if not _is_busy(error) or self._closing or time.monotonic() > until:
                    raise


def shrink(path: Path, most: int, mounts: Path = MOUNTS, where: str = OWN) -> int:
    """Drop verdicts until those that are left take no more than nine tenths of so many bytes.

    Keys are digests, so that a stretch of them is a sample of all. The file does not get smaller:
    its free pages are filled again.

    Args:
        mounts: see `network_disk`.
        where: the section of the judge, for messages.

    Returns:
        The number of verdicts dropped; 0 where they take no more than `most` bytes.

    Raises:
        ConfigError: the file cannot be changed, or is no cache.
    """
    try:
        _set_up(path, _journal(path, mounts))
        with closing(_connect(path, _PATIENCE_S)) as connection:
            if _used(connection) <= most:
                return 0
            dropped, first = 0, os.urandom(1)[0]
            for byte in (*range(first, 256), *range(first)):
                if _used(connection) <= 0.9 * most:
                    break
                # Each for itself, for other runs write in between.
                with connection:
                    dropped += connection.execute(
                        "DELETE FROM verdicts WHERE key BETWEEN ? AND ?",
                        (bytes([byte]), bytes([byte]) + b"\xff" * 64),
                    ).rowcount
            return dropped
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(
            f"{where}.cache: {path} cannot be made smaller ({error}); give another path, or leave "
            f"{where}.cache_gb out"
        ) from error


def _used(connection: sqlite3.Connection) -> int:
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def _verdict(entry: Any, is_trusted: Callable[[str], bool]) -> tuple[float, str] | None:
    """The (value, reason) in a cell, which may hold anything."""
    try:
        verdict = json.loads(entry)
        value, reason, model = verdict["value"], verdict["reason"], verdict.get("model", "")
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None
    if not isinstance(model, str) or not is_trusted(model):
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= 1 or not isinstance(reason, str):
        return None
    return float(value), reason


def _connect(path: Path, patience_s: float = _BUSY_S) -> sqlite3.Connection:
    # The writer is opened by one thread and used by another, never by two at once.
    connection = sqlite3.connect(path, timeout=patience_s, check_same_thread=False)
    connection.text_factory = bytes  # a cell that is no UTF-8 is damage, and shall not raise
    return connection


def _journal(path: Path, mounts: Path) -> str:
    """SQLite's fast journal, or the one that a disk shared by machines can keep."""
    return "WAL" if network_disk(path, mounts) is None else "DELETE"


def _set_up(path: Path, journal: str) -> None:
    until = time.monotonic() + _PATIENCE_S
    with closing(_connect(path)) as connection:
        while True:
            try:
                connection.executescript(f"PRAGMA journal_mode = {journal};{_SETUP}")
                connection.execute("SELECT key, verdict FROM verdicts LIMIT 1").fetchone()
                return
            except sqlite3.OperationalError as error:
                # Workers start together, and a change of the journal does not wait for its turn.
                if not _is_busy(error) or time.monotonic() > until:
                    raise
                time.sleep(0.01)


def _is_busy(error: sqlite3.Error) -> bool:
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
