"""The policy update against a plain loop over single samples, in any layout and on any ranks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from deepspeed.utils import safe_get_full_grad
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from rvpo.errors import UpdateError
from rvpo.trainer.ranks import Ranks, free_port
from rvpo.trainer.zero_policy import ZeroPolicy
from rvpo.types import Advantages, Prompt, Rollout, Sample
from tests.configs import tiny_config

PROMPTS = 2
GROUP = 8
TEMPERATURE = 0.7


def make_rollout(seed: int = 0) -> Rollout:
    """Samples of random tokens and uneven lengths, as if drawn by a slightly different policy."""
    generator = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high, (1,), generator=generator))

    samples = []
    for p in range(PROMPTS):
        prompt_ids = tuple(draw(0, 256) for _ in range(draw(5, 12)))
        for _ in range(GROUP):
            ids = tuple(draw(0, 258) for _ in range(draw(1, 9)))
            samples.append(
                Sample(
                    prompt=Prompt(id=f"random/{p}", messages=()),
                    prompt_ids=prompt_ids,
                    completion_ids=ids,
                    logprobs=tuple(-5.5 - draw(0, 100) / 500 for _ in ids),
                    text="",
                    finish_reason="stop",
                    policy_version=0,
                )
            )
    return Rollout(samples=tuple(samples), group_size=GROUP)


def make_advantages(rollout: Rollout, untrained: tuple[int, ...] = ()) -> Advantages:
    count = len(rollout.samples)
    values = torch.linspace(-1.5, 1.5, count)
    trained = torch.tensor([row not in untrained for row in range(count)])
    return Advantages(
        values=values.where(trained, 0.0), trained=trained, z=values[:, None], metrics={}
    )


def gradients(policy: ZeroPolicy) -> dict[str, torch.Tensor]:
    named = policy.engine.module.named_parameters()
    return {name: safe_get_full_grad(parameter).clone() for name, parameter in named}


def plain_gradients(
    model: Any, reference: Any, rollout: Rollout, advantages: Advantages, *, beta: float
) -> dict[str, torch.Tensor]:
    """The definition, one sample and one token at a time, on ordinary models."""
    model.zero_grad()
    rows = advantages.trained.nonzero()[:, 0].tolist()
    tokens = sum(len(rollout.samples[row].completion_ids) for row in rows)
    for row in rows:
        sample, advantage = rollout.samples[row], float(advantages.values[row])
        ids = torch.tensor([[*sample.prompt_ids, *sample.completion_ids]])
        logprobs = torch.log_softmax(model(ids).logits[0] / TEMPERATURE, dim=-1)
        with torch.no_grad():
            base = torch.log_softmax(reference(ids).logits[0] / TEMPERATURE, dim=-1)
        loss = torch.zeros(())
        for t, token in enumerate(sample.completion_ids):
            at = len(sample.prompt_ids) - 1 + t
            ratio = torch.exp(logprobs[at, token] - sample.logprobs[t])
            loss = loss - torch.min(ratio * advantage, ratio.clamp(0.8, 1.3) * advantage)
            difference = base[at, token] - logprobs[at, token]
            loss = loss + beta * (torch.exp(difference) - difference - 1)
        (loss / tokens).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def plain_model(path: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)


def plain_entropy(model: Any, rollout: Rollout) -> float:
    """Mean over completion tokens, in nats."""
    entropies = []
    for sample in rollout.samples:
        ids = torch.tensor([[*sample.prompt_ids, *sample.completion_ids]])
        with torch.no_grad():
            p = torch.softmax(model(ids).logits[0] / TEMPERATURE, dim=-1)
        own = p[len(sample.prompt_ids) - 1 : -1]
        entropies += [-(row * row.log()).sum().item() for row in own]
    return sum(entropies) / len(entropies)


def relative_difference(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    assert a.keys() == b.keys()
    difference = sum(float((a[name] - b[name]).double().square().sum()) for name in a)
    size = sum(float(b[name].double().square().sum()) for name in b)
    return float((difference / size) ** 0.5)


def make_policy(model: Path, ranks: Ranks, micro_batch_size: int, **settings: Any) -> ZeroPolicy:
    update = {"micro_batch_size": micro_batch_size, "epsilon_high": 0.3, **settings}
    config = tiny_config(model, update=update, rollout={"temperature": TEMPERATURE})
    return ZeroPolicy(config, str(model), ranks)


@pytest.mark.parametrize("micro_batch_size", [1, 2, 8, 16])
def test_micro_batches_of_any_size_give_the_gradient_of_the_plain_loop(
    tiny_model: Path, ranks: Ranks, micro_batch_size: int
) -> None:
    rollout = make_rollout()
    advantages = make_advantages(rollout, untrained=(3, 9))
    policy = make_policy(tiny_model, ranks, micro_batch_size)
    policy.accumulate_gradients(rollout, advantages)
    model = plain_model(tiny_model)
    expected = plain_gradients(model, model, rollout, advantages, beta=0.0)
    difference = relative_difference(gradients(policy), expected)
    print(f"micro-batches of {micro_batch_size}: relative difference {difference:.1e}")
    assert difference < 1e-5


def test_updates_are_those_of_adamw_with_kl_clipping_and_schedule(
    tiny_model: Path, ranks: Ranks
) -> None:
    """Four updates beside PyTorch's own optimizer on an ordinary model."""
    settings = {"lr": 3e-3, "schedule": "linear", "warmup_fraction": 0.25, "betas": [0.8, 0.95]}
    policy = make_policy(
        tiny_model, ranks, 8, beta=0.3, weight_decay=0.1, max_grad_norm=0.05, **settings
    )
    model, reference = plain_model(tiny_model), plain_model(tiny_model)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.8, 0.95), weight_decay=0.1)
    for step, rate in enumerate([1.5e-3, 3e-3, 2e-3, 1e-3]):
        rollout = make_rollout(step)
        advantages = make_advantages(rollout, untrained=(step,))
        if step == 0:
            everyone = make_advantages(rollout)
            entropy = policy.accumulate_gradients(rollout, everyone)["entropy"]
            assert entropy == pytest.approx(plain_entropy(model, rollout), rel=1e-5)
            policy = make_policy(
                tiny_model, ranks, 8, beta=0.3, weight_decay=0.1, max_grad_norm=0.05, **settings
            )
        metrics = policy.update(rollout, advantages)
        plain_gradients(model, reference, rollout, advantages, beta=0.3)
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.05)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        assert metrics["learning_rate"] == pytest.approx(rate)
        assert metrics["grad_norm"] == pytest.approx(float(norm), rel=1e-4)
        assert norm > 0.05  # so that clipping did something
    assert metrics["kl"] > 1e-3  # so that its gradient did something
    expected = dict(model.named_parameters())
    initial = dict(reference.named_parameters())
    moved = {name: tensor for name, tensor in policy.named_weights() if name in expected}
    change = relative_difference(
        {name: moved[name] - initial[name].detach() for name in moved},
        {name: expected[name].detach() - initial[name].detach() for name in moved},
    )
    print(f"four AdamW updates: relative difference of the change {change:.1e}")
    assert change < 1e-2


