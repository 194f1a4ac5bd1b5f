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
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from performance.beside_trl import (
    MODEL,
    WARM_UP,
    Laps,
    Steps,
    medians,
    phases,
    span,
    tell,
    told,
    trained,
    with_cpu,
)
from performance.published import add_save_option, publish

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


def run_rvpo(options: argparse.Namespace) -> Steps:
    engine: dict[str, Any] = {"name": options.engine}
    if options.engine == "vllm":
        engine["max_context_tokens"] = 4096
    adapters = {"rank": RANK, "alpha": ALPHA} if options.tuning == "lora" else None
    here = "performance.step_vs_trl"
    with tempfile.TemporaryDirectory() as folder:
        chats = Path(folder) / "chats.json"
        chats.write_text(json.dumps(read_prompts(options)))
        source = {"function": f"{here}:prompts_for_rvpo", "arguments": {"path": str(chats)}}
        steps, ends = trained(
            {
                "steps": options.steps + WARM_UP,
                "model": {"path": MODEL, "lora": adapters},
                "data": {"train": source},
                "rollout": {
                    "engine": engine,
                    "prompts_per_step": options.prompts,
                    "samples_per_prompt": options.group,
                    "max_completion_tokens": options.tokens,
                },
                "rewards": {
                    "short": {"function": f"{here}:short"},
                    "vowels": {"function": f"{here}:vowels"},
                },
                "advantage": {"name": "gdpo"},
                "update": {"lr": 1e-5},
                "report": {"wandb": False},
            }
        )
    return with_cpu([phases(step, options.prompts * options.group) for step in steps], ends)


def run_trl(options: argparse.Namespace) -> Steps:
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import GRPOConfig

    from rvpo.model_files import resolve_model

    path = resolve_model(MODEL)
    adapters = None
    if options.tuning == "lora":
        from peft import LoraConfig

        adapters = LoraConfig(
            r=RANK, lora_alpha=ALPHA, target_modules="all-linear", task_type="CAUSAL_LM"
        )
    dtype = torch.float32 if adapters is None else torch.bfloat16
    laps = Laps(lambda found: float(sum(map(len, found[1]))))
    with tempfile.TemporaryDirectory() as folder:
        trainer = laps.trainer()(
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
            callbacks=[laps.callback()],
        )
        trainer.train()
    return with_cpu(laps.steps, laps.ends)


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
    said = ["--part", system, "--work", work]
    said += ["--steps", str(options.steps), "--trl-batch", str(options.trl_batch)]
    said += ["--tuning", tuning, "--engine", options.engine]
    for size in ("prompts", "group", "tokens"):
        said += [f"--{size}", str(getattr(options, size))]
    said += ["--rlla", str(options.rlla), "--gsm8k", str(options.gsm8k)]
    return told("performance.step_vs_trl", said)


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
        tell({"rvpo": run_rvpo, "trl": run_trl}[options.part](options))
    else:
        table(options)


if __name__ == "__main__":
    main()
