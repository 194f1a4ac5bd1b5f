"""A training step on conversations with tools, beside one of TRL's GRPOTrainer on the same task.

    python -m performance.episodes_vs_trl --runs 3

SmolLM2-135M with the tools and the questions of experiments/conversation_quickstart.yaml, 4 prompts
a step, 8 episodes of at most 96 tokens of each, two rewards, every episode trained on. Both systems
see the same prompts through the same chat template, start from the same weights and generate with
transformers, in fp32; each works in a process of its own, and they take turns, run by run, so that
what else the machine does falls upon both.

Needs TRL beside rvpo: pip install --no-deps trl==1.16.0. Prints medians over the steps
after warm-up of all runs, the CPU time of a step, which other programs change least, and the peak
of resident memory; with --save also written to performance/results/.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Sequence
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
from rvpo.data.errands import calculator, errands, look_up
from rvpo.rollout.templates import read_template

TEMPLATE, TEMPERATURE, TURNS = "chatml_tools", 0.7, 3


# --- the work -------------------------------------------------------------------------------------


def rows(count: int) -> list[dict[str, Any]]:
    return errands(count, seed=1)


def _last(completion: Sequence[Any]) -> str:
    return str(completion[-1].get("content") or "") if completion else ""


def solved(completions: Sequence[Any], answer: Sequence[int], **_: Any) -> list[float]:
    """1 where the last turn holds the answer."""
    pairs = zip(completions, answer, strict=True)
    return [float(f"Answer: {right}" in _last(said)) for said, right in pairs]


def short(completions: Sequence[Any], **_: Any) -> list[float]:
    """1 for an empty last turn, 0 for a long one."""
    return [max(0.0, 1 - len(_last(said)) / 400) for said in completions]


# --- the systems ----------------------------------------------------------------------------------


def run_rvpo(options: argparse.Namespace) -> Steps:
    here = "performance.episodes_vs_trl"
    steps, ends = trained(
        {
            "steps": options.steps + WARM_UP,
            "model": {"path": MODEL, "chat_template": TEMPLATE, "precision": "fp32"},
            "data": {
                "train": {"function": f"{here}:rows", "arguments": {"count": wanted(options)}},
            },
            "environment": {
                "name": "tools",
                "functions": ["rvpo.data.errands:calculator", "rvpo.data.errands:look_up"],
                "max_turns": TURNS,
            },
            "rollout": {
                "engine": {"name": options.engine, "max_context_tokens": 512},
                "prompts_per_step": options.prompts,
                "samples_per_prompt": options.group,
                "max_completion_tokens": options.tokens,
                "temperature": TEMPERATURE,
            },
            "rewards": {
                "solved": {"function": f"{here}:solved"},
                "short": {"function": f"{here}:short"},
            },
            "advantage": {"name": "gdpo"},
            "update": {"lr": 1e-5},
            "report": {"trackers": []},
        }
    )
    episodes = options.prompts * options.group
    found = [
        phases(step, episodes) | {"calls": step["tools/call_frequency"] * episodes}
        for step in steps
    ]
    return with_cpu(found, ends)


def run_trl(options: argparse.Namespace) -> Steps:
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import GRPOConfig
    from trl.chat_template_utils import add_response_schema, qwen2_5_chat_template

    from rvpo.model_files import resolve_model

    path = resolve_model(MODEL)
    tokenizer = AutoTokenizer.from_pretrained(path, padding_side="left")
    # Calls are written as Qwen2.5 writes them, which is how TRL knows to read them.
    tokenizer.chat_template = qwen2_5_chat_template
    add_response_schema(tokenizer)
    tokenizer.chat_template = read_template(TEMPLATE)

    def calls_of_step() -> dict[str, float]:
        frequency = trainer._metrics["train"].get("tools/call_frequency", [0.0])[-1]
        return {"calls": frequency * options.prompts * options.group}

    laps = Laps(lambda found: float(sum(map(sum, found[2]))), calls_of_step)  # the model's own
    with tempfile.TemporaryDirectory() as folder:
        trainer = laps.trainer()(
            model=AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32),
            processing_class=tokenizer,
            reward_funcs=[solved, short],
            tools=[calculator, look_up],
            train_dataset=Dataset.from_list(rows(wanted(options))),
            args=GRPOConfig(
                output_dir=folder,
                max_steps=options.steps + WARM_UP,
                per_device_train_batch_size=options.trl_batch,
                gradient_accumulation_steps=options.prompts * options.group // options.trl_batch,
                num_generations=options.group,
                max_completion_length=options.tokens,
                max_tool_calling_iterations=TURNS - 1,
                temperature=TEMPERATURE,
                learning_rate=1e-5,
                beta=0.0,
                multi_objective_aggregation="normalize_then_sum",
                bf16=False,
                use_cpu=True,
                shuffle_dataset=False,
                save_strategy="no",
                report_to=[],
                logging_steps=10**6,
                disable_tqdm=True,
                gradient_checkpointing=False,
            ),
            callbacks=[laps.callback()],
        )
        trainer.train()
    return with_cpu(laps.steps, laps.ends)


def wanted(options: argparse.Namespace) -> int:
    """Prompts that the steps need."""
    return int(options.prompts * (options.steps + WARM_UP))


# --- the table ------------------------------------------------------------------------------------


def measure(system: str, options: argparse.Namespace) -> dict[str, Any]:
    said = ["--part", system]
    for name in ("steps", "prompts", "group", "tokens", "trl_batch", "engine"):
        said += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    return told("performance.episodes_vs_trl", said)


def calls(runs: Sequence[dict[str, Any]]) -> float:
    """Calls of tools in a step, mean."""
    every = [step["calls"] for run in runs for step in run["steps"]]
    return sum(every) / len(every)


def table(options: argparse.Namespace) -> None:
    found: dict[str, list[Any]] = defaultdict(list)
    for _ in range(options.runs):
        for system in ("rvpo", "trl"):
            found[system].append(measure(system, options))
            print(system, medians(found[system][-1:]), flush=True)
    header = "| system | step | generate | update | sync | CPU | tokens | calls | peak |"
    lines = [header, "|" + " --- |" * (header.count("|") - 1)]
    for system, runs in found.items():
        m = medians(runs)
        lines.append(
            f"| {system} | {m['step']:.1f} s | {m['generate']:.1f} s | {m['update']:.1f} s | "
            f"{m['sync']:.1f} s | {m['cpu']:.1f} s | {m['tokens']:.0f} | {calls(runs):.1f} | "
            f"{m['peak'] / 2**30:.2f} GiB |"
        )
    us, them = medians(found["rvpo"]), medians(found["trl"])
    pairs = zip(found["rvpo"], found["trl"], strict=True)
    ratios = [medians([b])["step"] / medians([a])["step"] for a, b in pairs]
    ratio = (
        f"TRL's step takes {them['step'] / us['step']:.2f} times as long ({span(ratios)} from run "
        f"to run), {them['cpu'] / us['cpu']:.2f} times the CPU time and "
        f"{them['peak'] / us['peak']:.2f} times the memory."
    )
    about = (
        f"{options.prompts} prompts a step, {options.group} episodes of each of at most "
        f"{options.tokens} tokens and {TURNS} turns; medians of {options.steps} steps of each of "
        f"{options.runs} runs, after {WARM_UP}; the systems took turns. rvpo generates with "
        f"{options.engine}, TRL with transformers. Tokens are those that the model wrote."
    )
    publish("episodes_vs_trl.md", "\n".join([*lines, "", ratio, "", about]), options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--prompts", type=int, default=4, help="of a step")
    parser.add_argument("--group", type=int, default=8, help="episodes of a prompt")
    parser.add_argument("--tokens", type=int, default=96, help="of an episode, at most")
    parser.add_argument("--trl-batch", type=int, default=8, help="TRL's batch of a device")
    parser.add_argument("--runs", type=int, default=1, help="of each, for medians")
    parser.add_argument("--engine", choices=("vllm", "transformers"), default="transformers")
    parser.add_argument("--part", choices=("rvpo", "trl"), help=argparse.SUPPRESS)
    add_save_option(parser)
    options = parser.parse_args()
    if options.part:
        tell({"rvpo": run_rvpo, "trl": run_trl}[options.part](options))
    else:
        table(options)


if __name__ == "__main__":
    main()
