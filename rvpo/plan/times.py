"""The time of a step as findings: that of the run, and of other ways to share its GPUs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from rvpo.config.run import RunConfig
from rvpo.plan.assumptions import Assumptions
from rvpo.plan.card import Card
from rvpo.plan.device import Devices
from rvpo.plan.gpu import lacking
from rvpo.plan.levers import Way
from rvpo.plan.machine import Finding
from rvpo.plan.memory import GIB, engine_memory, host_memory
from rvpo.plan.model import Model
from rvpo.plan.pace import PacedRun, StepTime, step_time
from rvpo.plan.shape import ModelShape
from rvpo.plan.splits import Division, all_splits, best
from rvpo.rollout import ServersConfig
from rvpo.rollout.lora_config import LoraConfig

_MORE: Final = (2, 3, 4, 6, 8, 12, 16, 24, 32)
"""Times as many nodes, which are looked at where none of those given do."""


def times_of(
    config: RunConfig, model: Model, devices: Devices, card: Card | None, assumed: Assumptions
) -> Iterator[Finding]:
    """The same of a run on the nodes that it is planned for.

    Args:
        card: None where nobody tells it.
    """
    assert devices.nodes is not None
    assert model.shape is not None
    if card is None:
        found = "unknown: nothing tells the card; --gpu-memory as it is sold does, such as 80"
        yield Finding("step", "note", found, "--assume card=H100")
        return
    here = min(config.distributed.processes, devices.gpus)
    place = devices.place(config, model.prompt_tokens)
    engine = config.rollout.engine
    at = PacedRun(
        config=config,
        shape=model.shape,
        place=place,
        card=card,
        assumed=assumed,
        prompt_tokens=model.usual_tokens,
        gpus=here,
        nodes=devices.training,
        apart=isinstance(engine, ServersConfig) or bool(engine.own_gpus()),
        far=devices.nodes > devices.training,
    )
    yield from time_findings(at, devices.nodes, devices.gpus)


def time_findings(at: PacedRun, nodes: int, gpus: int) -> Iterator[Finding]:
    """The step as it is set, every split of the GPUs, the best one with the lines to write for it,
    and what all that rests on."""
    yield _own(at)
    at = replace(at, gpus=gpus)
    splits = all_splits(at, nodes)
    yield Finding(
        "splits",
        "ok",
        f"{_gpus(at, nodes)}: those that train + those of servers, TP GPUs for each server. Times "
        "are of a model, not measured",
    )
    staleness = at.config.rollout.staleness
    for split in splits:
        yield Finding(
            f"  {split.name}", "ok" if split.time else "note", _found(split, at.shape, staleness)
        )
    yield _best(at, nodes, splits)
    yield Finding("assumed", "ok", "another number for each by --assume NAME=VALUE")
    yield from at.assumed.findings(at.config, at.card)
    yield Finding("  prompts", "ok", f"{at.prompt_tokens:,.0f} tokens of a prompt in the mean")


def _gpus(at: PacedRun, nodes: int) -> str:
    return f"{at.gpus} GPUs" if nodes == 1 else f"{nodes} nodes of {at.gpus} GPUs"


def _own(at: PacedRun) -> Finding:
    cache = engine_memory(at.config, at.shape, at.place).cache
    if cache is None:
        found = f"unknown: the speed of engine {at.config.rollout.engine.name} has no model"
        return Finding("step", "note", found)
    if not Way(at.config, at.place).fits(at.shape):
        return Finding("step", "note", "unknown, as the run does not fit")
    ahead = at.config.rollout.staleness > 0
    time = step_time(at)
    how = ", one while the other" if ahead and at.apart else ", in turn"
    return Finding("step", "ok", f"{_parts(time)}{how}: {_rate(time, ahead=ahead)}")


def _parts(time: StepTime) -> str:
    return (
        f"{time.generate:,.0f} s to generate, {time.update:,.0f} to update, {time.sync:,.1f} for "
        "weights"
    )


def _rate(time: StepTime, *, ahead: bool) -> str:
    return f"{_number(time.an_hour(ahead=ahead))} steps an hour"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def _found(split: Division, shape: ModelShape, staleness: int) -> str:
    if split.time is None:
        return f"does not fit: {lacking(split.way.config, shape, split.way.place)}"
    found = f"{_parts(split.time)}: {_rate(split.time, ahead=False)}"
    if split.time.apart:
        staleness = max(1, staleness)
        found += f", {_number(split.an_hour(ahead=True))} with rollout.staleness={staleness}"
    return f"{found}; with {_sparing(split, shape)}" if split.way.words else found


def _sparing(split: Division, shape: ModelShape) -> str:
    """The settings that save memory, and the memory of each node that they take instead."""
    config, place = split.way.config, split.way.place
    if not config.update.offload_optimizer:
        return str(split.way)
    host = host_memory(config, shape, place, min(place.ranks, split.trainers)) / GIB
    return f"{split.way}, which takes {host:,.0f} GiB of the memory of each node that trains"


def _best(at: PacedRun, nodes: int, splits: list[Division]) -> Finding:
    ahead = at.config.rollout.staleness > 0
    chosen = best(splits, ahead=ahead)
    other = best(splits, ahead=not ahead)
    if chosen is None and other is None:
        return _none(at, nodes)
    if chosen is None:
        assert other is not None
        found = f"none generates while it trains; in turn {_named(other, ahead=False)}"
        return Finding("best split", "note", found, other.lines)
    found = f"{_named(chosen, ahead=ahead)} with rollout.staleness={at.config.rollout.staleness}"
    if other is not None:
        found += f"; with rollout.staleness={int(not ahead)} {_named(other, ahead=not ahead)}"
    return Finding("best split", "ok", found, chosen.lines)


def _named(split: Division, *, ahead: bool) -> str:
    return f"{split.name}: {_number(split.an_hour(ahead=ahead))} steps an hour"


def _none(at: PacedRun, nodes: int) -> Finding:
    """Splits that would fit, looked for and found by the same sums."""
    remedies = []
    if at.config.model.lora is None:
        lora = at.config.model.model_copy(update={"lora": LoraConfig()})
        adapted = replace(at, config=at.config.model_copy(update={"model": lora}))
        if found := _fitting(all_splits(adapted, nodes)):
            remedies.append(f"model.lora={{rank: 16}}, which trains adapters alone: {found.lines}")
    for times in _MORE:
        if found := _fitting(all_splits(at, times * nodes)):
            remedies.append(f"--nodes {times * nodes}: {found.lines}")
            break
    return Finding(
        "best split",
        "note",
        f"none fits {_gpus(at, nodes)} of {(at.place.device or 0) / GIB:.1f} GiB",
        "; or ".join(remedies) or "a smaller model, or larger GPUs",
    )


def _fitting(splits: list[Division]) -> Division | None:
    return best(splits, ahead=False)
