"""What TRL's GRPOTrainer 1.16.0 logged of a batch, once, and what is reported of the same batch.

The figures of trl_figures.json are its own: it was given the scores and, in place of a model's, the
log-probabilities and entropies of `inputs`. `performance.metrics_vs_trl` runs it anew. Without
`clip_ratio/*` of GDPO: in a constant group the sign of rounding decides in TRL what is clipped.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter

from rvpo.advantage import Estimator
from rvpo.config.update import UpdateConfig
from rvpo.rewards.metrics import reward_metrics
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.batch import TrainedSample
from rvpo.trainer.metrics import completion_metrics
from rvpo.types import Prompt, Rewards, Rollout, Sample
from tests.fakes import with_columns
from tests.trainer.test_trl_names import Scored, measured

RECORDED: dict[str, Any] = json.loads(
    Path(__file__).with_name("trl_figures.json").read_text(encoding="utf-8")
)
INPUTS: dict[str, Any] = RECORDED["inputs"]
GROUP = 4


@pytest.mark.parametrize("case", RECORDED["cases"], ids=lambda case: str(case["update"]))
def test_a_batch_has_the_figures_that_trl_logged_of_it(ranks: Ranks, case: dict[str, Any]) -> None:
    rewards = make_rewards()
    settings = {"name": case["advantage"]} | (
        {"missing": "zero"} if case["advantage"] == "grpo" else {}
    )
    estimator: Any = TypeAdapter(Estimator).validate_python(settings)
    advantages = estimator(rewards)
    assert advantages.values.tolist() == pytest.approx(case["advantages"], rel=1e-4, abs=1e-5)

    config = UpdateConfig.model_validate(case["update"])
    scored = [make_scored(row, value) for row, value in enumerate(advantages.values.tolist())]
    found = (
        reward_metrics(with_columns(rewards))
        | advantages.metrics
        | completion_metrics(0, make_rollout(), ranks)
        | measured(config, scored, ranks, tokens=4096)
    )
    named = {name: found[name] for name in case["metrics"]}
    assert named == pytest.approx(case["metrics"], rel=1e-4, abs=1e-5)


def make_rewards() -> Rewards:
    rows = list(zip(*INPUTS["scores"], strict=True))
    return Rewards(
        torch.tensor([[score or 0.0 for score in row] for row in rows]),
        ["first", "second"],
        GROUP,
        weights=torch.tensor(INPUTS["weights"]),
        valid=torch.tensor([[score is not None for score in row] for row in rows]),
    )


def make_scored(row: int, advantage: float) -> Scored:
    sample = TrainedSample(
        prompt_id=str(row // GROUP),
        prompt_ids=tuple(INPUTS["prompts"][row]),
        completion_ids=(7,) * len(INPUTS["sampled"][row]),
        sampled_logprobs=tuple(INPUTS["sampled"][row]),
        advantage=advantage,
        group=row // GROUP,
    )
    kinds = ("new", "old", "reference", "entropy")
    return Scored(sample, *(torch.tensor(INPUTS[kind][row], dtype=torch.float64) for kind in kinds))


def make_rollout() -> Rollout:
    samples = tuple(
        Sample(
            prompt=Prompt(id=str(row // GROUP), messages=()),
            prompt_ids=tuple(INPUTS["prompts"][row]),
            completion_ids=(7,) * len(logprobs),
            logprobs=tuple(logprobs),
            text="",
            finish_reason="length" if row in INPUTS["cut_off"] else "stop",
            policy_version=0,
        )
        for row, logprobs in enumerate(INPUTS["sampled"])
    )
    return Rollout(samples=samples, group_size=GROUP)
