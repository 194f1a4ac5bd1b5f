"""The documentation builds into a site that holds all it needs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rvpo.commands.settings import settings
from rvpo.report.metrics import METRICS
from tests.pages import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    return folder


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 10
    for page in pages:
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(
            r"<(?:script|link|img|iframe|source)\b[^>]*(?:src|href)=\"?([^\s\">]+)", text
        )
        assert [each for each in loaded if re.match(r"(https?:)?//", each)] == [], page.name


def test_it_has_every_setting_with_a_place_to_link_to(site: Path) -> None:
    page = (site / "settings.html").read_text(encoding="utf-8")
    ids = set(re.findall(r'id="([^"]+)"', page))
    assert {setting.path for setting in settings()} <= ids
    assert "learning rate" in page.lower()


def test_it_has_every_metric(site: Path) -> None:
    page = (site / "metrics.html").read_text(encoding="utf-8")
    assert [name for name in METRICS if f"<code>{name}</code>" not in page] == []


def test_links_out_of_the_site_are_names_of_files(site: Path) -> None:
    page = (site / "concepts.html").read_text(encoding="utf-8")
    assert "<code>rvpo/trainer/loop.py</code>" in page
    assert not re.search(r'href="?(\.\./)+rvpo', page)
