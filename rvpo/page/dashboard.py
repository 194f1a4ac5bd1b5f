"""`rvpo dashboard`: a workspace in Weights & Biases with a section for each reward."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import wandb_workspaces.reports.v2.interface as panels
import wandb_workspaces.workspaces as workspaces

from rvpo.advantage.state import STATES
from rvpo.config.rewards import RubricRewardConfig
from rvpo.config.run import RunConfig
from rvpo.errors import ConfigError
from rvpo.report.record import PHASES, STEP_TIME
from rvpo.report.run_folder import write_text

_OF_A_REWARD = {
    "mean": "rewards/{}/mean",
    "held-out prompts": "eval/rewards/{}/mean",
    "spread within a group": "rewards/{}/group_std",
    "share of groups without any": "rewards/{}/zero_std_frac",
    "share good enough": "rewards/{}/met_frac",
    "pull: share of what the advantages move": "advantage/pull/{}",
    "weight in the gradient; misleads, see the pull": "advantage/weight/{}",
    "how often it is the lowest": "advantage/bottleneck/{}",
    "share of scores missing": "rewards/{}/missing_frac",
}
_OF_PARTS = (
    "mean",
    "held-out prompts",
    "share good enough",
    "pull: share of what the advantages move",
)
"""Panels that parts of a reward have too."""

_SECTIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "All rewards": {
        "weighted sum": "reward",
        "every reward satisfied": "rewards_joint/satisfied_all_frac",
        "worst reward of a sample": "rewards_joint/worst_mean",
    },
    "Life of the criteria": {state: f"criteria/{state}_frac" for state in STATES},
    "Advantages": {
        "before whitening: std": "advantage_raw/std",
        "after whitening: std": "advantage/std",
        "largest": "advantage/max",
        "variance penalty": "advantage/variance_penalty",
        "entropy of the weights in the gradient": "advantage/weight_entropy",
        "distance to Taylor": "advantage/taylor_residual",
        "its bound": "advantage/taylor_bound",
        "k": "rvpo/k",
        "dead groups": "advantage/dead_group_frac",
        "the lowest is noise": "advantage/noisy_bottleneck",
    },
    "Update": {
        "loss": "loss",
        "gradient norm": "grad_norm",
        "entropy": "entropy",
        "KL": "kl",
        "clipped": "clip_ratio/region_mean",
        "clipped by cispo": "cispo_clip_ratio",
        "engine against trainer": "sampling/sampling_logp_difference/mean",
        "staleness": "policy/staleness_mean",
        "staleness of the oldest token": "policy/staleness_max",
        "completion length": "completions/mean_length",
        "cut off": "completions/clipped_ratio",
    },
    "Judge": {
        "share of verdicts missing": "judge/failed_frac",
        "requests": "judge/requests",
        "from the cache": "judge/cached_frac",
        "seconds waited for": "judge/wait_exposed_s",
        "median latency": "judge/latency_p50_s",
        "cost": "judge/cost",
    },
    "Timing": {phase: f"timing/{phase}" for phase in PHASES} | {"step": STEP_TIME},
    "Throughput": {
        "tokens generated a second": "tokens_per_second/generate",
        "tokens updated a second": "tokens_per_second/update",
        "share of peak arithmetic": "mfu/update",
        "KV cache in use": "kv_cache/usage_max",
        "preemptions": "kv_cache/preemptions",
        "GiB while generating": "memory/generate_gib",
        "GiB in the update": "memory/update_gib",
    },
}

_GOLD = {
    "gap: training judge less gold judge": "^judge_gap/.+$",
    "verdicts that only the training judge gives": "^judge_gap_only_training/.+$",
    "verdicts that only the gold judge gives": "^judge_gap_only_gold/.+$",
    "held-out scores by the gold judge": "^eval/gold/rewards/.+/mean$",
    "verdicts missing": "^judge_gap_missing/.+$",
}
"""Patterns of the gold watch's metrics: the parts of rubrics come from the data."""


