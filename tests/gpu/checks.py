"""Checks that a card is put to, each in a process of its own: vLLM's pool of memory and a process
group last as long as theirs.

    python -m tests.gpu.checks NAME FOLDER

leaves FOLDER/NAME.json.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from rvpo.commands.engine import build_engine
from rvpo.commands.plan import plan
from rvpo.config.run import RunConfig
from rvpo.data.encoder import encoder_of
from rvpo.model_files import DEMO_MODEL, resolve_model
from rvpo.plan.machine import examine
from rvpo.rollout.engine import RolloutEngine
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.attention import Span, leave_out_cudnn, shared_prompt_attention
from rvpo.trainer.zero_policy import ZeroPolicy
from rvpo.types import Prompt
from tests.configs import tiny_config
from tests.fakes import make_prompt
from tests.gpu.card import GIB, Peak, total, used
from tests.rollout.test_engines import move

Found = dict[str, Any]
SHARE = 0.3
LENGTHS = (8192, 2048, 16)
"""Tokens of a long prompt, of each completion beside it, and the number of those."""


def main(name: str, folder: Path) -> None:
    found = CHECKS[name](folder)
    (folder / f"{name}.json").write_text(json.dumps(found), encoding="utf-8")


def demo(**rollout: Any) -> RunConfig:
    """The smallest real model in bf16, with vLLM."""
    engine = {"name": "vllm", "max_context_tokens": 512, "gpu_memory": SHARE}
    return tiny_config(
        Path(resolve_model(DEMO_MODEL)),
        model={"precision": "bf16"},
        rollout={"engine": engine, "max_completion_tokens": 64, **rollout},
        update={"lr": 3e-4},
    )


def questions(count: int) -> list[Prompt]:
    return [make_prompt(f"q/{n}", f"What is {n} plus {n + 3}? Explain.") for n in range(count)]


def policy_of(config: RunConfig, ranks: Ranks) -> ZeroPolicy:
    return ZeroPolicy(config, config.model.path, ranks, offloads=config.offloads(on_gpu=True))


def engine_of(config: RunConfig, ranks: Ranks) -> RolloutEngine:
    encoder = encoder_of(config.model, config.rollout, config.model.path)
    return build_engine(
        config.model, config.rollout, config.model.path, encoder, config.seed, ranks
    )


def versions(policy: ZeroPolicy, engine: RolloutEngine, count: int) -> list[Found]:
    """Load, generate, update: the difference of engine and trainer for each version of weights,
    and GiB of the card in each part."""
    found = []
    for version in range(count):
        with Peak() as load:
            engine.load_weights(policy.weights(), version)
        with Peak() as awake:
            rollout = engine.generate(questions(4), 8, seed=5)
        resting = used()
        with Peak() as update:
            metrics = move(policy, rollout)
        found.append(
            {
                "versions": sorted({sample.policy_version for sample in rollout.samples}),
                "mean": metrics["sampling/sampling_logp_difference/mean"],
                "max": metrics["sampling/sampling_logp_difference/max"],
                "text": rollout.samples[0].text,
                "load": load.gib,
                "awake": awake.gib,
                "resting": resting,
                "update": update.gib,
            }
        )
    return found


def in_process(folder: Path) -> Found:
    """An engine in the trainer's process, that sleeps between rollouts; two versions of seeds."""
    ranks, config = Ranks.join(), demo()
    policy = policy_of(config, ranks)
    before = used()
    engine = engine_of(config, ranks)
    started = used()
    found = versions(policy, engine, 3)
    drawn = [
        [sample.completion_ids for sample in engine.generate(questions(4), 8, seed=seed).samples]
        for seed in (1, 1, 2)
    ]
    engine.close()
    return {
        "total": total(),
        "before": before,
        "started": started,
        "versions": found,
        "repeats": drawn[0] == drawn[1],
        "varies": drawn[0] != drawn[2],
    }


def ipc(folder: Path) -> Found:
    """An engine in a process of its own on the trainer's card: weights by CUDA IPC."""
    ranks, config = Ranks.join(), demo(staleness=1)
    policy = policy_of(config, ranks)
    engine = engine_of(config, ranks)
    found = versions(policy, engine, 2)
    engine.close()
    ranks.leave()
    return {"versions": found}


def attention(folder: Path) -> Found:
    """Rows that share a prompt: the kernels, the gradient beside fp32 math, the memory."""
    names = kernels(300, (100, 80), heads=8, kv=2)
    worst = gradient_error(300, (100, 80), heads=8, kv=2)
    torch.cuda.empty_cache()
    prompt, completion, count = LENGTHS
    inputs = pieces(prompt + completion * count, heads=16, kv=2, device="cuda")
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    held = torch.cuda.memory_allocated()
    output = attended(inputs, [Span(prompt, (completion,) * count)])
    output.sum().backward()
    rise = (torch.cuda.max_memory_allocated() - held) / GIB
    scores = 16 * count * completion * (prompt + completion) * 2 / GIB
    return {"kernels": names, "gradient": worst, "rise": rise, "scores": scores}


