"""What carries a name of TRL's is TRL's number, by definitions written out sample by sample."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.config.update import UpdateConfig
from rvpo.corrections import Mask, Truncate
from rvpo.data.order import PromptStream
from rvpo.losses.clipped import Clipped
from rvpo.losses.weighting import token_weights
from rvpo.rewards.metrics import reward_metrics
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.batch import MicroBatch, TrainedSample, arrange, micro_batches
from rvpo.trainer.objective import objective
from rvpo.trainer.statistics import TokenStatistics
from rvpo.types import Prompt, Rewards
from tests.fakes import with_columns

LONGEST = 9
LOSSES: list[dict[str, Any]] = [
    *({"loss": name} for name in ("dapo", "grpo", "dr_grpo", "bnpo")),
    {"loss": "gspo", "epsilon": 0.05, "epsilon_high": 0.1},
    {"loss": "cispo", "epsilon_high": 1.2},
    {"loss": "dapo", "epsilon_high": 0.28, "dual_clip": 1.5},
]
CORRECTIONS = ("none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask")
KL = ("k1", "k2", "k3", "ratio_k3")


@dataclass(frozen=True)
class Scored:
    """A sample with what the models say of each of its tokens."""

    sample: TrainedSample
    new: torch.Tensor
    old: torch.Tensor
    reference: torch.Tensor
    entropy: torch.Tensor


def make_scored(seed: int) -> list[Scored]:
    chance = random.Random(seed)

    def draw(length: int, mean: float, spread: float) -> torch.Tensor:
        values = [chance.gauss(mean, spread) for _ in range(length)]
        return torch.tensor(values, dtype=torch.float64)

    def one(group: int) -> Scored:
        length = chance.randint(1, LONGEST)
        sample = TrainedSample(
            prompt_id=str(group),
            prompt_ids=(group, group),
            completion_ids=tuple(chance.randrange(9) for _ in range(length)),
            sampled_logprobs=tuple(draw(length, -1.5, 0.3).tolist()),
            advantage=chance.gauss(0, 1),
        )
        old = draw(length, -1.5, 0.3)
        new = old + draw(length, 0, 0.25)
        return Scored(sample, new, old, draw(length, -1.5, 0.4), draw(length, 2, 0.3))

    return [one(group) for group in range(3) for _ in range(4)]


def measured(
    config: UpdateConfig, scored: list[Scored], ranks: Ranks, tokens: int
) -> dict[str, float]:
    """What `TokenStatistics` reports over rows of so many tokens."""
    by_sample = {id(s.sample): s for s in scored}
    rows = arrange([s.sample for s in scored], tokens=tokens)
    order = [[by_sample[id(x)] for part in row for x in part.samples] for row in rows]
    lengths = [s.sample.length for row in order for s in row]
    numbers = [n for n, row in enumerate(order) for _ in row]
    weights = token_weights(config.loss.weighting, lengths, numbers, LONGEST)
    statistics = TokenStatistics(config)
    for row, batch in zip(order, micro_batches(rows, weights, torch.device("cpu")), strict=True):

        def of(name: str, row: list[Scored] = row) -> torch.Tensor:
            return torch.cat([getattr(s, name) for s in row])

        batch = replace(batch, old_logprobs=of("old"))
        reference = of("reference") if config.beta else None
        outcome = objective(config, batch, of("new"), of("entropy"), reference)
        statistics.add(batch, outcome, of("entropy"))
    return statistics.metrics(ranks)


def of_importance(config: UpdateConfig, s: Scored) -> list[float]:
    """TRL's vllm_importance_sampling_ratio: of each token, or one of the sample."""
    log_w = s.old - torch.tensor(s.sample.sampled_logprobs, dtype=torch.float64)
    if config.correction.corrected == "sequence":
        log_w = log_w.sum()[None]
    w = log_w.exp()
    assert isinstance(config.correction, Truncate | Mask)
    floor, cap = config.correction.floor or 0.0, config.correction.cap
    if isinstance(config.correction, Truncate):
        return w.clamp(floor, cap).tolist()
    return [x if floor <= x <= cap else 0.0 for x in w.tolist()]


def counted(weights: list[float], length: int) -> list[int]:
    """Tokens that gspo's ratio is a mean over. Here alone it is not TRL's, which has those with a
    mask in it too; of a sample that has no others, all."""
    kept = [t for t, w in enumerate(weights) if w] if len(weights) == length else []
    return kept or [*range(length)]