@pytest.mark.parametrize("beta", [0.0, 0.3])
def test_two_ranks_give_the_gradient_of_one(tiny_model: Path, tmp_path: Path, beta: float) -> None:
    for size in (1, 2):
        run_ranks(size, tiny_model, tmp_path, beta)
    one, two = (load_file(tmp_path / f"gradients-{size}.safetensors") for size in (1, 2))
    difference = relative_difference(two, one)
    print(f"2 ranks, beta {beta}: relative difference {difference:.1e}")
    assert difference < 1e-5
    metrics = [json.loads((tmp_path / f"metrics-{size}.json").read_text()) for size in (1, 2)]
    assert metrics[1] == pytest.approx(metrics[0], rel=1e-5, abs=1e-6)


def run_ranks(size: int, model: Path, folder: Path, beta: float) -> None:
    common = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.test_update", str(model), str(folder), str(beta)],
            env=os.environ | common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(size)
    ]
    assert [process.wait(timeout=240) for process in processes] == [0] * size


def write_gradients(model: Path, folder: Path, beta: float) -> None:
    """What each rank of `run_ranks` does: a share of the samples, uneven micro-batches."""
    ranks = Ranks.join()
    rollout = make_rollout()
    # The first rank trains 3 of its samples and the second all 8: unequal micro-batches.
    advantages = make_advantages(rollout, untrained=(0, 1, 2, 4, 5))
    rows = ranks.share(len(rollout.samples))
    mine = Rollout(samples=rollout.samples[rows], group_size=GROUP)
    policy = make_policy(model, ranks, 2, beta=beta)
    metrics = policy.accumulate_gradients(mine, ranks.shard(advantages))
    result = gradients(policy)
    if ranks.is_main:
        save_file(result, folder / f"gradients-{ranks.size}.safetensors")
        (folder / f"metrics-{ranks.size}.json").write_text(json.dumps(metrics))
    ranks.leave()


def test_a_loss_that_is_not_finite_moves_nothing_and_names_the_samples(
    tiny_model: Path, ranks: Ranks
) -> None:
    policy = make_policy(tiny_model, ranks, 8)
    before = dict(policy.named_weights())
    rollout = make_rollout()
    advantages = make_advantages(rollout)
    advantages.values[11] = float("nan")
    with pytest.raises(UpdateError, match=r"step 1: the loss is not finite.*random/1;"):
        policy.update(rollout, advantages)
    after = dict(policy.named_weights())
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_step_without_trained_samples_moves_nothing(tiny_model: Path, ranks: Ranks) -> None:
    policy = make_policy(tiny_model, ranks, 8, weight_decay=0.1)
    rollout = make_rollout()
    policy.update(rollout, make_advantages(rollout))  # gives the optimizer momentum
    before = dict(policy.named_weights())
    nothing = make_advantages(rollout, untrained=tuple(range(len(rollout.samples))))
    assert policy.update(rollout, nothing)["trained_samples"] == 0
    after = dict(policy.named_weights())
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_learning_rate_of_zero_leaves_the_weights(tiny_model: Path, ranks: Ranks) -> None:
    policy = make_policy(tiny_model, ranks, 8, lr=0.0)
    before = dict(policy.named_weights())
    rollout = make_rollout()
    assert policy.update(rollout, make_advantages(rollout))["grad_norm"] > 0
    after = dict(policy.named_weights())
    assert all(torch.equal(before[name], after[name]) for name in before)


if __name__ == "__main__":
    write_gradients(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
