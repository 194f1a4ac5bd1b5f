"""The policy update against a plain loop over single samples, in any layout and on any ranks."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from rvpo.errors import ShortageError, UpdateError
from rvpo.runtime.environment import rank_environment
from rvpo.runtime.port import free_port
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.scorer import score_without_gradient
from rvpo.trainer.zero_policy import ZeroPolicy
from rvpo.types import Advantages, Prompt, Rollout, Sample
from tests.commands.forked import run_program
from tests.configs import tiny_config
from tests.gradients import accumulate, gradients

PROMPTS = 2
GROUP = 8
TEMPERATURE = 0.7


def make_rollout(seed: int = 0, prompts: int = PROMPTS, group: int = GROUP) -> Rollout:
    """Samples of random tokens and uneven lengths, as if drawn by a slightly different policy."""
    generator = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high, (1,), generator=generator))

    samples = []
    for p in range(prompts):
        prompt_ids = tuple(draw(0, 256) for _ in range(draw(5, 12)))
        for _ in range(group):
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
    return Rollout(samples=tuple(samples), group_size=group)


def make_advantages(rollout: Rollout, untrained: tuple[int, ...] = ()) -> Advantages:
    count = len(rollout.samples)
    values = torch.linspace(-1.5, 1.5, count)
    trained = torch.tensor([row not in untrained for row in range(count)])
    return Advantages(
        values=values.where(trained, 0.0), trained=trained, z=values[:, None], metrics={}
    )


def plain_gradients(
    model: Any, old: Any, reference: Any, samples: list[Sample], values: list[float], beta: float
) -> dict[str, torch.Tensor]:
    """The definition, one sample and one token at a time, on ordinary models.

    Args:
        old: the policy before the step, which may be the model itself.
    """
    model.zero_grad()
    tokens = sum(len(sample.completion_ids) for sample in samples)
    for sample, advantage in zip(samples, values, strict=True):
        new = plain_logprobs(model, sample)
        with torch.no_grad():
            before, base = plain_logprobs(old, sample), plain_logprobs(reference, sample)
        loss = torch.zeros(())
        for t, sampled in enumerate(sample.logprobs):
            weight = torch.exp(before[t] - sampled).clamp(max=2.0)
            ratio = torch.exp(new[t] - before[t])
            surrogate = -torch.min(ratio * advantage, ratio.clamp(0.8, 1.3) * advantage)
            difference = base[t] - new[t]
            kl = torch.exp(difference) - difference - 1
            loss = loss + weight * surrogate + beta * kl
        (loss / tokens).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def plain_logprobs(model: Any, sample: Sample) -> torch.Tensor:
    """[T]"""
    ids = torch.tensor([[*sample.prompt_ids, *sample.completion_ids]])
    logprobs = torch.log_softmax(model(ids).logits[0] / TEMPERATURE, dim=-1)
    start = len(sample.prompt_ids) - 1
    return torch.stack([logprobs[start + t, a] for t, a in enumerate(sample.completion_ids)])


def trained(
    rollout: Rollout, advantages: Advantages, prompts: slice = slice(None)
) -> tuple[list[Sample], list[float]]:
    """What an update over some of the prompts learns from."""
    rows = [
        row
        for prompt in list(range(PROMPTS))[prompts]
        for row in range(prompt * GROUP, (prompt + 1) * GROUP)
        if advantages.trained[row]
    ]
    return [rollout.samples[row] for row in rows], advantages.values[rows].tolist()


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


def make_policy(model: Path, ranks: Ranks, tokens: int = 4096, **settings: Any) -> ZeroPolicy:
    update = {"micro_batch_tokens": tokens, "epsilon_high": 0.3, "logits_chunk": 7, **settings}
    config = tiny_config(model, update=update, rollout={"temperature": TEMPERATURE})
    return ZeroPolicy(config, str(model), ranks)


@pytest.mark.parametrize("tokens", [1, 24, 60, 4096])
@pytest.mark.parametrize("is_shared", [True, False])
def test_rows_of_any_length_give_the_gradient_of_the_plain_loop(
    tiny_model: Path, ranks: Ranks, tokens: int, is_shared: bool
) -> None:
    rollout = make_rollout()
    advantages = make_advantages(rollout, untrained=(3, 9))
    policy = make_policy(tiny_model, ranks, tokens)
    assert policy.engine.module.is_packed
    policy.engine.module.choose(is_shared)
    accumulate(policy, rollout, advantages, ranks)
    model = plain_model(tiny_model)
    expected = plain_gradients(model, model, model, *trained(rollout, advantages), beta=0.0)
    difference = relative_difference(gradients(policy), expected)
    print(f"rows of {tokens} tokens, shared {is_shared}: relative difference {difference:.1e}")
    assert difference < 1e-5


def test_recomputed_activations_give_the_same_gradient(tiny_model: Path, ranks: Ranks) -> None:
    rollout = make_rollout()
    advantages = make_advantages(rollout)
    found = []
    for recompute in (False, True):
        policy = make_policy(tiny_model, ranks, 60, activation_checkpointing=recompute)
        accumulate(policy, rollout, advantages, ranks)
        found.append(gradients(policy))
    assert relative_difference(found[1], found[0]) < 1e-6


@pytest.mark.parametrize(("mini_batches", "epochs"), [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_updates_are_those_of_adamw_with_kl_clipping_and_schedule(
    tiny_model: Path, ranks: Ranks, mini_batches: int, epochs: int
) -> None:
    """Four steps beside PyTorch's own optimizer on an ordinary model."""
    policy = make_policy(
        tiny_model,
        ranks,
        60,
        beta=0.3,
        weight_decay=0.1,
        max_grad_norm=0.05,
        lr=3e-3,
        schedule="linear",
        warmup_fraction=0.25,
        betas=[0.8, 0.95],
        mini_batches=mini_batches,
        epochs=epochs,
    )
    model, old, reference = (plain_model(tiny_model) for _ in range(3))
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim == 1]  # the norms
    optimizer = torch.optim.AdamW(
        [{"params": decayed}, {"params": others, "weight_decay": 0.0}],
        betas=(0.8, 0.95),
        weight_decay=0.1,
    )
    for step, rate in enumerate([1.5e-3, 3e-3, 2e-3, 1e-3]):
        rollout = make_rollout(step)
        advantages = make_advantages(rollout, untrained=(step,))
        metrics = policy.update(rollout, advantages)
        old.load_state_dict(model.state_dict())
        norms = []
        for share in [slice(n, None, mini_batches) for n in range(mini_batches)] * epochs:
            plain_gradients(model, old, reference, *trained(rollout, advantages, share), beta=0.3)
            norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), 0.05)))
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
        assert metrics["learning_rate"] == pytest.approx(rate)
        assert metrics["grad_norm"] == pytest.approx(fmean(norms), rel=1e-3)
        assert min(norms) > 0.05  # so that clipping did something
    assert metrics["kl"] > 1e-3  # so that its gradient did something
    expected = dict(model.named_parameters())
    initial = dict(reference.named_parameters())
    moved = {name: tensor for name, tensor in policy.weights() if name in expected}
    change = relative_difference(
        {name: moved[name] - initial[name].detach() for name in moved},
        {name: expected[name].detach() - initial[name].detach() for name in moved},
    )
    print(f"{mini_batches} mini-batches, {epochs} epochs: change off by {change:.1e}")
    assert change < 1e-2