def defined(config: UpdateConfig, scored: list[Scored]) -> dict[str, float]:
    """TRL's metrics of one batch without accumulation: lists of a value a token or a sample."""
    chosen, name = config.loss, config.loss.name
    is_clipped = isinstance(chosen, Clipped)
    epsilon = chosen.epsilon if is_clipped else 0.2
    high = chosen.largest_rise if is_clipped else chosen.cap  # type: ignore[attr-defined]
    delta = chosen.dual_clip if is_clipped else None
    loss, kl, low, up, capped, importance, entropy = ([] for _ in range(7))  # type: ignore[var-annotated]
    total, count = sum(s.sample.length for s in scored), len(scored)
    for s in scored:
        a, length = s.sample.advantage, s.sample.length
        ratio = (s.new - s.old).exp()
        weights = [1.0] if config.correction.name == "none" else of_importance(config, s)
        if name == "gspo":
            ratio = (s.new - s.old)[counted(weights, length)].mean().exp()[None]
        importance += weights
        d = s.reference - s.new
        k3 = d.exp() - d - 1
        kl += (k3 * ratio if config.kl == "ratio_k3" else k3).tolist()
        entropy += s.entropy.tolist()
        low.append([float(r < 1 - epsilon and a < 0) for r in ratio])
        up.append([float(r > 1 + high and a > 0) for r in ratio])
        capped += [float(r > high and a > 0) for r in ratio]
        bounded = ratio.clamp(max=delta or float("inf"))
        surrogate = -torch.minimum(bounded * a, ratio.clamp(1 - epsilon, 1 + high) * a)
        if name == "cispo":
            surrogate = -ratio.clamp(max=high) * a * s.new
        penalty = {"k1": -d, "k2": d**2 / 2, "k3": k3, "ratio_k3": k3 * ratio}[config.kl]
        token = surrogate * torch.tensor(weights, dtype=torch.float64) + config.beta * penalty
        share = {"grpo": count * length, "gspo": count * length, "dr_grpo": count * LONGEST}
        loss.append(float(token.expand(length).sum()) / share.get(name, total))
    metrics = {
        "loss": sum(loss) - config.entropy_bonus * fmean(entropy),
        "entropy": fmean(entropy),
    }
    if config.entropy_bonus:
        metrics["policy_loss"] = sum(loss)
    if config.beta:
        metrics["kl"] = fmean(kl)
    if config.correction.name != "none":
        prefix = "sampling/importance_sampling_ratio"
        metrics |= {f"{prefix}/mean": fmean(importance)}
        metrics |= {f"{prefix}/min": min(importance), f"{prefix}/max": max(importance)}
    if name == "cispo":
        return metrics | {"cispo_clip_ratio": fmean(capped)}
    low_mean, high_mean = (fmean(x for values in each for x in values) for each in (low, up))
    return metrics | {
        "clip_ratio/low_mean": low_mean,
        "clip_ratio/high_mean": high_mean,
        "clip_ratio/region_mean": low_mean + high_mean,
        "clip_ratio/low_min": min(map(fmean, low)),
        "clip_ratio/high_max": max(map(fmean, up)),
    }


OURS = {"ratio", "kl_k1", "kl_k2", "update/prompt_passes"}
OURS |= {f"sampling/raw_ratio/{part}" for part in ("min", "mean", "max")}
SHARED_ANYWAY = {f"sampling/sampling_logp_difference/{part}" for part in ("mean", "max")}


@pytest.mark.parametrize("loss", LOSSES, ids=str)
@settings(deadline=None, max_examples=25)
@given(
    correction=st.sampled_from(CORRECTIONS),
    seed=st.integers(0, 10**6),
    kl=st.sampled_from(KL),
    beta=st.sampled_from([0.0, 0.3]),
    bonus=st.sampled_from([0.0, 0.2]),
    floor=st.sampled_from([0.0, 0.9]),
)
def test_every_number_under_a_name_of_trl_is_trls(
    ranks: Ranks,
    loss: dict[str, Any],
    correction: str,
    seed: int,
    kl: str,
    beta: float,
    bonus: float,
    floor: float,
) -> None:
    config = UpdateConfig.model_validate(
        {
            **loss,
            "correction": correction,
            "correction_floor": floor,
            "correction_cap": 1.3,
            "kl": kl,
            "beta": beta,
            "entropy_bonus": bonus,
        }
    )
    scored = make_scored(seed)
    found = measured(config, scored, ranks, tokens=4096)
    expected = defined(config, scored)
    # What is left is of our own, under names that TRL does not have.
    assert found.keys() - expected.keys() <= OURS | SHARED_ANYWAY
    shared = {name: found[name] for name in expected}
    assert shared == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("loss", [each for each in LOSSES if each["loss"] != "bnpo"], ids=str)
