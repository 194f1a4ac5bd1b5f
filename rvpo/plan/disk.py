"""Disk: what the run writes against what there is."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence

from rvpo.config.judges import place_of
from rvpo.config.run import RunConfig
from rvpo.plan.judging import CHARACTERS, Load
from rvpo.plan.machine import Finding, State
from rvpo.plan.memory import checkpoint_bytes, model_bytes
from rvpo.plan.shape import ModelShape

_SAMPLE_BYTES = 500
"""Bytes of a sample's line beside its texts."""
_SCORE_BYTES = 70
"""Bytes of a score and its z with their names, and those of a verdict beside its texts."""
_MATRIX_BYTES = 4
"""Bytes of a number in a step's matrix of scores: those of graded scores, which hardly compress;
verdicts take an eighth."""
_MATRIX_HEAD_BYTES = 1_500
"""Bytes of such a file beside its numbers."""
_REMARK_BYTES = 400
"""Bytes of a judge's remark in a sample's line: the criterion, the verdict and the reason."""
_VERDICT_BYTES = 440
"""Bytes of a verdict in the cache, its key and reason among them."""
_ZIPPED = 0.3
"""Size of compressed samples, as a share."""


def disk_findings(
    config: RunConfig, shape: ModelShape, prompt_tokens: int, asked: Mapping[str, Load]
) -> list[Finding]:
    """Checkpoints, the saved model, samples, matrices of scores and verdicts.

    A run insists on room for the first two. The others are estimates, of responses half as long as
    they may be.

    Args:
        prompt_tokens: those of the longest prompt.
        asked: load of each judge that training asks, by name.
    """
    one, saved = checkpoint_bytes(config, shape), model_bytes(config, shape)
    samples = sample_bytes(config, prompt_tokens, asked)
    scores, verdicts = score_bytes(config, asked), verdict_bytes(config, asked)
    insisted = (config.checkpoint.keep + 1) * one + saved
    needed = insisted + samples + scores + verdicts
    folder = config.output.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    parts = [
        f"{one / 1e9:,.1f} GB a checkpoint, {config.checkpoint.keep} kept while the next is "
        "written",
        f"{saved / 1e9:,.1f} GB for the model",
        f"about {samples / 1e9:,.1f} GB of samples",
        f"up to {scores / 1e9:,.1f} GB of scores",
    ]
    if verdicts:
        caches = sorted({str(config.every_judge[name].cache) for name in asked} - {"None"})
        parts.append(f"up to {verdicts / 1e9:,.1f} GB of verdicts in {' and '.join(caches)}")
    found = f"{', '.join(parts)}: {needed / 1e9:,.1f} GB, of {free / 1e9:,.1f} free"
    if free >= needed:
        return [Finding("disk", "ok", found)]
    state: State = "missing" if free < insisted else "note"
    return [Finding("disk", state, found, ", or ".join(_remedies(config, asked)))]


def sample_bytes(config: RunConfig, prompt_tokens: int, asked: Mapping[str, Load]) -> float:
    """Bytes of the samples that stay of a run, about."""
    rollout, settings = config.rollout, config.report.samples
    rewards = _scores(config, asked)
    # The completion stands there as it is, and once more as thought and answer.
    tokens = prompt_tokens + 2 * rollout.max_completion_tokens / 2
    size = _SAMPLE_BYTES + CHARACTERS * tokens + _SCORE_BYTES * rewards
    for name, each in asked.items():
        reasons = config.every_judge[name].reasons
        size += each.calls * each.verdicts * (_REMARK_BYTES if reasons else _SCORE_BYTES)
    step = size * rollout.prompts_per_step * rollout.samples_per_prompt
    if step / config.distributed.processes >= 1e6 * settings.gzip_mb:
        step *= _ZIPPED
    kept = config.steps
    if settings.keep is not None:
        before = max(0, config.steps - settings.keep)
        kept = min(config.steps, settings.keep) + min(before, 1)
        kept += before // settings.every if settings.every else 0
    return step * min(kept, config.steps)


def score_bytes(config: RunConfig, asked: Mapping[str, Load]) -> float:
    """Bytes of the files in `scores/` at most, which all stay: the scores and an advantage of every
    sample, and the reliability of each score where a judge is asked again."""
    is_repeated = any(config.every_judge[name].repeat for name in asked)
    numbers = _scores(config, asked) * (2 if is_repeated else 1) + 1
    samples = config.rollout.prompts_per_step * config.rollout.samples_per_prompt
    return (_MATRIX_HEAD_BYTES + _MATRIX_BYTES * numbers * samples) * config.steps


def _scores(config: RunConfig, asked: Mapping[str, Load]) -> float:
    """Scores of a sample."""
    return len(config.rewards) + sum(each.calls * each.verdicts for each in asked.values())


def verdict_bytes(config: RunConfig, asked: Mapping[str, Load]) -> float:
    """Bytes that a run adds to the judges' caches at most: all its verdicts are new ones."""
    samples = config.rollout.sampled_prompts * config.rollout.samples_per_prompt
    kept = [load for name, load in asked.items() if config.every_judge[name].cache is not None]
    return (
        _VERDICT_BYTES * sum(load.calls * load.verdicts for load in kept) * samples * config.steps
    )


def _remedies(config: RunConfig, asked: Iterable[str]) -> Sequence[str]:
    remedies = ["output=FOLDER on a larger disk"]
    if config.checkpoint.keep > 1:
        remedies.append("checkpoint.keep=1")
    if config.report.samples.keep is None:
        remedies.append("report.samples.keep=20")
    for name in asked:
        if config.every_judge[name].cache is not None:
            remedies.append(f"{place_of(name)}.cache=FILE on another disk")
    return remedies
