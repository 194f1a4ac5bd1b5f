"""Ways to share GPUs between training and generation, and the one that makes most steps an hour."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from rvpo.config.run import RunConfig
from rvpo.plan.levers import Way
from rvpo.plan.pace import PacedRun, StepTime, step_time
from rvpo.plan.servers import divides
from rvpo.rollout import EngineConfig, ServersConfig, VllmConfig
from rvpo.rollout.servers.settings import StartConfig

_SHARES: Final = tuple(n / 20 for n in range(19, 0, -1))
_SPARING: Final[tuple[Mapping[str, bool], ...]] = (
    {},
    {"activation_checkpointing": True},
    {"offload_optimizer": True},
    {"activation_checkpointing": True, "offload_optimizer": True},
)
"""Settings of `update` that save memory, from what costs least time on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """GPUs that train, and those that generate."""

    name: str
    lines: str
    """The settings that make it so."""
    trainers: int
    """GPUs that train, of each node that does."""
    way: Way
    time: StepTime | None
    """The time of a step; None where it does not fit."""

    def an_hour(self, *, ahead: bool) -> float:
        """Steps an hour; 0 where it does not fit, or cannot generate while it trains."""
        if self.time is None or (ahead and not self.time.apart):
            return 0.0
        return self.time.an_hour(ahead=ahead)


def all_splits(at: PacedRun, nodes: int) -> list[Division]:
    """Splits of so many nodes like those of a run: all GPUs in turn, and servers on their own GPUs,
    of whole nodes where there are several; of those that differ in the number of servers alone the
    fastest.

    Args:
        at: the run, whose `config` lends all settings that are no part of a split.
        nodes: all of them, of `at.gpus` each.
    """
    found = [_together(at, nodes)]
    parts = range(1, at.gpus) if nodes == 1 else range(1, nodes)
    for training in parts:
        ranks = training if nodes == 1 else training * at.gpus
        if at.config.rollout.prompts_per_step % ranks == 0:
            ahead = at.config.rollout.staleness > 0
            choices = list(_apart(at, nodes, training))
            found += [_fastest(choices, at, ahead=ahead)] if choices else []
    return found


def _fastest(splits: list[Division], at: PacedRun, *, ahead: bool) -> Division:
    """The fastest, or the one that lacks least."""
    return max(splits, key=lambda s: (s.an_hour(ahead=ahead), -s.way.peak(at.shape)))


def best(splits: list[Division], *, ahead: bool) -> Division | None:
    """The one that makes most steps an hour, None where none fits."""
    fitting = [split for split in splits if split.an_hour(ahead=ahead)]
    return max(fitting, key=lambda split: split.an_hour(ahead=ahead), default=None)


def _together(at: PacedRun, nodes: int) -> Division:
    """Each GPU trains and generates in turn."""
    own = at.config.rollout.engine
    engine = VllmConfig(max_context_tokens=own.max_context_tokens, gpu_memory=_SHARES[0])
    if isinstance(own, VllmConfig):
        engine = own.model_copy(update={"devices": (), "transport": None})
    shares = (engine.gpu_memory, *_SHARES) if isinstance(own, VllmConfig) else _SHARES
    ways = []
    for more in _SPARING:
        for share in shares:
            ways.append(_way(at, engine.with_share(share), nodes * at.gpus, more, in_turn=True))
            if ways[-1].fits(at.shape):
                break
        else:
            continue
        break
    way = ways[-1] if ways[-1].fits(at.shape) else min(ways, key=lambda w: w.peak(at.shape))
    share = way.config.rollout.engine.model_dump()["gpu_memory"]
    lines = f"rollout.engine={{name: vllm, gpu_memory: {share:g}}}, rollout.staleness=0"
    lines += ", rollout.in_flight=false" if at.config.rollout.in_flight else ""
    return _split(at, f"all {nodes * at.gpus}", lines, way, at.gpus, nodes, apart=False)


