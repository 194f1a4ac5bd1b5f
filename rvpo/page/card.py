"""The card of a trained model: what it was made of, what changed, and what that does not say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import PurePath
from typing import Any

import yaml

from rvpo.config.data import DatasetSource, FunctionSource, Source
from rvpo.config.judge import JudgeConfig
from rvpo.config.rewards import (
    AnyRewardConfig,
    ClassifierRewardConfig,
    ComparisonRewardConfig,
    FunctionRewardConfig,
    RubricRewardConfig,
)
from rvpo.config.run import RunConfig
from rvpo.evaluate.results import results_of
from rvpo.page.history import RunHistory
from rvpo.report.at_k_table import at_k_changes
from rvpo.report.held_out import INTERVAL, LEVEL, TEST, compare
from rvpo.report.tables import UNKNOWN, shown, span
from rvpo.rubrics import RubricSource
from rvpo.runtime.hub import is_repository
from rvpo.sampling import Sampling
from rvpo.schedule import Ramp

_MARKUP = re.compile(r"([\\`*_{}\[\]<>()#|~&!])")


def card_of(run: RunHistory, *, name: str, step: int, licence: str, picture: str = "") -> str:
    """The card as Markdown, with the metadata that the Hub reads. Nothing of where the run was: no
    folder of its machine and no address of its judges.

    Args:
        name: the repository's id.
        step: updates that the model has behind it.
        licence: identifier of the model's licence, such as apache-2.0.
        picture: file of the curves, beside the card; none if empty.

    Raises:
        CheckpointError: a file of the run is damaged.
    """
    config = run.config
    lines = [
        f"---\n{yaml.safe_dump(_metadata(config, licence), sort_keys=False)}---",
        "",
        f"# {plain(name.rpartition('/')[2])}",
        "",
        f"{plain(_base(config))}, trained with reinforcement learning on {len(config.rewards)} "
        f"rewards at once by rvpo: {_algorithm(config)}, {step} updates.",
        "",
        "```python",
        "from transformers import pipeline",
        "",
        f'chat = pipeline("text-generation", model={name!r})',
        'print(chat([{"role": "user", "content": "..."}]))',
        "```",
        "",
        "## Rewards",
        "",
        *_table(["reward", "given by", "weight"], _rewards(config)),
        "",
        *_changes(run, step),
        *([f"![Mean of each reward by step]({picture})", ""] if picture else []),
        *_benchmarks(run, step),
        "## Data",
        "",
        *_table(["", "rows", "split"], _data(config)),
        "",
        "## Training",
        "",
        *_table(["setting", "value"], _settings(config)),
        "",
        *_versions(run),
        "## Limits",
        "",
        *_limits(config),
    ]
    return "\n".join(lines) + "\n"


def plain(text: str) -> str:
    """A text that Markdown shows as it is, in one line."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))


def _metadata(config: RunConfig, licence: str) -> dict[str, Any]:
    names = [name for source, _ in _sources(config) if (name := _hub_id(source))]
    base = config.model.path
    tags = ["rvpo", config.advantage.name, "reinforcement-learning", "multi-reward"]
    return {
        "license": licence,
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        **({"base_model": base} if is_repository(base) else {}),
        **({"datasets": list(dict.fromkeys(names))} if names else {}),
        "tags": list(dict.fromkeys(tags)),
    }


def _base(config: RunConfig) -> str:
    """Name of the initial model."""
    return _public(config.model.path.removeprefix("package:"))


def _public(name: str) -> str:
    """A name of the Hub, or the last part of a path, whose rest is nobody's business."""
    return name if is_repository(name) else PurePath(name.rstrip("/")).name


def _algorithm(config: RunConfig) -> str:
    """Name of the estimator, and its settings that are not as they come."""
    given = config.advantage
    values = {each.name: getattr(given, each.name) for each in fields(given)}
    other = [e.name for e in fields(given) if e.name != "name" and values[e.name] != e.default]
    told = ", ".join(f"{name} = {values[name]}" for name in other)
    return plain(given.name.upper() + (f" ({told})" if told else ""))


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    every = [headings, ["---"] * len(headings), *rows]
    return [f"| {' | '.join(row)} |" for row in every]


def _rewards(config: RunConfig) -> list[list[str]]:
    return [
        [plain(name), plain(_given_by(reward)), _weight(reward.weight)]
        for name, reward in config.rewards.items()
    ]


def _given_by(reward: AnyRewardConfig) -> str:
    match reward:
        case FunctionRewardConfig():
            return f"the function {reward.function}"
        case RubricRewardConfig():
            own = (
                f"{len(reward.criteria)} criteria" if reward.criteria else "each prompt's criteria"
            )
            return f"a judge, by {own} ({reward.rubric})"
        case ComparisonRewardConfig():
            return "a judge, comparing pairs of responses"
        case ClassifierRewardConfig():
            return "a classifier"
        case _:
            return type(reward).__name__


def _weight(weight: float | Ramp) -> str:
    return f"{weight.start:g} to {weight.end:g}" if isinstance(weight, Ramp) else f"{weight:g}"


