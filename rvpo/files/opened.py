"""Files opened to be read, compressed or not."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from rvpo.errors import DataError

_OPENERS: Final[Mapping[bytes, Callable[[Path], Any]]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
"""Readers of compressed files, by the bytes with which such a file begins."""
_NAMES: Final = (".gz", ".bz2", ".xz")
_LONGEST: Final = max(map(len, _OPENERS))


def kind_of(path: Path) -> str:
    """The suffix that tells what is in a file, in lower case, such as ".jsonl" of rows.JSONL.gz."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _NAMES:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


@contextmanager
def opened(path: Path, where: str) -> Iterator[IO[bytes]]:
    """The bytes of a file, decompressed on the way.

    Args:
        where: begins every message.

    Raises:
        DataError: it cannot be opened or, while it is read, turns out to be damaged.
    """
    try:
        with (_opener(path) or _plain)(path) as file:
            yield file
    # gzip.BadGzipFile is an OSError; one that ends too early is an EOFError.
    except (zlib.error, lzma.LZMAError, EOFError, gzip.BadGzipFile) as error:
        raise DataError(f"{where} is damaged ({error}); give a whole file") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"{where} cannot be read ({reason})") from error


def is_compressed(path: Path) -> bool:
    """True of a file that `opened` decompresses.

    Raises:
        OSError: it cannot be read.
    """
    return _opener(path) is not None


def _opener(path: Path) -> Callable[[Path], Any] | None:
    with path.open("rb") as raw:
        begins = raw.read(_LONGEST)
    found = (opener for magic, opener in _OPENERS.items() if begins.startswith(magic))
    return next(found, None)


def _plain(path: Path) -> IO[bytes]:
    return path.open("rb")
