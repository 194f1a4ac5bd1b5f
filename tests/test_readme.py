"""What the README shows is what there is."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.pages import ROOT, block, text_of

LONGEST = 130
"""Lines: it is a door, not a manual."""


def test_it_is_short() -> None:
    assert len(text_of(ROOT / "README.md").splitlines()) <= LONGEST


def test_the_library_snippet_prints_advantages(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    exec(block("python", "print(advantages.values").code, names)
    advantages = names["advantages"].values
    assert int(advantages.argmax()) == 2  # the sample that is correct and brief
    assert "tensor" in capsys.readouterr().out


def test_the_loop_is_that_of_the_code() -> None:
    shown = re.sub(r"\s*#.*", "", block("python", "for step in steps").code)
    loop = text_of(ROOT / "rvpo" / "trainer" / "loop.py")
    code = iter(
        re.findall(
            r"[\w.]+\(", loop.partition("stream.refresh")[1] + loop.partition("stream.refresh")[2]
        )
    )
    calls = re.findall(r"[\w.]+\(", shown)
    assert [
        call for call in calls if call not in code
    ] == []  # `in` goes on where it found the last
    lines = {re.sub(r"\s*#.*", "", line).strip() for line in loop.splitlines()}
    assert [
        line for line in shown.splitlines() if "..." not in line and line.strip() not in lines
    ] == []


def test_every_page_is_linked_to() -> None:
    readme = text_of(ROOT / "README.md")
    top = [page.name for page in (ROOT / "docs").glob("*.md")]
    assert [name for name in top if f"](docs/{name})" not in readme] == []