def pieces(tokens: int, heads: int, kv: int, device: str, width: int = 128) -> list[torch.Tensor]:
    """Query, key and value of a row, which want a gradient."""
    made = torch.Generator(device).manual_seed(0)
    return [
        torch.randn(
            *(1, n, tokens, width), generator=made, device=device, dtype=torch.bfloat16
        ).requires_grad_()
        for n in (heads, kv, kv)
    ]


def attended(inputs: Sequence[torch.Tensor], spans: Sequence[Span]) -> torch.Tensor:
    return shared_prompt_attention(torch.nn.Identity(), *inputs, None, spans=spans)[0]


def kernels(prompt: int, completions: tuple[int, ...], heads: int, kv: int) -> list[str]:
    """Names of the kernels of a forward and backward pass that attend."""
    from torch.profiler import ProfilerActivity, profile

    leave_out_cudnn()  # as a scorer does
    inputs = pieces(prompt + sum(completions), heads, kv, "cuda")
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        attended(inputs, [Span(prompt, completions)]).sum().backward()
        torch.cuda.synchronize()
    wanted = re.compile("flash|fmha|efficient|softmax|attention", re.IGNORECASE)
    return sorted({event.key for event in seen.key_averages() if wanted.search(event.key)})


def gradient_error(
    prompt: int, completions: tuple[int, ...], heads: int, kv: int, device: str = "cuda"
) -> float:
    """Largest difference of a gradient from that of whole samples in fp32, over its largest."""
    inputs = pieces(prompt + sum(completions), heads, kv, device)
    attended(inputs, [Span(prompt, completions)]).float().square().sum().backward()
    wide = [x.detach().float().requires_grad_() for x in inputs]
    loss = torch.zeros((), device=device)
    start = prompt
    with sdpa_kernel(SDPBackend.MATH):
        for index, length in enumerate(completions):
            rows = [*range(prompt), *range(start, start + length)]
            output = scaled_dot_product_attention(
                *(x[:, :, rows] for x in wide), is_causal=True, enable_gqa=heads != kv
            )
            # The prompt, which all samples share, counts once.
            loss = loss + output[:, :, 0 if index == 0 else prompt :].square().sum()
            start += length
    loss.backward()
    errors = [
        (x.grad.float() - w.grad).abs().max() / w.grad.abs().max()
        for x, w in zip(inputs, wide, strict=True)
        if x.grad is not None and w.grad is not None
    ]
    return float(max(errors))


def save_3b(folder: Path) -> Found:
    """A model of Qwen2.5-3B's shape with random weights."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2Config

    tokenizer = AutoTokenizer.from_pretrained(resolve_model(DEMO_MODEL))
    config = Qwen2Config(
        hidden_size=2048,
        intermediate_size=11_008,
        num_hidden_layers=36,
        num_attention_heads=16,
        num_key_value_heads=2,
        vocab_size=151_936,
        tie_word_embeddings=True,
        max_position_embeddings=32_768,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    models: Any = AutoModelForCausalLM
    with torch.device("cuda"):
        model = models.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder / "3b")
    tokenizer.save_pretrained(folder / "3b")
    return {"parameters": sum(weight.numel() for weight in model.parameters())}


def three_billion(folder: Path) -> Found:
    """Memory of a step and room for tokens, beside what `rvpo plan` says of them."""
    ranks = Ranks.join()
    config = tiny_config(
        folder / "3b",
        model={"precision": "bf16"},
        rollout={
            "engine": {"name": "vllm", "max_context_tokens": 1024, "gpu_memory": 0.4},
            "samples_per_prompt": 16,
            "max_completion_tokens": 512,
        },
    )
    planned = planned_of(config)
    if not planned["fits"]:
        return {"planned": planned}
    policy = policy_of(config, ranks)
    engine: Any = engine_of(config, ranks)
    cache = engine._llm.llm_engine.vllm_config.cache_config
    tokens = cache.num_gpu_blocks * cache.block_size
    found = versions(policy, engine, 2)
    engine.close()
    return {"planned": planned, "kv_tokens": tokens, "versions": found, "total": total()}


def planned_of(
    config: RunConfig, gpus: int | None = None, gpu_memory_gib: float | None = None
) -> Found:
    """What `rvpo plan` says of this card, or of one that is not here: GiB, and tokens of the KV
    cache."""
    findings = {each.part.strip(): each for each in _findings(config, gpus, gpu_memory_gib)}
    parts = ("update peak", "rollout peak", "KV cache")
    said = {part: findings[part].found for part in parts}
    room = re.search(r"([\d,]+) tokens", said["KV cache"])
    return {
        "fits": all(findings[part].state == "ok" for part in parts),
        "said": said,
        "update": _gib(said["update peak"]),
        "rollout": _gib(said["rollout peak"]),
        "kv_tokens": int(room[1].replace(",", "")) if room else None,
    }


def _findings(config: RunConfig, gpus: int | None, gpu_memory_gib: float | None) -> Sequence[Any]:
    return plan(config, examine(config.rollout.engine), gpus, gpu_memory_gib).findings


def _gib(said: str) -> float:
    number = re.search(r"[\d,.]+(?= GiB)", said)
    assert number is not None, said
    return float(number[0].replace(",", ""))


CHECKS = {each.__name__: each for each in (in_process, ipc, attention, save_3b, three_billion)}

if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
