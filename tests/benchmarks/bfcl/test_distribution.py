"""Where the wheel comes from."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest

from rvpo.benchmarks.bfcl.distribution import PINS, Wheel, find
from rvpo.errors import ConfigError
from tests.benchmarks.bfcl.rows import question, unpacked


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return unpacked(tmp_path / "unpacked", [question(0)], None)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no index to fill it from."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    return tmp_path / "cache" / "rvpo" / "bfcl"


def zipped(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.rglob("*.json"):
            archive.write(file, file.relative_to(folder))
    return path


def test_published_wheels_are_the_pinned_ones(wheel: Wheel) -> None:
    assert wheel.is_pinned
    assert find(wheel.version) == wheel
    assert find(wheel.version, wheel.path) == wheel


def test_a_wheel_and_what_it_was_unpacked_into_hold_the_same(folder: Path, tmp_path: Path) -> None:
    texts = [
        find("v4", path).text("BFCL_v4_multiple.json")
        for path in (folder, zipped(folder, tmp_path / "a.whl"))
    ]
    assert texts[0] == texts[1] != ""


def test_what_is_given_is_not_taken_for_the_published_wheel(folder: Path, tmp_path: Path) -> None:
    assert not find("v4", folder).is_pinned
    assert not find("v4", zipped(folder, tmp_path / "a.whl")).is_pinned


def test_bfcl_is_never_imported(wheel: Wheel) -> None:
    wheel.text(f"BFCL_{wheel.version}_multiple.json")
    assert not any(name.startswith("bfcl_eval") for name in sys.modules)


@pytest.mark.parametrize("given", ["absent", "text.whl", "unpacked"])
def test_what_is_no_wheel_of_the_version_is_refused(
    folder: Path, tmp_path: Path, given: str
) -> None:
    (tmp_path / "text.whl").write_text("no zip file")
    with pytest.raises(
        ConfigError, match=r"^benchmarks\.bfcl\.path: .*give the wheel of bfcl-eval==2025"
    ):
        find("v3", tmp_path / given)


def test_an_unknown_version_is_refused() -> None:
    with pytest.raises(ConfigError, match="no version 'v5'; choose from v3, v4"):
        find("v5")  # type: ignore[arg-type]


def test_a_file_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"BFCL_v4_parallel\.json is not there"):
        find("v4", folder).text("BFCL_v4_parallel.json")


def test_a_file_that_is_no_text_is_named(folder: Path) -> None:
    (folder / "bfcl_eval/data/BFCL_v4_parallel.json").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"BFCL_v4_parallel\.json cannot be read"):
        find("v4", folder).text("BFCL_v4_parallel.json")


def test_a_wheel_whose_content_is_damaged_is_named(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.whl"
    name = "bfcl_eval/data/BFCL_v4_multiple.json"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, "x" * 1000)
        at = archive.getinfo(name).header_offset + 30 + len(name)
    content = bytearray(path.read_bytes())
    content[at : at + 4] = b"\xff" * 4
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"BFCL_v4_multiple\.json cannot be read"):
        find("v4", path).text("BFCL_v4_multiple.json")


def test_without_index_and_cache_the_error_says_what_to_do(cache: Path) -> None:
    with pytest.raises(ConfigError, match="pip download --no-deps bfcl-eval==2026") as caught:
        find("v4")
    assert str(cache) in str(caught.value)
    assert "No matching distribution" in str(caught.value)
    assert "set benchmarks.bfcl.path to that file" in str(caught.value)
    assert not list(cache.iterdir())


def test_another_wheel_in_the_cache_is_refused(cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / PINS["v4"].file).write_text("cut off")
    with pytest.raises(ConfigError, match=r"is not the published wheel .*; delete it"):
        find("v4")


def test_another_wheel_from_the_index_is_refused(cache: Path, folder: Path, tmp_path: Path) -> None:
    release = PINS["v4"].release
    metadata = folder / f"bfcl_eval-{release}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Name: bfcl-eval\nVersion: {release}\n")
    (metadata / "WHEEL").write_text("Wheel-Version: 1.0\nTag: py3-none-any\n")
    with zipfile.ZipFile(tmp_path / PINS["v4"].file, "w") as archive:
        for file in folder.rglob("*"):
            archive.write(file, file.relative_to(folder))
    with pytest.raises(ConfigError, match="is not the published wheel"):
        find("v4")


def test_a_cache_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match="set XDG_CACHE_HOME to a folder that can be written"):
        find("v4")