def test_no_number_of_an_update_depends_on_its_rows(ranks: Ranks, loss: dict[str, Any]) -> None:
    config = UpdateConfig.model_validate({**loss, "beta": 0.1, "entropy_bonus": 0.1})
    scored = make_scored(3)
    found = [measured(config, scored, ranks, tokens) for tokens in (4096, 24)]
    passes = [each.pop("update/prompt_passes") for each in found]
    assert passes[0] <= passes[1]
    assert found[1] == pytest.approx(found[0], rel=1e-5, abs=1e-6)


def test_a_rank_without_a_micro_batch_of_its_own_hides_nothing(ranks: Ranks) -> None:
    config = UpdateConfig.model_validate({"beta": 0.1})
    scored = make_scored(1)[:1]
    rows = arrange([s.sample for s in scored], tokens=64)
    idle = micro_batches(rows, [0.1], torch.device("cpu"), rank=1, ranks=2)
    statistics = TokenStatistics(config)
    for batch in idle:
        assert not batch.counts
        add_nothing(config, statistics, batch)
    assert statistics.metrics(ranks) == {"loss": 0, "update/prompt_passes": 0}


def add_nothing(config: UpdateConfig, statistics: TokenStatistics, batch: MicroBatch) -> None:
    zeros = torch.zeros(len(batch.sample))
    statistics.add(batch, objective(config, batch, zeros, zeros, zeros), zeros)


# --- rewards --------------------------------------------------------------------------------------

score = st.one_of(st.none(), st.sampled_from([0.0, 0.1, 0.3, 0.7, 1.0]))


@settings(deadline=None)
@given(st.lists(st.lists(score, min_size=8, max_size=8), min_size=1, max_size=4))
def test_reward_counts_every_sample_with_a_score_even_of_weight_0(
    groups: list[list[float | None]],
) -> None:
    """Groups of four samples of two scores, the second only logged."""
    rows = [group[n : n + 2] for group in groups for n in range(0, 8, 2)]
    metrics = reward_metrics(with_columns(two_rewards(rows)))
    sums = [0.3 * (row[0] or 0.0) for row in rows if row != [None, None]]
    if sums:
        assert metrics["reward"] == pytest.approx(fmean(sums), abs=1e-6)
    of_groups = [rows[n : n + 4] for n in range(0, len(rows), 4)]
    known = [[row[0] or 0.0 for row in group if row != [None, None]] for group in of_groups]
    dead = [len(values) > 1 and len(set(values)) == 1 for values in known]
    if any(len(values) > 1 for values in known):
        assert metrics["frac_reward_zero_std"] == pytest.approx(fmean(dead))


def two_rewards(rows: list[list[float | None]]) -> Rewards:
    values = torch.tensor([[x or 0.0 for x in row] for row in rows])
    valid = torch.tensor([[x is not None for x in row] for row in rows])
    weights = torch.tensor([0.3, 0.0])
    return Rewards(values, ["trained", "logged"], 4, valid=valid, weights=weights)


@settings(deadline=None)
@given(
    st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3),
    st.lists(st.floats(0.125, 2, width=32), min_size=3, max_size=3),
)
def test_a_constant_group_is_one_whatever_binary_fractions_make_of_its_scores(
    scores: list[float], weights: list[float]
) -> None:
    rewards = Rewards(torch.tensor([scores] * 8), ["a", "b", "c"], 8, weights=torch.tensor(weights))
    metrics = reward_metrics(with_columns(rewards))
    assert metrics["frac_reward_zero_std"] == 1
    assert metrics["reward_group_std"] == 0


@given(st.integers(1, 50), st.integers(1, 20), st.integers(0, 100))
@settings(deadline=None)
def test_an_epoch_is_over_when_every_prompt_was_visited_once_more(
    count: int, per_step: int, steps: int
) -> None:
    prompts = [Prompt(id=str(n), messages=()) for n in range(count)]
    stream = PromptStream(prompts, per_step, seed=0)
    visited = [prompt.id for step in range(steps) for prompt in stream.at(step)]
    fewest = min(visited.count(prompt.id) for prompt in prompts)
    assert int(stream.epochs(steps)) == fewest