def test_an_offloaded_optimizer_goes_on_with_the_same_updates_by_the_fused_kernel(
    tiny_model: Path, tmp_path: Path, ranks: Ranks
) -> None:
    rollout = make_rollout()
    settings = {"weight_decay": 0.1, "lr": 1e-2}
    plain = make_policy(tiny_model, ranks, **settings)
    plain.update(rollout, make_advantages(rollout))
    plain.save(tmp_path / "checkpoint")
    offloaded = make_policy(tiny_model, ranks, offload_optimizer=True, **settings)
    assert offloaded.engine.optimizer.optimizer.defaults["fused"]
    offloaded.load(tmp_path / "checkpoint")
    for policy in (plain, offloaded):
        policy.update(rollout, make_advantages(rollout))
    expected = dict(plain.weights())
    for name, tensor in offloaded.weights():
        torch.testing.assert_close(tensor, expected[name], atol=1e-5, rtol=1e-4)


def test_the_entropy_reported_is_that_of_the_policy(tiny_model: Path, ranks: Ranks) -> None:
    policy, rollout = make_policy(tiny_model, ranks), make_rollout()
    entropy = accumulate(policy, rollout, make_advantages(rollout), ranks)["entropy"]
    assert entropy == pytest.approx(plain_entropy(plain_model(tiny_model), rollout), rel=1e-5)


