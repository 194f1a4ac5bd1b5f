"""Peak memory of a forward and backward pass of rvpo's update beside TRL's, on equal tokens.

    python -m performance.update_memory

A model of SmolLM2-135M's shape with random weights and another vocabulary, one micro-batch of 2,048
and of 8,192 tokens: for rvpo a group of 8 completions that share their prompt, for TRL as many
whole samples of the same lengths as make up the tokens. Half of a sample is its completion. What is
counted is the rise of resident memory over the model with its gradients in place, each case in a
process of its own. rvpo computes in bf16, TRL in bf16 autocast over fp32 weights, as both do by
default. Needs TRL beside rvpo: pip install --no-deps trl==1.16.0. With --save also written to
performance/results/.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from performance.published import add_save_option, publish

ROOT = Path(__file__).resolve().parent.parent
GROUP = 8


def save_model(folder: str, vocabulary: int) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    from rvpo.model_files import DEMO_MODEL, resolve_model

    path = resolve_model(DEMO_MODEL)
    config = AutoConfig.from_pretrained(path, vocab_size=vocabulary)
    models: Any = AutoModelForCausalLM
    models.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    AutoTokenizer.from_pretrained(path).save_pretrained(folder)


def memory(name: str) -> float:
    """GiB, of `VmRSS` or its peak `VmHWM`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 2**20


def rise(work: Any) -> float:
    """How far resident memory rises, in GiB, the second time: the first makes what stays."""
    work()
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    work()
    return memory("VmHWM") - before


def run_rvpo(model: str, tokens: int) -> float:
    from performance.update_cost import Shape, make_policy, make_rollout

    length = tokens // (GROUP + 1)  # a prompt as long as each completion
    policy = make_policy(model, micro_batch_tokens=tokens)
    shape = Shape(prompt=length, completion=length, group=GROUP)
    (batches,) = policy.mini_batches(*make_rollout(shape, prompts=1))
    return rise(lambda: policy.accumulate_gradients(batches, policy.statistics()))


def run_trl(model: str, tokens: int) -> float:
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer

    length = tokens // (GROUP + 1)
    batch = round(tokens / (2 * length))
    with tempfile.TemporaryDirectory() as folder:
        trainer = GRPOTrainer(
            model=AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
            processing_class=AutoTokenizer.from_pretrained(model, padding_side="left"),
            reward_funcs=[lambda completions, **_: [0.0] * len(completions)],
            train_dataset=Dataset.from_list([{"prompt": "x"}]),
            args=GRPOConfig(
                output_dir=folder,
                per_device_train_batch_size=GROUP,
                num_generations=GROUP,
                bf16=True,
                use_cpu=True,
                report_to=[],
                beta=0.0,
                gradient_checkpointing=False,
            ),
        )
        ids = torch.arange(length).expand(batch, length)
        ones = torch.ones(batch, length, dtype=torch.long)
        inputs = {
            "prompt_ids": ids,
            "prompt_mask": ones,
            "completion_ids": ids,
            "completion_mask": ones,
            "advantages": torch.linspace(-1, 1, batch),
            "num_items_in_batch": torch.tensor(batch * length),
        }
        trainer.model.train()
        trainer.current_gradient_accumulation_steps = 1

        def work() -> None:
            with trainer.compute_loss_context_manager():
                loss = trainer._compute_loss(trainer.model, inputs)
            loss.backward()

        return rise(work)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, action="append")
    parser.add_argument("--part", choices=("rvpo", "trl"), help=argparse.SUPPRESS)
    parser.add_argument("--model", help=argparse.SUPPRESS)
    add_save_option(parser)
    options = parser.parse_args()
    if options.part:
        run = {"rvpo": run_rvpo, "trl": run_trl}[options.part]
        print(json.dumps(run(options.model, options.tokens[0])), flush=True)
        return
    lines = ["| vocabulary | tokens | rvpo | TRL | share |", "| --- | --- | --- | --- | --- |"]
    for vocabulary in (49_152, 151_936):
        with tempfile.TemporaryDirectory() as model:
            save_model(model, vocabulary)
            for tokens in options.tokens or (2048, 8192):
                ours, theirs = (measure(part, model, tokens) for part in ("rvpo", "trl"))
                lines.append(
                    f"| {vocabulary:,} | {tokens:,} | {ours:.2f} GiB | {theirs:.2f} GiB | "
                    f"{ours / theirs:.0%} |"
                )
                print(lines[-1], flush=True)
    publish("update_memory.md", "\n".join(lines), options)


def measure(part: str, model: str, tokens: int) -> float:
    command = [sys.executable, "-m", "performance.update_memory", "--part", part]
    command += ["--model", model, "--tokens", str(tokens)]
    environment = {**os.environ, "WANDB_MODE": "disabled"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return float(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
