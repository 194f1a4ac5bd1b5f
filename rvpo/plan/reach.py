"""Servers that generate, asked whether they are there."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from rvpo.config.run import RunConfig
from rvpo.errors import ConfigError
from rvpo.model_files import resolve_model
from rvpo.plan.machine import Finding, State
from rvpo.rollout import ServersConfig
from rvpo.rollout.servers.command import Served
from rvpo.rollout.servers.http import Http, ServerError
from rvpo.rollout.servers.identity import vllm_version, worker_count
from rvpo.rollout.servers.same_model import MisfitError, look_at

_PATIENCE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Reached:
    """A server that answered."""

    version: str
    gpus: int


def server_findings(config: RunConfig, *, given: bool) -> list[Finding]:
    """The answers of `rollout.engine.urls`: questions to each, which change nothing.

    Args:
        given: the run is planned for other machines, where its servers may start later.
    """
    engine = config.rollout.engine
    if not isinstance(engine, ServersConfig) or not engine.urls:
        return []
    try:
        key = engine.key()
    except ConfigError as error:
        return [Finding("servers", "missing", str(error))]
    http = Http(key)
    try:
        answers = http.run(_ask_all(http, engine, _served(config)))
    finally:
        http.close()
    there = [answer for answer in answers if isinstance(answer, Reached)]
    versions = sorted({answer.version for answer in there})
    found = f"{len(there)} of {len(answers)} answer"
    found += f", vLLM {', '.join(versions)}" if versions else ""
    lost = [
        f"{answer.url} {answer.reason}" for answer in answers if isinstance(answer, ServerError)
    ]
    if lost:
        enough = len(there) >= engine.least
        misfits = [answer for answer in answers if isinstance(answer, MisfitError)]
        state: State = "note" if given or (enough and not misfits) else "missing"
        found += "; " + "; ".join(lost)
        if misfits:  # a run refuses each of them, however many others there are
            return [Finding("servers", state, found)]
        remedy = "`rvpo serve --config FILE` on the machines of the servers, before the run"
        return [Finding("servers", state, found, remedy)]
    sizes = sorted({answer.gpus for answer in there} - {engine.tensor_parallel})
    if sizes:
        found += f"; of {sizes[0]} GPUs, while tensor_parallel is {engine.tensor_parallel}"
        return [Finding("servers", "note", found, f"rollout.engine.tensor_parallel={sizes[0]}")]
    return [Finding("servers", "ok", found)]


def _served(config: RunConfig) -> Served:
    model = config.model
    adapts = model.lora is not None and model.lora.sync == "adapter"
    try:
        path = resolve_model(model.path)
    except ConfigError:  # said of the model, in the plan's own line about it
        path = model.path
    return Served(path=path, adapter=model.lora if adapts else None)


async def _ask_all(
    http: Http, engine: ServersConfig, served: Served
) -> list[Reached | ServerError]:
    room = engine.max_context_tokens or 0  # the model's own limit is read by the run
    return await asyncio.gather(*(_ask(http, url, served, room) for url in engine.urls))


async def _ask(http: Http, url: str, served: Served, room: int) -> Reached | ServerError:
    try:
        await http.ask("GET", url, "/health", timeout_s=_PATIENCE_S)
        version = await vllm_version(http, url, _PATIENCE_S)
        reached = Reached(version, await worker_count(http, url, _PATIENCE_S))
    except ServerError as error:
        return error
    try:
        await look_at(http, url, served, room, _PATIENCE_S)
    except MisfitError as error:
        return error
    except ServerError:  # nothing is known of its model
        pass
    return reached
