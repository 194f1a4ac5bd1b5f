"""The terminal shows where the run is, as a panel or as plain lines."""

from __future__ import annotations

import io
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from rvpo.report.display import Display, sparkline
from tests.fakes import make_record

METRICS = {
    "rewards/correct/mean": 0.125,
    "rewards/brief/mean": 0.4,
    "timing/generate": 5.1,
    "timing/update": 9.87,
    "timing/step": 15.0,
}


def display(*, terminal: bool) -> tuple[Display, io.StringIO]:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=80, color_system=None, _environ={})
    return Display(24, console), out


def test_without_a_terminal_each_step_is_one_plain_line():
    show, out = display(terminal=False)
    show.phase("loading the model")
    show(make_record(3, METRICS))
    show.say("checkpoint [3] saved")
    show.close()
    assert out.getvalue() == (
        "loading the model ...\n"
        "step 3/24  correct 0.12  brief 0.40  | generate 5.1 s  update 9.9 s  step 15.0 s\n"
        "checkpoint [3] saved\n"
    )


def test_a_reward_without_a_mean_is_shown_as_missing():
    show, out = display(terminal=False)
    show(make_record(1, {"rewards/brief/mean": 0.4}))
    assert "correct -  brief 0.40" in out.getvalue()


@pytest.mark.parametrize("terminal", [False, True])
def test_groups_that_were_left_out_are_said_and_why(terminal: bool):
    show, out = display(terminal=terminal)
    show(make_record(1, {**METRICS, "judge/skipped_groups": 1.0}))
    show.close()
    assert "1 of 2 groups left out: too many missing verdicts" in out.getvalue()
    show, out = display(terminal=terminal)
    show(make_record(1, {**METRICS, "judge/skipped_groups": 1.0}))
    show(make_record(2, {**METRICS, "judge/skipped_groups": 0.0}))
    show.close()
    assert "left out" not in out.getvalue().split("step 2/24")[-1]


@pytest.mark.parametrize("terminal", [False, True])
def test_episodes_without_a_score_are_said_in_every_step_with_their_commonest_reason(
    terminal: bool,
):
    show, out = display(terminal=terminal)
    broken = {
        "episodes/ended/tool_failed": 0.25,
        "episodes/ended/world_broken": 0.5,
        "episodes/missing/tool_failed: it is down": 1.0,
        "episodes/missing/world_broken: OSError": 2.0,
    }
    show(make_record(1, METRICS | broken))
    show.close()
    assert "3 of 4 episodes without a score: most often for world_broken: OSError" in out.getvalue()


def test_on_a_terminal_the_panel_shows_step_rewards_and_times():
    show, out = display(terminal=True)
    show.phase("loading the model")
    show(make_record(1, METRICS))
    show(make_record(2, METRICS))
    show.say("a message")
    show.close()
    text = out.getvalue()
    for part in ("loading the model", "step 2/24", "correct", "0.12", "update 9.9 s", "5:30 left"):
        assert part in text
    assert "a message\n" in text.replace("\x1b[2K", "").replace("\r", "")


def test_closing_twice_and_before_the_first_step_is_harmless():
    show, _ = display(terminal=True)
    show.close()
    show.close()


@pytest.mark.parametrize(
    ("history", "line"),
    [
        ([], ""),
        ([0.5], "▁"),
        ([0.2, 0.2], "▁▁"),
        ([0.0, 0.5, 1.0], "▁▅█"),
        ([0.0, math.nan, 1.0], "▁ █"),
        ([math.nan], " "),
    ],
)
def test_a_sparkline_runs_from_lowest_to_highest(history: list[float], line: str):
    assert sparkline(history) == line


@given(st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), max_size=300))
def test_a_sparkline_is_at_most_24_wide(history):
    assert len(sparkline(history, ascii_only=True)) == min(24, len(history))
    assert sparkline(history, ascii_only=True).isascii()
