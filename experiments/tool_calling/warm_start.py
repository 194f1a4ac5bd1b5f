"""The initial policy of the experiment: the demo model, taught how tool calls are written.

    python -m experiments.tool_calling.warm_start --data ToolRL/dataset/rlla_4k/rlla_sft.json

It imitates written answers of ToolRL's data to the shorter questions, each thought cut to its first
sentence, so that two cores are enough: a quarter of an hour. Writes runs/tool_calling/model, and
beside it the system prompt of the data with <<tools>> in place of the tools, for BFCL's
`system_prompt`.

Imitating is the update with an advantage of 1 for what was written by hand: the gradient of a ratio
to itself is that of the log-probability.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

from rvpo.config.run import load_config
from rvpo.model_files import DEMO_MODEL, resolve_model
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.export import export_model
from rvpo.trainer.zero_policy import ZeroPolicy
from rvpo.types import Advantages, Prompt, Rollout, Sample

ROWS_PER_UPDATE, LONGEST = 8, 900
FOLDER = Path("runs/tool_calling")
TOOLS = re.compile(r"(?<=use the following tools:\n).*?(?=\n\n\*\*Steps for Each Turn)", re.DOTALL)
FIRST_SENTENCE = re.compile(r"(<think>.*?[.!?])(?=\s).*?(\s*</think>)", re.DOTALL)


def make_sample(tokenizer: Any, row: dict[str, str], number: int) -> Sample:
    """A written answer, as if the policy had given it."""
    chat = [
        {"role": "system", "content": row["instruction"]},
        {"role": "user", "content": row["input"]},
    ]
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    answer = FIRST_SENTENCE.sub(r"\1\2", row["output"], count=1)
    ids = [*tokenizer(answer, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    return Sample(
        prompt=Prompt(id=str(number), messages=()),
        prompt_ids=tuple(tokenizer(text, add_special_tokens=False)["input_ids"]),
        completion_ids=tuple(ids),
        logprobs=(0.0,) * len(ids),  # nobody drew it; update.correction=none does not ask
        text=answer,
        finish_reason="stop",
        policy_version=0,
    )


def imitate(policy: ZeroPolicy, samples: Sequence[Sample]) -> float:
    """One update; the mean log-probability of a token before it."""
    ones = torch.ones(len(samples))
    values = Advantages(values=ones, trained=ones.bool(), z=ones[:, None], metrics={})
    metrics = policy.update(Rollout(samples=tuple(samples), group_size=1), values)
    return -metrics["sampling/sampling_logp_difference/mean"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="rlla_sft.json of ToolRL")
    parser.add_argument("--output", type=Path, default=FOLDER)
    parser.add_argument("--updates", type=int, default=24)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=FutureWarning)  # DeepSpeed's calls of PyTorch
    rows = json.loads(options.data.read_text(encoding="utf-8"))
    source = str(resolve_model(DEMO_MODEL))
    tokenizer = AutoTokenizer.from_pretrained(source)
    samples = [make_sample(tokenizer, row, number) for number, row in enumerate(rows)]
    samples = [s for s in samples if len(s.prompt_ids) + len(s.completion_ids) <= LONGEST]
    print(f"{len(samples)} of {len(rows)} answers have at most {LONGEST} tokens with their prompt")
    config = load_config(
        Path(__file__).with_name("main.yaml"),
        [f"steps={options.updates}", "update={lr: 1e-4, correction: none, schedule: linear}"],
    )
    ranks = Ranks.join()
    policy = ZeroPolicy(config, source, ranks, print)
    chance = random.Random(0)
    for update in range(1, options.updates + 1):
        mean = imitate(policy, chance.sample(samples, ROWS_PER_UPDATE))
        print(f"update {update} of {options.updates}: {mean:.3f} nats a token", flush=True)
    export_model(policy, tokenizer, options.output / "model", ranks)
    prompt = TOOLS.sub("<<tools>>", rows[0]["instruction"], count=1)
    (options.output / "system_prompt.txt").write_text(prompt, encoding="utf-8")
    print(f"model {options.output / 'model'}")


if __name__ == "__main__":
    main()
