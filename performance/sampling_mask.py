"""Probability ratios and KL of a policy that does not learn, by the limits of its sampling.

    python -m performance.sampling_mask
    python -m performance.sampling_mask --engine transformers --precision bf16

One update at `update.lr: 0` on samples of a small model with random weights. Ratios that are not 1
are errors: with the supports of the samples there are only those of rounding. Beside them are those
of the same samples without their supports. With --save also written to performance/results/.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from performance.published import add_save_option, publish
from rvpo.commands.engine import build_engine
from rvpo.config.run import RunConfig
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.engine import RolloutEngine
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.zero_policy import ZeroPolicy
from rvpo.types import Advantages, Rollout
from tests.configs import tiny_config
from tests.fakes import make_prompt
from tests.tiny import save_tiny_model

PROMPTS, GROUP, TOKENS = 8, 8, 24
ENGINES: dict[str, dict[str, Any]] = {
    "vllm": {"name": "vllm"},
    "servers": {"name": "servers", "start": {"servers": 1}},
    "transformers": {"name": "transformers"},
}
LIMITS: dict[str, dict[str, Any]] = {
    "none": {},
    "top_k 20": {"top_k": 20},
    "top_p 0.9": {"top_p": 0.9, "top_k": 1000},
    "min_p 0.3": {"min_p": 0.3, "top_k": 1000},
    "top_p 0.9, top_k 50, min_p 0.05": {"top_p": 0.9, "top_k": 50, "min_p": 0.05},
    "structured": {"structured": {"choice": ["yes", "no", "not now"]}, "top_k": 64},
}


def row_of(limits: str, config: RunConfig, folder: Path, ranks: Ranks) -> list[str]:
    """A row of the table."""
    encoder = Encoder.from_model(str(folder), trust_remote_code=False, max_context_tokens=128)
    policy = ZeroPolicy(config, str(folder), ranks)
    engine = build_engine(config.model, config.rollout, str(folder), encoder, 0, ranks)
    engine.load_weights(policy.weights(), 0)
    rollout = generated(engine)
    if config.rollout.engine.name == "servers":  # vLLM in process ends the process with itself
        engine.close()
    with_supports = moved(policy, rollout)
    blind = replace(rollout, samples=tuple(replace(s, supports=None) for s in rollout.samples))
    without = moved(policy, blind)
    counts = [count for s in rollout.samples if s.supports for count in s.supports[1]]
    tokens = f"{sum(counts) / len(counts):.1f}" if counts else "all"
    raw = "sampling/raw_ratio"
    ratios = [f"{with_supports[f'{raw}/{part}']:.5f}" for part in ("min", "mean", "max")]
    return [limits, tokens, *ratios, f"{with_supports['kl']:.1e}", f"{without[f'{raw}/mean']:.3f}"]


def generated(engine: RolloutEngine) -> Rollout:
    prompts = [make_prompt(f"p/{n}", "1 + " * n + "2?") for n in range(PROMPTS)]
    return engine.generate(prompts, GROUP, seed=1)


def moved(policy: ZeroPolicy, rollout: Rollout) -> dict[str, float]:
    values = torch.linspace(-1.5, 1.5, len(rollout.samples))
    trained = torch.ones(len(values), dtype=torch.bool)
    advantages = Advantages(values=values, trained=trained, z=values[:, None], metrics={})
    return policy.update(rollout, advantages)


def table(engine: str, precision: str, chosen: list[str]) -> str:
    lines = [
        "| limits | tokens of a support | ratio, least | mean | largest | KL | mean without |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    ranks = Ranks.join()
    with TemporaryDirectory() as parent:
        folder = save_tiny_model(Path(parent) / "model")
        for name in chosen:
            if engine == "transformers" and "structured" in LIMITS[name]:
                continue
            config = tiny_config(
                folder,
                model={"precision": precision},
                rollout={
                    "engine": ENGINES[engine],
                    "max_completion_tokens": TOKENS,
                    **LIMITS[name],
                },
                update={"lr": 0.0, "beta": 0.1},
            )
            lines.append("| " + " | ".join(row_of(name, config, folder, ranks)) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=list(ENGINES), default="vllm")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--limits", nargs="+", choices=list(LIMITS), default=list(LIMITS))
    add_save_option(parser)
    arguments = parser.parse_args()
    text = table(arguments.engine, arguments.precision, arguments.limits)
    publish("sampling_mask", text, arguments)
    os._exit(0)  # vLLM would end the process group with itself


if __name__ == "__main__":
    main()