def test_a_model_that_does_not_fit_is_scored_by_its_own_forward_pass(
    tiny_model: Path, ranks: Ranks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One whose output layer is not the end of it, as in Gemma 2 or Granite."""
    forward = LlamaForCausalLM.forward

    def scaled(self: Any, *args: Any, **inputs: Any) -> Any:
        output = forward(self, *args, **inputs)
        output.logits = output.logits * 3
        return output

    monkeypatch.setattr(LlamaForCausalLM, "forward", scaled)
    said: list[str] = []
    config = tiny_config(tiny_model, rollout={"temperature": TEMPERATURE})
    policy = ZeroPolicy(config, str(tiny_model), ranks, said.append)
    assert "would be off by" in said[0]
    rollout = make_rollout()
    advantages = make_advantages(rollout)
    accumulate(policy, rollout, advantages, ranks)
    model = plain_model(tiny_model)
    expected = plain_gradients(model, model, model, *trained(rollout, advantages), beta=0.0)
    assert relative_difference(gradients(policy), expected) < 1e-4


def test_groups_of_equal_prompts_stay_groups(tiny_model: Path, ranks: Ranks) -> None:
    """A data set of one row, of which a step takes several."""
    rollout = make_rollout()
    same = tuple(replace(s, prompt_ids=(5, 6, 7)) for s in rollout.samples)
    policy = make_policy(tiny_model, ranks, mini_batches=PROMPTS)
    updates = policy.mini_batches(replace(rollout, samples=same), make_advantages(rollout))
    assert [sum(len(b.lengths) for b in batches) for batches in updates] == [GROUP] * PROMPTS


def test_completions_cut_off_by_their_length_can_be_left_out(
    tiny_model: Path, ranks: Ranks
) -> None:
    rollout = make_rollout()
    samples = [
        replace(s, finish_reason="length") if row in (2, 5) else s
        for row, s in enumerate(rollout.samples)
    ]
    cut = Rollout(samples=tuple(samples), group_size=GROUP)
    masked = make_policy(tiny_model, ranks, mask_truncated=True)
    accumulate(masked, cut, make_advantages(rollout), ranks)
    plain = make_policy(tiny_model, ranks)
    accumulate(plain, rollout, make_advantages(rollout, untrained=(2, 5)), ranks)
    assert relative_difference(gradients(masked), gradients(plain)) < 1e-6


@pytest.mark.parametrize("loss", ["dapo", "grpo", "dr_grpo"])
def test_completions_cut_off_may_go_on_counting_as_samples(
    tiny_model: Path, ranks: Ranks, loss: str
) -> None:
    rollout = make_rollout()
    count, masked = len(rollout.samples), (2, 5, 6)
    samples = [
        replace(s, finish_reason="length") if row in masked else s
        for row, s in enumerate(rollout.samples)
    ]
    cut = Rollout(samples=tuple(samples), group_size=GROUP)
    found = {}
    for left_out in ("drop", "count"):
        policy = make_policy(
            tiny_model, ranks, loss=loss, mask_truncated=True, left_out=left_out, mini_batches=1
        )
        accumulate(policy, cut, make_advantages(rollout), ranks)
        found[left_out] = gradients(policy)
    share = 1.0 if loss == "dapo" else (count - len(masked)) / count
    expected = {name: share * gradient for name, gradient in found["drop"].items()}
    assert relative_difference(found["count"], expected) < 1e-6


def test_samples_without_a_score_may_take_part_with_an_advantage_of_0(
    tiny_model: Path, ranks: Ranks
) -> None:
    rollout = make_rollout()
    left = make_advantages(rollout, untrained=(3, 9))
    policy = make_policy(tiny_model, ranks, left_out="count", beta=0.2, entropy_bonus=0.1)
    counted = accumulate(policy, rollout, left, ranks)
    everyone = replace(left, trained=torch.ones_like(left.trained))
    plain = make_policy(tiny_model, ranks, beta=0.2, entropy_bonus=0.1)
    assert accumulate(plain, rollout, everyone, ranks) == pytest.approx(counted, rel=1e-5)
    assert relative_difference(gradients(policy), gradients(plain)) < 1e-6


def test_a_step_of_which_all_was_cut_off_moves_nothing(tiny_model: Path, ranks: Ranks) -> None:
    rollout = make_rollout()
    samples = tuple(replace(s, finish_reason="length") for s in rollout.samples)
    policy = make_policy(tiny_model, ranks, mask_truncated=True, left_out="count", mini_batches=2)
    metrics = policy.update(replace(rollout, samples=samples), make_advantages(rollout))
    assert metrics["trained_samples"] == 0
    assert "grad_norm" not in metrics
    one = tuple(replace(s, finish_reason="stop") if n == 0 else s for n, s in enumerate(samples))
    metrics = policy.update(replace(rollout, samples=one), make_advantages(rollout))
    assert metrics["trained_samples"] == 1
    assert metrics["grad_norm"] > 0


BETAS = (0.0, 0.3)


@pytest.fixture(scope="module")
def of_ranks(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each of `BETAS`, with the gradients of one rank and of two."""
    folder = tmp_path_factory.mktemp("gradients")
    run_program(__name__, str(tiny_model), str(folder))
    return folder


@pytest.mark.parametrize("beta", BETAS)
def test_two_ranks_give_the_gradient_of_one(of_ranks: Path, beta: float) -> None:
    folder = of_ranks / str(beta)
    one, two = (load_file(folder / f"gradients-{size}.safetensors") for size in (1, 2))
    difference = relative_difference(two, one)
    print(f"2 ranks, beta {beta}: relative difference {difference:.1e}")
    assert difference < 1e-5
    metrics = [json.loads((folder / f"metrics-{size}.json").read_text()) for size in (1, 2)]
    assert metrics[1] == pytest.approx(metrics[0], rel=1e-5, abs=1e-6)


def as_ranks(model: Path, folder: Path) -> None:
    """Write all gradients, by ranks forked off here: to import takes longest."""
    fork = multiprocessing.get_context("fork")
    for beta in BETAS:
        (folder / str(beta)).mkdir()
        for size in (1, 2):
            port = free_port()
            ranks = [
                fork.Process(target=as_rank, args=(model, folder / str(beta), beta, n, size, port))
                for n in range(size)
            ]
            for each in ranks:
                each.start()
            for each in ranks:
                each.join()
            assert [each.exitcode for each in ranks] == [0] * size


def as_rank(model: Path, folder: Path, beta: float, rank: int, size: int, port: int) -> None:
    os.environ |= rank_environment(rank, size, port)
    write_gradients(model, folder, beta)


def write_gradients(model: Path, folder: Path, beta: float) -> None:
    """What each rank does: the gradient of its share of the rows."""
    ranks = Ranks.join()
    rollout = make_rollout()
    # The first rank generated 3 of the samples that are trained on, and the second 8.
    advantages = make_advantages(rollout, untrained=(0, 1, 2, 4, 5))
    rows = ranks.share(len(rollout.samples))
    mine = Rollout(samples=rollout.samples[rows], group_size=GROUP)
    policy = make_policy(model, ranks, 40, beta=beta)
    policy.engine.module.choose(is_packed=beta == 0)  # else 11 rows, so one rank has to idle
    metrics = accumulate(policy, mine, ranks.shard(advantages), ranks)
    result = gradients(policy)
    if ranks.is_main:
        save_file(result, folder / f"gradients-{ranks.size}.safetensors")
        (folder / f"metrics-{ranks.size}.json").write_text(json.dumps(metrics))
    ranks.wait()  # one that leaves while the other is still gathering takes its own threads down
    ranks.leave()


def test_a_loss_that_is_not_finite_moves_nothing_and_names_the_samples(
    tiny_model: Path, ranks: Ranks
) -> None:
    policy = make_policy(tiny_model, ranks)
    before = dict(policy.weights())
    rollout = make_rollout()
    advantages = make_advantages(rollout)
    advantages.values[11] = float("nan")
    with pytest.raises(UpdateError, match=r"step 1: the loss is not finite.*random/1;"):
        policy.update(rollout, advantages)
    after = dict(policy.weights())
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_an_update_that_runs_out_of_memory_names_its_settings(
    tiny_model: Path, ranks: Ranks
) -> None:
    policy = make_policy(tiny_model, ranks, tokens=300)
    layer = policy.model.get_input_embeddings()

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    layer.register_forward_pre_hook(full)
    rollout = make_rollout()
    with pytest.raises(ShortageError) as raised:
        policy.update(rollout, make_advantages(rollout))
    assert str(raised.value) == (
        "memory ran out in the policy update (CUDA out of memory. Tried to allocate 2.00 GiB.); "
        "lower update.micro_batch_tokens, which is 300, or set update.activation_checkpointing="
        "true, or take a smaller model; then go on with --resume, or start again where there is "
        "no checkpoint"
    )


def test_a_step_without_trained_samples_moves_nothing(tiny_model: Path, ranks: Ranks) -> None:
    policy = make_policy(tiny_model, ranks, weight_decay=0.1)
    rollout = make_rollout()
    policy.update(rollout, make_advantages(rollout))  # gives the optimizer momentum
    before = dict(policy.weights())
    nothing = make_advantages(rollout, untrained=tuple(range(len(rollout.samples))))
    assert policy.update(rollout, nothing)["trained_samples"] == 0
    after = dict(policy.weights())
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_tokens_are_counted_with_their_prompts_over_the_steps(
    tiny_model: Path, ranks: Ranks
) -> None:
    policy, rollout = make_policy(tiny_model, ranks, mask_truncated=True), make_rollout()
    own = sum(len(s.prompt_ids) + len(s.completion_ids) for s in rollout.samples)
    untrained = make_advantages(rollout, untrained=(0, 1))
    counted = [policy.update(rollout, untrained)["num_tokens"] for _ in range(2)]
    assert counted == [own, 2 * own]


def test_the_policy_is_scored_before_an_update_without_dropout(
    tiny_model: Path, ranks: Ranks
) -> None:
    policy, rollout = make_policy(tiny_model, ranks), make_rollout()
    ((batch,),) = policy.mini_batches(rollout, make_advantages(rollout))
    for layer in policy.model.modules():
        if hasattr(layer, "attention_dropout"):
            layer.attention_dropout = 0.5
    policy.engine.eval()
    expected = score_without_gradient(policy.engine, batch)
    policy.engine.train()
    assert torch.equal(score_without_gradient(policy.engine, batch), expected)
    assert not policy.engine.module.training


def test_a_learning_rate_of_zero_leaves_the_weights(tiny_model: Path, ranks: Ranks) -> None:
    policy = make_policy(tiny_model, ranks, lr=0.0)
    before = dict(policy.weights())
    rollout = make_rollout()
    assert policy.update(rollout, make_advantages(rollout))["grad_norm"] > 0
    after = dict(policy.weights())
    assert all(torch.equal(before[name], after[name]) for name in before)


if __name__ == "__main__":
    as_ranks(Path(sys.argv[1]), Path(sys.argv[2]))
