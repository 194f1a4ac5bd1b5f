"""Servers that generate, asked whether they are there."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from rvpo.config.run import RunConfig
from rvpo.errors import ConfigError
from rvpo.plan.machine import Finding, State
from rvpo.rollout import ServersConfig
from rvpo.rollout.servers.http import Http, ServerError
from rvpo.rollout.servers.identity import vllm_version, worker_count

_PATIENCE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Reached:
    """A server that answered."""

    version: str
    gpus: int


def server_findings(config: RunConfig, *, given: bool) -> list[Finding]:
    """The answers of `rollout.engine.urls`: one question of each, which changes nothing.

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
        answers = http.run(_ask_all(http, engine.urls))
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
        state: State = "note" if enough or given else "missing"
        found += "; " + "; ".join(lost)
        remedy = "`rvpo serve --config FILE` on the machines of the servers, before the run"
        return [Finding("servers", state, found, remedy)]
    sizes = sorted({answer.gpus for answer in there} - {engine.tensor_parallel})
    if sizes:
        found += f"; of {sizes[0]} GPUs, while tensor_parallel is {engine.tensor_parallel}"
        return [Finding("servers", "note", found, f"rollout.engine.tensor_parallel={sizes[0]}")]
    return [Finding("servers", "ok", found)]


async def _ask_all(http: Http, urls: tuple[str, ...]) -> list[Reached | ServerError]:
    return await asyncio.gather(*(_ask(http, url) for url in urls))


async def _ask(http: Http, url: str) -> Reached | ServerError:
    try:
        await http.ask("GET", url, "/health", timeout_s=_PATIENCE_S)
        version = await vllm_version(http, url, _PATIENCE_S)
        return Reached(version, await worker_count(http, url, _PATIENCE_S))
    except ServerError as error:
        return error