def _apart(at: PacedRun, nodes: int, training: int) -> Iterator[Division]:
    """Servers of each number of GPUs that the model can be divided among."""
    each = 1
    while each <= at.gpus:
        if divides(at.shape, each) and (split := _servers(at, nodes, training, each)):
            yield split
        each *= 2


def _servers(at: PacedRun, nodes: int, training: int, each: int) -> Division | None:
    """So many GPUs train, or nodes where there are several; the others have servers."""
    trainers = training if nodes == 1 else at.gpus
    free = at.gpus - training if nodes == 1 else at.gpus
    count = free // each if nodes == 1 else (nodes - training) * (free // each)
    if not count or free % each:
        return None
    own = at.config.rollout.engine
    usual = ServersConfig(max_context_tokens=own.max_context_tokens)
    engine = own if isinstance(own, ServersConfig) else usual
    placed: dict[str, object]
    if nodes == 1:
        devices = tuple(range(trainers, at.gpus))
        placed = {"urls": (), "start": StartConfig(servers=count, devices=devices)}
        where = f"start: {{servers: {count}, devices: {list(devices)}}}"
    else:
        urls = tuple(f"http://node{n}:8000" for n in range(count))
        placed = {"urls": urls, "start": None}
        where = f"urls: [those that `rvpo serve` prints on {nodes - training} of the nodes]"
    engine = engine.model_copy(update={"tensor_parallel": each, "least": 1} | placed)
    ranks = trainers * (1 if nodes == 1 else training)
    ends = _ends_flight(at.config, engine)
    ways = [_way(at, engine, ranks, more, in_flight=not ends) for more in _SPARING]
    way = next((way for way in ways if way.fits(at.shape)), ways[-1])
    lines = f"rollout.engine={{name: servers, tensor_parallel: {each}, {where}}}"
    lines += ", rollout.in_flight=false" if ends else ""
    name = f"{training} + {nodes - training if nodes > 1 else free}, TP {each}"
    return _split(at, name, lines, way, trainers, training if nodes > 1 else 1, apart=True)


def _ends_flight(config: RunConfig, engine: EngineConfig) -> bool:
    """True where the run's weights come in flight, and would not to such an engine."""
    adapter, width = config.model.sent_adapter, config.model.weight_bytes
    if adapter is None or not config.rollout.in_flight:
        return False
    return bool(engine.adapter_refusal(adapter, width=width, in_flight=True))


def _way(
    at: PacedRun,
    engine: EngineConfig,
    ranks: int,
    sparing: Mapping[str, bool],
    *,
    in_turn: bool = False,
    in_flight: bool = True,
) -> Way:
    config: RunConfig = at.config
    changed: dict[str, object] = {"engine": engine}
    if in_turn:
        changed["staleness"] = 0
    if in_turn or not in_flight:
        changed["in_flight"] = False
    more = {k: v for k, v in sparing.items() if getattr(config.update, k) != v}
    processes = min(ranks, at.gpus)
    config = config.model_copy(
        update={
            "distributed": config.distributed.model_copy(update={"processes": processes}),
            "rollout": config.rollout.model_copy(update=changed),
            "update": config.update.model_copy(update=more),
        }
    )
    words = tuple(f"update.{name}={str(value).lower()}" for name, value in more.items())
    return Way(config, replace(at.place, ranks=ranks), words)


def _split(
    at: PacedRun, name: str, lines: str, way: Way, gpus: int, nodes: int, *, apart: bool
) -> Division:
    lines = ", ".join([lines, f"distributed.processes={gpus}", *way.words])
    time = None
    if way.fits(at.shape):
        far = apart and gpus == at.gpus  # of one node a part generates
        own = replace(at, config=way.config, place=way.place, apart=apart, far=far)
        time = step_time(replace(own, gpus=gpus, nodes=nodes))
    return Division(name=name, lines=lines, trainers=gpus, way=way, time=time)
