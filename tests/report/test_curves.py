"""Curves show what was logged, and say how it was smoothed."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rvpo.errors import CheckpointError
from rvpo.report.curves import draw_curves, trailing_mean


def write_history(path: Path, steps: int, **keys: str) -> Path:
    lines = [
        {
            "step": s,
            "rewards/a/mean": s / steps,
            "rewards/b/mean": 0.5,
            **dict.fromkeys(keys.values(), 0.5),
        }
        for s in range(1, steps + 1)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def png_size(path: Path) -> tuple[int, int]:
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", data[16:24])
    return width, height


@pytest.mark.parametrize("steps", [1, 2, 40])
def test_a_run_of_any_length_has_a_picture(tmp_path: Path, steps: int):
    draw_curves(
        write_history(tmp_path / "metrics.jsonl", steps), ["a", "b"], tmp_path / "x.png", "run"
    )
    assert png_size(tmp_path / "x.png")[0] > 1000


def test_logged_weights_get_a_panel_of_their_own(tmp_path: Path):
    plain, shared = tmp_path / "plain.png", tmp_path / "shared.png"
    draw_curves(write_history(tmp_path / "1.jsonl", 5), ["a", "b"], plain, "run")
    history = write_history(tmp_path / "2.jsonl", 5, weight="advantage/weight/a", k="rvpo/k")
    draw_curves(history, ["a", "b"], shared, "run")
    assert png_size(shared)[1] > png_size(plain)[1]


def test_a_reward_that_was_never_scored_leaves_the_others_drawn(tmp_path: Path):
    history = write_history(tmp_path / "metrics.jsonl", 5)
    draw_curves(history, ["a", "never"], tmp_path / "x.png", "run")
    assert png_size(tmp_path / "x.png")


def test_a_run_without_steps_is_one_clear_sentence(tmp_path: Path):
    with pytest.raises(CheckpointError, match="holds no steps"):
        draw_curves(tmp_path / "metrics.jsonl", ["a"], tmp_path / "x.png", "run")


def test_smoothing_looks_back_only_and_skips_what_is_missing():
    values = np.array([1.0, 3.0, np.nan, 5.0, 100.0])
    np.testing.assert_allclose(trailing_mean(values, 3), [1, 2, np.nan, 4, 52.5])


@given(arrays(np.float64, st.integers(1, 20), elements=st.floats(-5, 5)), st.integers(1, 8))
def test_smoothing_stays_within_the_values(values, window):
    smooth = trailing_mean(values, window)
    assert smooth.min() >= values.min() - 1e-9
    assert smooth.max() <= values.max() + 1e-9
