"""The composition that GPUs use, on two ranks of gloo: vLLM in the trainer's process and group, and
ZeRO-3 that gathers the weights while vLLM loads them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.commands.test_train import metrics, samples, train_ranks, write_config

pytestmark = pytest.mark.slow

STEPS, RANKS, PROMPTS = 3, 2, 4


def test_engines_in_the_processes_of_two_ranks_agree_with_their_trainer(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (scratch := tmp_path / "scratch").mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    rows = {"function": "tests.toy:letters", "arguments": {"count": STEPS * PROMPTS}}
    engine = {"name": "vllm", "max_context_tokens": 128, "transport": "handed"}
    config = write_config(
        tiny_model,
        tmp_path,
        steps=STEPS,
        data={"train": rows},
        rollout={"engine": engine, "prompts_per_step": PROMPTS},
        distributed={"processes": RANKS},
        update={"lr": 3e-2},
        checkpoint={"every": 100},
    )
    train_ranks(config, count=RANKS)

    run = tmp_path / "run"
    for version, row in enumerate(metrics(run)):
        difference = row["sampling/sampling_logp_difference/max"]
        print(f"version {version}: largest log-probability difference {difference:.1e}")
        assert difference < 1e-4
        assert row["grad_norm"] > 0  # the weights of the next version are other ones
    drawn = samples(run)
    versions = Counter(each["policy_version"] for each in drawn)
    assert versions == dict.fromkeys(range(STEPS), PROMPTS * 4)
    assert set(Counter(each["prompt_id"] for each in drawn).values()) == {4}
    assert not list(scratch.glob("rvpo-*"))