def workspace(config: RunConfig, entity: str) -> Any:
    """The workspace of a run's project, with a panel for whatever its rewards log.

    Lines are means over the runs of an arm, with a band from the lowest to the highest.

    Args:
        entity: the W&B user or team.
    """
    sections = [
        workspaces.Section(name=f"Reward: {name}", panels=_of_reward(config, name), is_open=True)
        for name in config.rewards
    ]
    for title, metrics in _SECTIONS.items():
        if title != "Judge" or config.every_judge:
            sections.append(_section(title, metrics))
            sections += _of_each_judge(config) if title == "Judge" else []
    if config.evaluate.gold is not None:
        watch = [_matching(title, pattern) for title, pattern in _GOLD.items()]
        sections.append(workspaces.Section(name="Gold judge", panels=watch, is_open=True))
    for name in config.evaluate.benchmarks.chosen():
        line = panels.LinePlot(title="all scores", x="Step", metric_regex=f"^eval/{name}/[^/]+$")
        parts = panels.LinePlot(title="by part", x="Step", metric_regex=f"^eval/{name}/.+/.+$")
        sections.append(
            workspaces.Section(name=f"Benchmark: {name}", panels=[line, parts], is_open=True)
        )
    table = panels.WeavePanelSummaryTable(table_name="completions")
    sections.append(workspaces.Section(name="Completions", panels=[table], is_open=True))
    return workspaces.Workspace(
        entity=entity,
        project=config.report.project,
        name="rvpo: " + ", ".join(config.rewards),
        sections=sections,
        runset_settings=workspaces.RunsetSettings(
            groupby=[workspaces.Metric("Group"), workspaces.Metric("JobType")]
        ),
    )


def save(config: RunConfig, entity: str) -> str:
    """Create the workspace; its address.

    Raises:
        ConfigError: no entity is named, or W&B cannot be reached or refuses it.
    """
    if not entity:
        raise ConfigError(
            "--entity: the W&B user or team is missing; name it, or write the workspace to a "
            "file: --file workspace.json"
        )
    import wandb

    try:
        found: str = workspace(config, entity).save().url
    except (wandb.Error, ValueError, OSError) as error:
        raise ConfigError(
            f"W&B did not take the workspace ({error}); check WANDB_API_KEY and --entity, or write "
            "it to a file: --file workspace.json"
        ) from error
    return found


def write(config: RunConfig, entity: str, file: Path) -> None:
    """The workspace's specification as JSON; needs no network.

    Raises:
        CheckpointError: the file cannot be written.
    """
    model = workspace(config, entity)._to_model()
    spec = model.spec if isinstance(model.spec, dict) else model.spec.model_dump(by_alias=True)
    write_text(file, json.dumps(spec, indent=2, default=str) + "\n", "with another --file FILE")


def _section(title: str, metrics: Mapping[str, str]) -> Any:
    lines = [_line(label, [metric]) for label, metric in metrics.items()]
    return workspaces.Section(name=title, panels=lines, is_open=True)


def _of_each_judge(config: RunConfig) -> list[Any]:
    """A section for each of several judges: what of all of them is said of one as well."""
    names = config.every_judge if len(config.every_judge) > 1 else ()
    whole = {label: metric.removeprefix("judge/") for label, metric in _SECTIONS["Judge"].items()}
    single = {label: name for label, name in whole.items() if name != "wait_exposed_s"}
    return [
        _section(
            f"Judge: {name}", {label: f"judges/{name}/{part}" for label, part in single.items()}
        )
        for name in names
    ]


def _of_reward(config: RunConfig, name: str) -> list[Any]:
    lines = [_line(label, [metric.format(name)]) for label, metric in _OF_A_REWARD.items()]
    reward = config.rewards[name]
    if isinstance(reward, RubricRewardConfig) or reward.parts:
        # The parts of a rubric come from its data, so a pattern finds them.
        lines += [
            _matching(f"parts: {label}", _parts(_OF_A_REWARD[label], name)) for label in _OF_PARTS
        ]
        if any(judge.repeat is not None for judge in config.every_judge.values()):
            lines.append(_reliability(name))
    return lines


def _reliability(name: str) -> Any:
    """The reliability of a judged reward's criteria or classes, and of the whole."""
    pattern = f"^judge/{re.escape(name)}(/.+)?/reliability$"
    return panels.LinePlot(title="reliability", x="Step", metric_regex=pattern)


def _parts(metric: str, name: str) -> str:
    return "^" + metric.replace("{}", re.escape(name) + "/.+") + "$"


def _matching(title: str, pattern: str) -> Any:
    return panels.LinePlot(title=title, x="Step", metric_regex=pattern)


def _line(title: str, metrics: Sequence[str]) -> Any:
    return panels.LinePlot(
        title=title,
        x="Step",
        y=list(metrics),
        groupby=panels.Metric("JobType"),
        groupby_aggfunc="mean",
        groupby_rangefunc="minmax",
        smoothing_show_original=True,
    )
