"""The name of every metric, with a sentence.

`{reward}` stands for a reward, or a reward and one of its criteria or classes; `{judged}` for a
judged reward; `{state}` for that of a criterion; `{benchmark}`, `{score}` and `{part}` for a
benchmark, one of its scores and what that is of; `{reason}` for why an answer was lost; `{ending}`
for that of an episode; `{phase}` for a part of a step. Names that TRL has too are the same number
here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from rvpo.errors import ConfigError

_SCORES: Mapping[str, str] = {
    "rewards/{reward}/mean": "Mean score over the samples that have one.",
    "rewards/{reward}/std": "Standard deviation of the scores over the batch, ddof 1.",
    "rewards/{reward}/group_std": "Standard deviation within a group, mean over groups.",
    "rewards/{reward}/missing_frac": "Share of samples without a score, whatever the reason.",
    "rewards/{reward}/failed_frac": "Share of samples whose score failed.",
    "rewards/{reward}/spared_frac": "Share of samples that were not asked because a few others of "
    "their group were, for criteria that told none apart for long.",
    "rewards/{reward}/met_frac": "Share of the scores that are good enough: 1 of a verdict, or "
    "what rewards.NAME.satisfied says.",
    "rewards/{reward}/zero_std_frac": "Share of groups in which every sample has the same score.",
    "reward": "Weighted sum of a sample's scores, mean over the samples that have any.",
    "reward_std": "Standard deviation of the weighted sum over the batch.",
    "reward_group_std": "Standard deviation of the weighted sum within a group, mean over groups.",
    "frac_reward_zero_std": "Share of groups whose samples all have the same weighted sum.",
    "rewards_joint/satisfied_all_frac": "Share of samples in which every weighted reward "
    "is good enough: 1, or what rewards.NAME.satisfied says.",
    "rewards_joint/worst_mean": "Lowest weighted score of a sample, each by the part of the "
    "way from bad to good that it is on, mean over samples.",
}
_ADVANTAGES: Mapping[str, str] = {
    "advantage/mean": "Mean advantage over the trained samples.",
    "advantage/abs_mean": "Mean size of an advantage.",
    "advantage/std": "Standard deviation of the advantages.",
    "advantage/min": "Lowest advantage.",
    "advantage/max": "Highest advantage.",
    "advantage/frac_zero": "Share of trained samples whose advantage is 0, which teach nothing.",
    "advantage_raw/mean": "Mean over the trained samples before whitening.",
    "advantage_raw/abs_mean": "Mean size before whitening.",
    "advantage_raw/std": "Standard deviation before whitening.",
    "advantage_raw/min": "Lowest value before whitening.",
    "advantage_raw/max": "Highest value before whitening.",
    "advantage_raw/frac_zero": "Share of trained samples with 0 before whitening.",
    "advantage/pull/{reward}": "The reward's share of what the advantages move: the slope of the "
    "advantage on its score within groups, times the score's standard deviation. Below 0 where "
    "what scores higher gets less.",
    "advantage/weight/{reward}": "The reward's share of the aggregate's gradient, mean over "
    "samples. It misleads: it reads 1.05 of the others' where meeting a rare reward is paid 0.43 "
    "of what the others are; see advantage/pull.",
    "advantage/bottleneck/{reward}": "Share of samples in which the reward has the lowest z-score; "
    "with scale: none the lowest centred score, or level.",
    "advantage/weight_entropy": "Entropy of those shares, in nats; 0 where one reward decides.",
    "advantage/variance_penalty": "Part of the mean z-score that the aggregate takes off.",
    "advantage/taylor_residual": "SoftMin less its second-order approximation, mean size.",
    "advantage/taylor_bound": "Bound of that residual.",
    "advantage/dead_group_frac": "Share of groups in which every used reward is constant.",
    "advantage/untrained_frac": "Share of samples that have no advantage.",
    "advantage/noisy_bottleneck": "Share of samples whose lowest z-score (see "
    "advantage/bottleneck) is of a reward of reliability below a half: there the soft minimum "
    "follows noise. With judge.repeat.",
    "advantage/noisy_weight": "The share that such rewards have in the aggregate's gradient, mean.",
    "rvpo/k": "Sharpness of the SoftMin at this step.",
}
_CRITERIA: Mapping[str, str] = {
    "criteria/{state}_frac": "Share of the step's weighted criteria, which are rewards and parts "
    "of rewards, in a state: suppressed (what meets it gets less advantage), unexplored (none "
    "meets it, no group differs), dead (no group differs otherwise), saturated (nearly all meet "
    "it, nearly no group differs) or alive. One step is noisy; the page of a run looks at ten.",
}
_UPDATE: Mapping[str, str] = {
    "loss": "Loss that the optimizer minimised, mean over the updates of the step.",
    "policy_loss": "The same without the entropy bonus, where there is one.",
    "grad_norm": "Norm of the gradient before clipping, mean over the updates.",
    "learning_rate": "Learning rate of the step.",
    "entropy": "Entropy of what the policy draws a token from, in nats, mean over tokens.",
    "kl": "Estimate of the KL divergence to the reference model, mean over tokens.",
    "kl_k1": "The estimator k1, where that is minimised.",
    "kl_k2": "The estimator k2, where that is minimised.",
    "ratio": "Probability ratio of the new policy to the old one, mean over tokens.",
    "clip_ratio/low_mean": "Share of tokens clipped below; of samples with gspo.",
    "clip_ratio/low_min": "Lowest such share of a sample.",
    "clip_ratio/high_mean": "Share of tokens clipped above; of samples with gspo.",
    "clip_ratio/high_max": "Highest such share of a sample.",
    "clip_ratio/region_mean": "Share of tokens clipped on either side.",
    "cispo_clip_ratio": "Share of tokens whose weight cispo clips.",
    "lora/merged_share": "Share of what the adapters add to the weights that was left of it in the "
    "step's engine, after rounding to the type of the weights; with model.lora.sync merged.",
    "num_tokens": "Tokens of prompts and completions so far.",
    "trained_samples": "Samples that the update learned from, of all ranks.",
    "update/prompt_passes": "Prompts computed; with a shared prompt one for a whole group.",
    "sampling/sampling_logp_difference/mean": "Engine's against trainer's log-probability of a "
    "token, mean size.",
    "sampling/sampling_logp_difference/max": "The largest such difference.",
    "sampling/importance_sampling_ratio/mean": "Factor on the losses from the correction, mean.",
    "sampling/importance_sampling_ratio/max": "The largest of these factors.",
    "sampling/importance_sampling_ratio/min": "The smallest of these factors.",
    "sampling/raw_ratio/mean": "Trainer's against engine's probability of a token, mean ratio.",
    "sampling/raw_ratio/max": "The largest such ratio.",
    "sampling/raw_ratio/min": "The smallest such ratio.",
}
_ROLLOUT: Mapping[str, str] = {
    "completions/mean_length": "Tokens of a completion, mean. Here and below, those of an episode "
    "are the policy's alone, of all its turns.",
    "completions/min_length": "Tokens of the shortest completion.",
    "completions/max_length": "Tokens of the longest completion.",
    "completions/clipped_ratio": "Share of completions cut off at the longest allowed.",
    "completions/mean_terminated_length": "Tokens of a completion that ended by itself, mean.",
    "completions/min_terminated_length": "The shortest of those.",
    "completions/max_terminated_length": "The longest of those.",
    "completions/thought_mean_length": "Tokens of a sample's thoughts, their markers among them, "
    "mean; this and the next two in steps in which a sample has a thought.",
    "completions/answer_mean_length": "Tokens of the answer behind them, mean.",
    "completions/unanswered_ratio": "Share of samples whose thought never ended.",
    "completions/thought_ended_ratio": "Share of samples whose thought rollout.max_thought_tokens "
    "ended, where it ended any.",
    "policy/version": "Updates done before this one.",
    "policy/staleness_mean": "Updates that the sampling weights were behind, mean over the tokens "
    "of a sample and over samples.",
    "policy/staleness_max": "The same, of the oldest token.",
    "policy/mixed_frac": "Share of samples that went on under new weights, where there are any; "
    "see rollout.in_flight.",
    "epoch": "Visits to all prompts so far; of sources with shares, to those of the source that is "
    "visited least.",
    "timing/{phase}": "Seconds to generate, score, update and sync; `step` is all of them.",
    "tokens_per_second/generate": "Tokens of completions, over the slowest rank's seconds of "
    "generation.",
    "tokens_per_second/update": "Tokens of prompts and completions in the rows of the update, once "
    "for each epoch, over its seconds.",
    "mfu/update": "Share of the GPUs' peak bf16 arithmetic that the update used: 6 operations a "
    "parameter and token, 4 where it does not learn beside an adapter, 2 for a pass of the "
    "reference or the old policy, none for recomputed activations and attention. Only where the "
    "peak of each card is known.",
    "kv_cache/usage_max": "Largest share of vLLM's KV cache in use, of any rank; this and "
    "preemptions only where engines are in the training processes.",
    "kv_cache/preemptions": "Times that a sample gave up its place there and was computed again, "
    "of all ranks: more room, or a smaller rollout.engine.options.max_num_seqs, saves that time.",
    "kv_cache/tokens": "Tokens that there is room for, of the rank with the least.",
    "memory/generate_gib": "Memory of a GPU taken at most while generating, of any rank, by all "
    "that is on it.",
    "memory/update_gib": "The same in the update.",
    "servers/present": "Servers that had the present weights at the end of the rollout, as the "
    "rank saw it that lost most.",
    "servers/asked_again": "Requests for samples that a server did not answer, and that were sent "
    "again, of all ranks.",
}
_EPISODES: Mapping[str, str] = {
    "episodes/turns_mean": "Turns of the policy in an episode, mean. With environment, as all of "
    "these.",
    "episodes/turns_max": "The most turns of an episode.",
    "episodes/world_mean_length": "Tokens of an episode that the world said, mean.",
    "episodes/world_seconds_mean": "Seconds in which an episode's world was at work, mean.",
    "episodes/world_seconds_max": "The most of an episode.",
    "episodes/wait_exposed_s": "Seconds in which the engine had nothing to do but to wait for "
    "worlds, the most of any rank.",
    "episodes/ended/{ending}": "Share of episodes that ended so: answered, out_of_turns, "
    "out_of_tokens, out_of_time, tool_failed or world_broken. The last two have no score.",
    "episodes/missing/{reason}": "Episodes without a score, by reason, the most frequent ones.",
    "episodes/rewritten_frac": "Share of episodes whose chat template would write them otherwise "
    "than they were sampled.",
    "tools/call_frequency": "Calls of tools in an episode, mean.",
    "tools/failure_frequency": "Share of these calls that failed.",
}
_JUDGE: Mapping[str, str] = {
    "verdicts": "Verdicts asked for.",
    "requests": "Requests sent, retries and hedges included.",
    "retries": "Requests sent again after a failure.",
    "hedges": "Requests sent twice because the first was slow.",
    "parse_failures": "Replies that state no verdict.",
    "input_tokens": "Tokens sent, as the endpoint counts them.",
    "output_tokens": "Tokens received.",
    "cost": "Dollars, by the endpoint's price.",
    "cached_frac": "Share of verdicts taken from the cache.",
    "failed_frac": "Share of verdicts missing.",
    "other_model": "Verdicts of another model than the one asked for.",
    "latency_p50_s": "Median seconds of an answer that was asked for.",
    "latency_p95_s": "The 95th percentile of the same.",
    "failures/{reason}": "Verdicts lost, by reason.",
    "attempt_failures/{reason}": "Attempts lost, by reason, whether or not a later one succeeded.",
}
_WHOLE_JUDGE: Mapping[str, str] = {
    "judge/wait_exposed_s": "Seconds that training waited for verdicts.",
    "judge/skipped_groups": "Groups left out because too many of their verdicts are missing.",
}
_COMPARISONS: Mapping[str, str] = {
    "judge/{judged}/position_bias": "Share of comparisons won by the response shown first, ties "
    "halved, less one half: 0 where the place does not matter, .5 where the first always wins.",
    "judge/{judged}/contrary_frac": "Share of pairs whose verdict changed with the order.",
    "judge/{judged}/tie_frac": "Share of comparisons that the judge called a tie.",
}
_RELIABILITY: Mapping[str, str] = {
    "judge/{reward}/reliability": "Share of what sets the samples of a prompt apart that the judge "
    "finds again when it is asked again: by a criterion, by the criteria of a class, by all of a "
    "reward. With judge.repeat.",
    "judge/{reward}/reliability_low": "Lower end of its interval of 95 %.",
    "judge/{reward}/reliability_high": "Upper end of that.",
    "judge/{reward}/reliability_scores": "Repeated scores that it rests on: as many as would tell "
    "as much if all differed alike from their prompt's others. Old ones count less.",
}
_GROUPS: Mapping[str, str] = {
    "groups/generated": "Groups that were sampled, with those that were not trained on. With "
    "rollout.resample or rollout.oversample.",
    "groups/dead_frac": "Share of these in which no reward tells the samples apart.",
    "groups/resampled": "Groups that were sampled in the place of dead ones.",
    "groups/generated_tokens": "Completion tokens of all groups that were sampled.",
    "order/passed_over": "Prompts that were left out before this step's, since their groups told "
    "little. With data.order: difficulty.",
    "order/known_frac": "Share of the prompts whose groups have told anything of them; of a stream "
    "as soon as it is known how many it has.",
    "order/telling": "Share of the rewards' weight in which samples differ, as far as groups have "
    "told, mean over these prompts.",
}
_EVALUATION: Mapping[str, str] = {
    "eval/rewards/{reward}/mean": "Mean score on the held-out prompts.",
    "eval/pass@{k}/{reward}": "Chance that one of k answers to a held-out prompt is good, mean "
    "over prompts, from all samples of each; with evaluate.at_k.",
    "eval/maj@{k}/{reward}": "Chance that the answer is good which most of k samples give.",
    "eval/all_satisfied@{k}": "Chance that one of k answers satisfies every weighted reward.",
    "eval/gold/rewards/{reward}/mean": "The gold judge's mean score on the same answers.",
    "eval/{benchmark}/{score}": "A score of a benchmark.",
    "eval/{benchmark}/{score}/{part}": "The same for a part, such as an axis or a category.",
}

_GOLD: Mapping[str, str] = {
    "judge_gap/{reward}": "Training judge's score less the gold judge's, mean over the held-out "
    "answers that both judged.",
    "judge_gap_only_training/{reward}": "Share of their verdicts that only the training judge "
    "gives: its score is the higher one.",
    "judge_gap_only_gold/{reward}": "Share of their verdicts that only the gold judge gives.",
    "judge_gap_missing/{reward}": "Share of the verdicts that either judge did not give, which no "
    "gap counts.",
}

METRICS: Mapping[str, str] = {
    **_SCORES,
    **_ADVANTAGES,
    **_CRITERIA,
    **_UPDATE,
    **_ROLLOUT,
    **_EPISODES,
    **{f"judge/{name}": sentence for name, sentence in _JUDGE.items()},
    **{f"judge/{{judged}}/{name}": f"{text} For one reward." for name, text in _JUDGE.items()},
    **_COMPARISONS,
    **{f"judges/{{judge}}/{name}": f"{text} Of one judge." for name, text in _JUDGE.items()},
    **_WHOLE_JUDGE,
    **_RELIABILITY,
    **_GROUPS,
    **_EVALUATION,
    **_GOLD,
}
"""Every metric of `metrics.jsonl` and of the trackers."""

_DEEP = ("reward", "part")  # may hold slashes, as the names of criteria do


def entry_of(name: str) -> str | None:
    """The entry of METRICS that a metric belongs to; None where there is none."""
    if name in METRICS:
        return name
    return next((entry for entry in METRICS if _pattern(entry).fullmatch(name)), None)


def render(part: str = "") -> str:
    """A paragraph for each metric whose name has `part` in it, or that a run writes by that name.

    Raises:
        ConfigError: there is none.
    """
    entry = entry_of(part)
    found = {n: sentence for n, sentence in METRICS.items() if part in n or n == entry}
    if not found:
        raise ConfigError(f"no metric has {part!r} in its name; `rvpo metrics` lists all of them")
    return "\n".join(f"{name}\n    {sentence}" for name, sentence in found.items())


@cache
def _pattern(entry: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", entry)
    for i in range(1, len(parts), 2):
        parts[i] = ".+" if parts[i] in _DEEP else "[^/]+"
    return re.compile("".join(re.escape(p) if i % 2 == 0 else p for i, p in enumerate(parts)))
