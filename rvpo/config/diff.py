"""The differences between the settings of two runs, and those that a resumed run may have."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from rvpo.config.judge import IDENTITY, JudgeConfig
from rvpo.config.rewards import ClassifierRewardConfig
from rvpo.config.run import RunConfig, load_config
from rvpo.errors import ConfigError

MAY_CHANGE_ON_RESUME = (
    *("output", "steps", "checkpoint", "report", "evaluate.every"),
    *("evaluate.gold.every", "evaluate.gold.stop", "evaluate.early_stop"),
    *("distributed.processes", "distributed.patience_minutes"),
    *("rollout.engine.gpu_memory", "rollout.engine.cpu_kv_cache_gib", "rollout.engine.devices"),
    *("rollout.engine.urls", "rollout.engine.start", "rollout.engine.least"),
    *("rollout.engine.tensor_parallel", "rollout.engine.concurrency", "rollout.engine.weights"),
    *("rollout.engine.address", "rollout.engine.public_addresses", "rollout.engine.key_variable"),
    *("update.micro_batch_tokens", "update.logits_chunk", "update.activation_checkpointing"),
    "update.offload_while_generating",
    *("update.offload_optimizer", "update.kernels"),
)
"""Settings that lengthen a run, watch it or fit it to a machine, and do not change what it
computes: another number of processes draws samples with other seeds. With the loss bnpo, which
averages over micro-batches, `update.micro_batch_tokens` does."""


_WEIGHTS = {"model", "precision"}
"""Settings of a served judge that its verdicts depend on."""


def check_unchanged(config: RunConfig, stored: Path) -> None:
    """Make sure that a resumed run is the same run. A reward that did not say when it is satisfied
    may say so: a run whose scores leave 0 to 1 stops for want of it.

    Raises:
        ConfigError: it has other settings.
    """
    old = load_config(stored)
    free = {*MAY_CHANGE_ON_RESUME, *_undeclared(old)}
    if config.update.loss.weighting == "row_mean":
        free.remove("update.micro_batch_tokens")
    changed = changed_settings(old, config, free)
    if changed:
        raise ConfigError(
            f"{stored}: this run was started with other settings in {', '.join(changed)}; resume "
            f"it with --config {stored}, or start a new run with another output"
        )


def _undeclared(config: RunConfig) -> Iterator[str]:
    rewards = config.rewards.items()
    yield from (f"rewards.{name}.satisfied" for name, r in rewards if r.satisfied is None)


def changed_settings(old: RunConfig, new: RunConfig, free: Collection[str]) -> list[str]:
    """The dotted names of what differs, but for what is `free` to and all below it.

    Of a judge only that counts which its verdicts depend on: where and how patiently it is asked
    may always change.
    """
    before, after = dict(_counted(old, free)), dict(_counted(new, free))
    return [name for name in before | after if before.get(name) != after.get(name)]


def _counted(config: RunConfig, free: Collection[str]) -> Iterator[tuple[str, Any]]:
    settings = config.model_dump()
    if config.judge is not None:
        settings["judge"] = identity(config.judge)
    settings["judges"] = {name: identity(judge) for name, judge in config.judges.items()}
    for name, reward in config.rewards.items():
        if isinstance(reward, ClassifierRewardConfig):
            settings["rewards"][name]["classifier"] = reward.classifier.identity()
    for name, value in _flat(settings):
        if not any(f"{name}.".startswith(f"{each}.") for each in free):
            yield name, value


def identity(judge: JudgeConfig) -> dict[str, Any]:
    """The settings that verdicts depend on, by name."""
    served = {} if judge.serve is None else {"serve": judge.serve.model_dump(include=_WEIGHTS)}
    names = {*IDENTITY, "template", "criteria_per_call", "order_seed"}
    return {**judge.model_dump(include=names), **served}


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