def _changes(run: RunHistory, step: int) -> list[str]:
    """The table of held-out scores, where they were taken before training and at the step."""
    scores = run.held_out
    if 0 not in scores or step not in scores:
        return ["Nothing was scored on held-out prompts before training and at its end.", ""]
    changes = compare(scores[0], scores[step], run.config.seed)
    rows = [
        [
            plain(row.reward),
            shown(row.before, ".3f"),
            shown(row.after, ".3f"),
            span(row.interval, "+.3f"),
            shown(row.p_value, ".2g"),
            str(row.prompts),
            f"{row.failed_before:.1%}, {row.failed_after:.1%}",
        ]
        for row in (*changes, *at_k_changes(scores[0], scores[step], run.config.seed))
    ]
    headings = ["held-out prompts", "before", "after", f"change, {LEVEL} interval", "p", "prompts"]
    caption = f"p: {TEST}. Interval: {INTERVAL}. Missing: share of scores lost, before and after."
    return [*_table([*headings, "missing"], rows), "", plain(caption), ""]


def _benchmarks(run: RunHistory, step: int) -> list[str]:
    rows = []
    for each in results_of(run.folder):
        if each.step not in (0, step):
            continue
        for name, score in each.summary.scores.items():
            rows.append(
                [
                    plain(f"{each.benchmark} {name}"),
                    str(each.step),
                    shown(score.value, ".3f"),
                    span(score.interval, ".3f"),
                    str(score.count),
                ]
            )
    if not rows:
        return []
    headings = ["score", "updates", "value", f"{LEVEL} interval", "answers"]
    return ["## Benchmarks", "", *_table(headings, rows), ""]


def _sources(config: RunConfig) -> Iterator[tuple[Source, str]]:
    """The sources of a run, and what they are for."""
    yield from ((source, "trained on") for source in config.data.train_sources.values())
    yield from ((source, "held out") for source in config.data.held_out_sources.values())


def _hub_id(source: Source) -> str:
    """Id of a source that is a dataset of the Hub; empty for others."""
    match source:
        case DatasetSource():
            name = source.path
        case RubricSource():
            name = source.rubrics
        case _:
            return ""
    return name if is_repository(name) and not PurePath(name).suffix else ""


def _data(config: RunConfig) -> list[list[str]]:
    return [[use, *_told(source)] for source, use in _sources(config)]


def _told(source: Source) -> list[str]:
    """The name of a source, for a file its own without its folder, and the split."""
    match source:
        case FunctionSource():
            return [plain(f"made by {source.function}"), UNKNOWN]
        case DatasetSource():
            name = source.path
        case RubricSource():
            name = source.rubrics
    known = _hub_id(source)
    if not known:
        return [plain(PurePath(name).name), UNKNOWN]
    return [plain(f"{known} {source.subset or ''}"), plain(source.split)]


def _settings(config: RunConfig) -> list[list[str]]:
    rollout, update = config.rollout, config.update
    found: Mapping[str, Any] = {
        "prompts of a step": rollout.prompts_per_step,
        "completions of a prompt": rollout.samples_per_prompt,
        "tokens of a completion, at most": rollout.max_completion_tokens,
        **_drawn("", rollout.sampling),
        **_drawn(", held-out prompts", config.evaluate.sampling(rollout.sampling)),
        "system prompt": "one for every prompt" if config.data.system_prompt else "the data's own",
        "staleness": rollout.staleness,
        "learning rate": update.lr,
        "loss": update.loss.name,
        "weight of the KL divergence": update.beta,
        "adapters": "none" if config.model.lora is None else f"LoRA, rank {config.model.lora.rank}",
        "seed": config.seed,
        **{f"judge {name}": _judge(judge) for name, judge in config.every_judge.items()},
    }
    return [[plain(name), plain(str(value))] for name, value in found.items()]


def _drawn(where: str, sampling: Sampling | None) -> dict[str, Any]:
    """The way in which completions are drawn, as far as it says anything."""
    if sampling is None:
        return {}
    found = {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}
    neutral = {"top_p": 1.0, "top_k": 0}
    return {f"{n}{where}": v for n, v in found.items() if v != neutral.get(n)}


def _judge(judge: JudgeConfig) -> str:
    """Name of its model."""
    served = None if judge.serve is None else judge.serve.model
    return _public((judge.model or served or "unknown").removeprefix("package:"))


def _versions(run: RunHistory) -> list[str]:
    known = run.provenance
    packages = {"rvpo": known.get("rvpo"), **known.get("packages", {})}
    told = ", ".join(f"{name} {version}" for name, version in packages.items() if version)
    return [plain(f"Made with {told}."), ""] if told else []


def _limits(config: RunConfig) -> Iterator[str]:
    yield (
        "- The rewards above are what training raised. A higher score says that the policy learned "
        "to get it, not that a reader likes the answers better."
    )
    judged = [r for r in config.rewards.values() if not isinstance(r, FunctionRewardConfig)]
    if judged and config.evaluate.gold is None:
        yield (
            "- A model gave some of the rewards, and no other judge looked at the same answers: "
            "what it can be made to believe may have been learned."
        )
    if config.advantage.name == "rvpo":
        yield (
            "- A soft minimum of z-scores guards what most answers do well, and can neglect what "
            "few of them do at first."
        )
    yield "- The data were not looked at for what is private, wrong or unsafe."
