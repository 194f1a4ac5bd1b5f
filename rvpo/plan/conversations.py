"""The world that answers the policy: what it shows, and what an episode may take."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from rvpo.config.opened import opened
from rvpo.config.run import RunConfig
from rvpo.errors import ConfigError
from rvpo.plan.machine import Finding


def tools_of(config: RunConfig, findings: list[Finding]) -> tuple[Mapping[str, Any], ...]:
    """The tools that every prompt shows, of an environment that is opened for them and closed.

    Args:
        findings: gets what there is to say about it; nothing where a sample is one answer.
    """
    try:
        environment = opened(config)
    except ConfigError as error:
        findings.append(Finding("environment", "missing", str(error)))
        return ()
    if config.environment is None or environment is None:
        return ()
    tools = tuple(environment.tools)
    findings.append(Finding("environment", "ok", _words(config, tools)))
    seconds = config.environment.seconds
    try:
        asyncio.run(asyncio.wait_for(environment.close(), seconds))
    except TimeoutError:
        findings.append(Finding("environment", "note", f"it did not close in {seconds:g} s"))
    return tools


def _words(config: RunConfig, tools: Sequence[Mapping[str, Any]]) -> str:
    environment, rollout = config.environment, config.rollout
    assert environment is not None
    names = ", ".join(str(tool.get("function", tool).get("name")) for tool in tools)
    samples = rollout.prompts_per_step * rollout.samples_per_prompt
    return (
        f"{environment.name}, with {f'the tools {names}' if tools else 'no tools'}; up to "
        f"{environment.max_turns} turns in rollout.max_completion_tokens="
        f"{rollout.max_completion_tokens:,}, what the world says included; {samples:,} episodes a "
        f"step, at most {samples * environment.max_turns:,} requests"
    )
