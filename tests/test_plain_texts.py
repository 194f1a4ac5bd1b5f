"""What users wrote is shown as they wrote it: it is no markup, no formula and no escape."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

from rvpo.benchmarks.benchmark import BenchmarkSummary, Score
from rvpo.config.run import load_config
from rvpo.evaluate.curve import draw_curve
from rvpo.report.curves import draw_curves
from rvpo.report.display import Display
from rvpo.report.picture import label
from rvpo.runtime.console import PlainConsole
from rvpo.runtime.terminal import printable
from tests.configs import tiny_settings

ODD = (
    *("[/]", "[bold]x", "$x_{$", "$", "_hidden", "__", ":smile:", "日本語", "ü", "a\x1b[31mb"),
    *("{}%", "\\frac", "<b>", "\x00", "\u202e"),
)
TEXTS = st.sampled_from(ODD) | st.text(st.characters(), max_size=12)


def console() -> PlainConsole:
    return PlainConsole(file=io.StringIO(), width=400, force_terminal=True, color_system=None)


def written(console: PlainConsole) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@given(TEXTS)
def test_a_console_shows_a_text_and_obeys_none(text: str) -> None:
    text = " ".join(text.split())
    table = Table(title=f"t{text}")
    table.add_column(f"c{text}")
    table.add_row(text)
    table.add_row(Text(printable(text)))
    shown = console()
    shown.print(text)
    shown.print(table)
    assert "\x1b" not in written(shown)
    assert written(shown).count(printable(text)) >= 5


@given(TEXTS)
def test_what_is_printable_moves_nothing_and_stays_when_shown_again(text: str) -> None:
    shown = printable(text)
    assert all(c.isprintable() or c in "\n\t" or c not in "\x00\x07\x08\x0d\x1b\x9b" for c in shown)
    assert printable(shown) == shown
    shown.encode("utf-8")


@given(TEXTS)
def test_the_display_says_an_id_as_it_is(text: str) -> None:
    text = " ".join(text.split())
    shown = console()
    Display(1, shown).say(f"row {text}")
    assert f"row {printable(text)}" in written(shown)


@pytest.mark.parametrize("text", ODD)
def test_curves_are_drawn_whatever_things_are_called(text: str, tmp_path: Path) -> None:
    rows = [{"step": step, f"rewards/{text}/mean": 0.5} for step in range(1, 4)]
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    draw_curves(metrics, [text], tmp_path / "curves.png", title=text)
    assert (tmp_path / "curves.png").exists()
    assert not label(text).startswith("_")


@pytest.mark.parametrize("text", ODD)
def test_scores_are_drawn_whatever_models_are_called(text: str, tmp_path: Path) -> None:
    score = Score(value=0.5, count=4, interval=(0.4, 0.6))
    summary = BenchmarkSummary(scores={text: score}, curves=(text,))
    models = {text: summary, f"{text}2": summary}
    draw_curve(text, models, dict.fromkeys(models), tmp_path / "curve.png")
    assert (tmp_path / "curve.png").exists()


def in_ascii(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "rvpo", *arguments],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    )


@pytest.mark.parametrize("name", ["\x1b[31mred\x07.yaml", "ü.yaml", b"\xff.yaml", "[/x].yaml"])
def test_an_error_shows_the_escapes_of_a_name(name: str | bytes, tmp_path: Path) -> None:
    path = os.path.join(os.fsencode(tmp_path), os.fsencode(name))
    done = in_ascii("show", "--config", os.fsdecode(path))
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
    assert b"no such file" in done.stderr
    assert not {0x1B, 0x07} & set(done.stderr)


def test_settings_shown_on_a_terminal_of_few_characters_read_back_equal(tmp_path: Path) -> None:
    settings = tiny_settings(Path("modèle"), tmp_path / "größe 日本", report={"project": "ü\x1b"})
    file = tmp_path / "ü.yaml"
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    done = in_ascii("show", "--config", str(file))
    assert done.returncode == 0, done.stderr
    shown = tmp_path / "shown.yaml"
    shown.write_bytes(done.stdout)
    assert load_config(shown) == load_config(file)
