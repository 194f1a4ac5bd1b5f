"""Rules of rollouts ahead: which engine can, and that older samples are corrected."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from rvpo.rollout import AnyEngine
from tests.configs import tiny_config

NAMES = {kind.model_fields["name"].default: kind for kind in get_args(AnyEngine)}


def problem(rollout: dict[str, Any], **update: Any) -> str:
    """The one thing that is wrong with these settings; empty where nothing is."""
    try:
        tiny_config(Path("model"), rollout={"engine": "vllm"} | rollout, update=update)
    except ValidationError as error:
        (found,) = error.errors()
        return str(found["msg"]).removeprefix("Value error, ")
    return ""


@pytest.mark.parametrize("staleness", [0, 1, 2, 7])
def test_any_number_of_rollouts_may_be_ahead(staleness: int) -> None:
    assert problem({"staleness": staleness}) == ""


@pytest.mark.parametrize("staleness", [1, 3])
def test_an_engine_in_the_training_process_makes_nothing_ahead(staleness: int) -> None:
    found = problem({"engine": "transformers", "staleness": staleness})
    able = [name for name, kind in NAMES.items() if kind.concurrent]
    assert found == (
        f"rollout.staleness: {staleness} needs an engine in a process of its own; set "
        f"rollout.engine.name={' or '.join(able)}, or rollout.staleness=0"
    )


def test_weights_in_flight_need_rollouts_ahead() -> None:
    assert "rollout.in_flight: with rollout.staleness: 0 nothing" in problem({"in_flight": True})
    assert problem({"in_flight": True, "staleness": 1}) == ""


def test_weights_in_flight_need_an_engine_that_takes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NAMES["vllm"], "in_flight", False)
    found = problem({"in_flight": True, "staleness": 1})
    assert found.startswith(
        "rollout.in_flight: vllm takes no new weights while it generates; set rollout.engine.name="
    )


@pytest.mark.parametrize(
    ("rollout", "named"),
    [({"staleness": 2}, "staleness: 2"), ({"staleness": 1, "in_flight": True}, "in_flight: true")],
)
def test_samples_of_several_policies_are_corrected(rollout: dict[str, Any], named: str) -> None:
    found = problem(rollout, correction="none")
    assert found.startswith("update.correction: none leaves the difference")
    assert f"which comes with rollout.{named};" in found
    for correction in ("truncate", "mask", "mask_above"):
        assert problem(rollout, correction=correction) == ""


@pytest.mark.parametrize("staleness", [0, 1])
def test_a_single_update_needs_no_correction(staleness: int) -> None:
    assert problem({"staleness": staleness}, correction="none") == ""
